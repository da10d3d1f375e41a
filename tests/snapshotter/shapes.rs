//! What containerd is told to mount, and how a snapshot lives: the words of its documentation.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::{Mount, SnapshotKind};
use rustix::fs::{Mode, OFlags, mkdirat, openat};

use crate::place::{Place, labels};

fn options<'a>(mount: &'a Mount, name: &str) -> Vec<&'a str> {
    let all = mount.options.iter();
    all.filter_map(|option| option.strip_prefix(name)).collect()
}

#[test]
fn a_snapshot_of_nothing_is_a_bind_mount() {
    let (place, none) = (Place::new(), labels([]));
    let snapshotter = place.open();
    let [written] = &snapshotter.prepare("key", None, none.clone()).unwrap()[..] else {
        panic!("one mount");
    };
    assert_eq!(
        (written.kind.as_str(), &written.options[..]),
        ("bind", &["rw".to_string(), "rbind".into()][..])
    );
    assert_eq!(
        fs::metadata(&written.source).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    let [read] = &snapshotter.view("look", None, none).unwrap()[..] else {
        panic!("one mount");
    };
    assert_eq!(read.options, ["ro", "rbind"]);
    assert_ne!(read.source, written.source);
}

#[test]
fn a_snapshot_on_others_is_an_overlay_with_the_topmost_first() {
    let (place, none) = (Place::new(), labels([]));
    let snapshotter = place.open();
    let mut lower = Vec::new();
    for (key, parent, name) in [
        ("1", None, "low"),
        ("2", Some("low"), "middle"),
        ("3", Some("middle"), "high"),
    ] {
        let mounts = snapshotter.prepare(key, parent, none.clone()).unwrap();
        let upper = match parent {
            None => mounts[0].source.clone(),
            Some(_) => options(&mounts[0], "upperdir=")[0].to_string(),
        };
        fs::write(format!("{upper}/{name}"), name).unwrap();
        lower.insert(0, upper);
        snapshotter.commit(name, key, none.clone()).unwrap();
    }
    let mounts = snapshotter
        .prepare("run", Some("high"), none.clone())
        .unwrap();
    let [mount] = &mounts[..] else {
        panic!("one mount")
    };
    assert_eq!(
        (mount.kind.as_str(), mount.source.as_str()),
        ("overlay", "overlay")
    );
    assert_eq!(options(mount, "lowerdir="), [lower.join(":")]);
    let (upper, work) = (
        options(mount, "upperdir=")[0],
        options(mount, "workdir=")[0],
    );
    assert!(
        upper.ends_with("/fs") && work.ends_with("/work"),
        "{mount:?}"
    );
    assert!(fs::metadata(upper).unwrap().is_dir() && fs::metadata(work).unwrap().is_dir());
    assert!(
        mount.options.contains(&"userxattr".to_string()),
        "{mount:?}"
    );
    let has_index = fs::exists("/sys/module/overlay/parameters/index").unwrap();
    assert_eq!(mount.options.contains(&"index=off".to_string()), has_index);
    // The mounts can be asked for again.
    assert_eq!(snapshotter.mounts("run").unwrap(), mounts);

    let view = snapshotter
        .view("look", Some("high"), none.clone())
        .unwrap();
    assert_eq!(options(&view[0], "lowerdir="), [lower.join(":")]);
    assert!(options(&view[0], "upperdir=").is_empty());
    // One directory alone is no overlay.
    let view = snapshotter.view("look low", Some("low"), none).unwrap();
    assert_eq!(
        (view[0].kind.as_str(), view[0].source.as_str()),
        ("bind", lower[2].as_str())
    );
    assert_eq!(view[0].options, ["ro", "rbind"]);
}

#[test]
fn the_root_keeps_its_mode_and_times_above_its_parent() {
    let (place, none) = (Place::new(), labels([]));
    let snapshotter = place.open();
    let base = snapshotter
        .prepare("1", None, none.clone())
        .unwrap()
        .remove(0)
        .source;
    fs::set_permissions(&base, fs::Permissions::from_mode(0o1711)).unwrap();
    snapshotter.commit("base", "1", none.clone()).unwrap();
    let mounts = snapshotter.prepare("2", Some("base"), none).unwrap();
    let (below, above) = (
        fs::metadata(base).unwrap(),
        fs::metadata(options(&mounts[0], "upperdir=")[0]).unwrap(),
    );
    assert_eq!(above.mode(), below.mode());
    assert_eq!(
        (above.mtime(), above.mtime_nsec()),
        (below.mtime(), below.mtime_nsec())
    );
}

#[test]
fn a_committed_snapshot_counts_what_is_in_it() {
    let (place, none) = (Place::new(), labels([("x", "1")]));
    let snapshotter = place.open();
    let source = snapshotter
        .prepare("key", None, none.clone())
        .unwrap()
        .remove(0)
        .source;
    let empty = snapshotter.usage("key").unwrap();
    assert_eq!(empty.inodes, 1);
    fs::create_dir(format!("{source}/dir")).unwrap();
    fs::write(format!("{source}/dir/file"), vec![1; 100_000]).unwrap();
    fs::hard_link(format!("{source}/dir/file"), format!("{source}/link")).unwrap();
    std::os::unix::fs::symlink("/", format!("{source}/dir/root")).unwrap();
    let full = snapshotter.usage("key").unwrap();
    // The directory, the file once, the symbolic link, and itself.
    assert_eq!(full.inodes, 4);
    assert!(
        full.bytes >= empty.bytes + 100_000 && full.bytes < 1 << 20,
        "{full:?}"
    );
    snapshotter
        .commit("name", "key", labels([("y", "2")]))
        .unwrap();
    assert_eq!(snapshotter.usage("name").unwrap(), full);

    let committed = snapshotter.stat("name").unwrap();
    assert_eq!(committed.kind, SnapshotKind::Committed);
    // Labels are not inherited.
    assert_eq!(committed.labels, labels([("y", "2")]));
    assert_eq!(snapshotter.stat("key").unwrap_err().code, Code::NotFound);
}

#[test]
fn a_removed_snapshot_leaves_nothing() {
    let (place, none) = (Place::new(), labels([]));
    let snapshotter = place.open();
    let source = snapshotter
        .prepare("key", None, none.clone())
        .unwrap()
        .remove(0)
        .source;
    fs::create_dir_all(format!("{source}/a/b")).unwrap();
    snapshotter.commit("base", "key", none.clone()).unwrap();
    snapshotter.view("look", Some("base"), none).unwrap();
    let refused = snapshotter.remove("base").unwrap_err();
    assert_eq!(refused.code, Code::FailedPrecondition);
    assert_eq!(place.directories().len(), 2);
    snapshotter.remove("look").unwrap();
    snapshotter.remove("base").unwrap();
    assert!(place.directories().is_empty());
}

/// A container may make a directory in a directory for as long as it likes; no path leads there.
#[test]
fn a_tree_that_is_too_deep_for_any_path_can_be_removed() {
    let (place, none) = (Place::new(), labels([]));
    let snapshotter = place.open();
    let source = snapshotter
        .prepare("key", None, none)
        .unwrap()
        .remove(0)
        .source;
    let mut inside = fs::File::open(&source).unwrap();
    let (name, flags) = ("d".repeat(250), OFlags::RDONLY | OFlags::DIRECTORY);
    for depth in 0..60 {
        mkdirat(&inside, &*name, Mode::RWXU).unwrap();
        mkdirat(&inside, format!("other {depth}"), Mode::RWXU).unwrap();
        inside = openat(&inside, &*name, flags, Mode::empty())
            .unwrap()
            .into();
    }
    assert_eq!(snapshotter.usage("key").unwrap().inodes, 121);
    snapshotter.remove("key").unwrap();
    assert_eq!(place.told.lock().unwrap().as_slice(), [""; 0]);
    assert!(place.directories().is_empty());
}

#[test]
fn labels_have_a_size() {
    let place = Place::new();
    let snapshotter = place.open();
    let long = "x".repeat(4096);
    let refused = snapshotter
        .prepare("key", None, labels([("a", &long)]))
        .unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
    // An empty value is none.
    snapshotter
        .prepare("key", None, labels([("a", &long[1..]), ("b", "")]))
        .unwrap();
    assert_eq!(snapshotter.stat("key").unwrap().labels.len(), 1);
}

#[test]
fn a_root_is_open_once_and_can_be_told_to_containerd() {
    let mut place = Place::new();
    let open = |place: &Place| {
        let config = place.config.clone();
        lowerdir::snapshotter::Snapshotter::open(&config, Box::new(|_| {}))
    };
    let first = place.open();
    let refused = open(&place).err().expect("it is open");
    assert!(refused.text.contains("in use"), "{refused}");
    drop(first);
    for odd in ["a,b", "a:b", "a\\b"] {
        place.config.root = place.path().join(odd);
        let refused = open(&place).err().expect(odd);
        assert!(refused.text.contains("cannot be passed"), "{refused}");
    }
}
