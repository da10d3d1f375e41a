//! `convert`: a tree takes another form in its place, whole or not at all.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lowerdir::options::{Dialect, Namespace};
use lowerdir::repack::convert::{ConvertOptions, Form, convert};
use lowerdir::{Progress, Silent};

use crate::bench::{Bench, Run};
use crate::pack::{is_whiteout, lower};

/// A tree as an image has it, with each kind of marker.
fn tree(bench: &Bench) {
    for directory in ["tree/o", "tree/n", "outside"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    for name in [
        ".wh.a",
        "o/.wh..wh..opq",
        "o/.wh.b",
        ".wh.n",
        "n/f",
        "f",
        ".wh.f",
    ] {
        bench.write(&format!("tree/{name}"), "");
    }
    bench.write("outside/.wh.x", "");
    symlink("../outside", bench.path("tree/link")).unwrap();
}

fn opaque(bench: &Bench, name: &str) -> Option<Vec<u8>> {
    xattr::get(bench.path(name), "user.overlay.opaque").unwrap()
}

#[test]
fn marker_files_become_what_a_mount_obeys() {
    let bench = Bench::new();
    tree(&bench);
    let time = fs::metadata(bench.path("tree/o"))
        .unwrap()
        .modified()
        .unwrap();
    let dry = bench.run(&["convert", "tree", "--to=user", "-n"]);
    let mut lines = dry.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "deletion  a",
            "needless  f",
            "needless  o/b",
            "opaque    n",
            "opaque    o"
        ]
    );
    assert!(bench.path("tree/.wh.a").exists());

    bench.run(&["convert", "tree", "--to=user"]).lines();
    assert_eq!(bench.names("tree".as_ref()), ["a", "f", "link", "n", "o"]);
    assert!(is_whiteout(&bench.path("tree/a")));
    assert_eq!(opaque(&bench, "tree/o").unwrap(), b"y");
    assert_eq!(opaque(&bench, "tree/n").unwrap(), b"y");
    assert!(bench.names("tree/o".as_ref()).is_empty());
    assert_eq!(
        fs::metadata(bench.path("tree/o"))
            .unwrap()
            .modified()
            .unwrap(),
        time
    );
    // No link is followed.
    assert_eq!(bench.names("outside".as_ref()), [".wh.x"]);

    let run = bench.run(&["convert", "tree", "--from=user", "--to=oci"]);
    assert!(run.lines().is_empty());
    let names = bench.names("tree".as_ref());
    assert_eq!(names, [".wh.a", "f", "link", "n", "o"]);
    assert_eq!(bench.names("tree/n".as_ref()), [".wh..wh..opq", "f"]);
    assert_eq!(opaque(&bench, "tree/o"), None);
}

#[test]
fn fuse_overlayfs_marks_are_read_and_written() {
    let bench = Bench::new();
    tree(&bench);
    let to_fuse = ["convert", "tree", "--from=oci", "--to=fuse-overlayfs"];
    bench.run(&to_fuse).lines();
    let mark = |name: &str| xattr::get(bench.path(name), "user.fuseoverlayfs.opaque").unwrap();
    assert!(mark("tree/o").is_some() && mark("tree/n").is_some());
    assert_eq!(bench.names("tree/n".as_ref()), [".wh..wh..opq", "f"]);
    bench
        .run(&["convert", "tree", "--from=fuse-overlayfs", "--to=user"])
        .lines();
    assert!(mark("tree/o").is_none() && opaque(&bench, "tree/o").is_some());
    assert_eq!(bench.names("tree/n".as_ref()), ["f"]);
    assert!(is_whiteout(&bench.path("tree/a")));
}

#[test]
fn what_has_no_counterpart_is_refused_before_anything_is_changed() {
    let bench = Bench::new();
    for (name, words) in [
        ("z/.wh.", "a whiteout of no name"),
        (".wh..wh..opq", "the root is opaque"),
    ] {
        tree(&bench);
        fs::create_dir_all(bench.path("tree/z")).unwrap();
        bench.write(&format!("tree/{name}"), "");
        bench
            .run(&["convert", "tree", "--to=user"])
            .fails(3, &[words]);
        assert!(bench.path("tree/.wh.a").exists());
        fs::remove_dir_all(bench.path("tree")).unwrap();
    }
    for marker in [".wh.x", "d/.wh..wh..opq"] {
        fs::create_dir_all(bench.path("tree").join(marker).join("in")).unwrap();
        let run = bench.run(&["convert", "tree", "--to=user"]);
        run.fails(3, &["a directory with something in it"]);
        fs::remove_dir_all(bench.path("tree")).unwrap();
    }
    fs::create_dir(bench.path("tree")).unwrap();
    bench.write("tree/.wh.a", "");
    let run = bench.run(&["convert", "tree", "--from=user", "--to=oci"]);
    run.fails(3, &[".wh.a: a name that starts with .wh."]);
    let same = bench.run(&["convert", "tree", "--from=user", "--to=user"]);
    same.fails(2, &["both forms are the same"]);
}

#[test]
fn an_opaque_root_deletes_what_the_layers_below_have() {
    let bench = Bench::new();
    lower(&bench);
    tree(&bench);
    bench.write("tree/.wh..wh..opq", "");
    bench
        .run(&["convert", "tree", "--to=user", "--lower", "lower"])
        .lines();
    assert!(is_whiteout(&bench.path("tree/d")));
    assert!(!bench.path("tree/.wh..wh..opq").exists());
    assert_eq!(opaque(&bench, "tree/o"), None);
}

/// Rule O3: else the files of the old directory would be back.
#[test]
fn under_an_opaque_root_what_is_a_directory_below_is_opaque() {
    let bench = Bench::new();
    for directory in ["lower/o/sub", "lower/n", "lower/gone"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    bench.write("lower/f", "");
    tree(&bench);
    fs::create_dir_all(bench.path("tree/o/sub")).unwrap();
    bench.write("tree/o/sub/.wh.x", "");
    bench.write("tree/.wh..wh..opq", "");
    bench.write("tree/.wh.gone", "");
    let run = bench.run(&["convert", "tree", "--to=user", "--lower", "lower", "-v"]);
    let mut lines = run.lines();
    lines.sort_unstable();
    let expected = [
        "deletion  gone",
        "needless  a",
        "needless  o/b",
        "needless  o/sub/x",
        "opaque    n",
        "opaque    o",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        bench.names("tree".as_ref()),
        ["f", "gone", "link", "n", "o"]
    );
    assert_eq!(opaque(&bench, "tree/o").unwrap(), b"y");
    assert_eq!(opaque(&bench, "tree/n").unwrap(), b"y");
    assert_eq!(opaque(&bench, "tree/o/sub"), None);
    assert_eq!(opaque(&bench, "tree"), None);
}

/// Everything in a directory: names, types, targets and modes, sizes, times and xattrs.
fn listing(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![top.to_path_buf()];
    while let Some(path) = todo.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let target = fs::read_link(&path).ok();
        let xattrs: Vec<_> = match found.is_symlink() {
            true => Vec::new(),
            false => xattr::list(&path)
                .unwrap()
                .map(|name| (name.clone(), xattr::get(&path, &name).unwrap()))
                .collect(),
        };
        let (mode, time) = (found.mode(), (found.mtime(), found.mtime_nsec()));
        lines.push(format!("{path:?} {mode:o} {time:?} {target:?} {xattrs:?}"));
        if found.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|name| name.unwrap().path()),
            );
        }
    }
    lines.sort_unstable();
    lines
}

fn to_user() -> ConvertOptions {
    let overlay = Form::Overlay(Dialect::default().namespace(Namespace::User));
    ConvertOptions::new(Form::Oci, overlay)
}

/// A process that another test is starting has a copy of our lock until it executes its program.
fn convert_once_free(bench: &Bench) {
    let mut runs = (0..1000).map(|_| bench.run(&["convert", "tree", "--to=user"]));
    let is_free = |run: &Run| !run.stderr.contains("holds the lock");
    runs.find(is_free).expect("the lock is let go").lines();
}

/// Stops before each change in turn: the tree is as it was, and nothing lies beside it.
#[test]
fn a_conversion_that_stops_anywhere_leaves_the_tree_as_it_was() {
    for stop in 0.. {
        let bench = Bench::new();
        tree(&bench);
        xattr::set(bench.path("tree/f"), "user.overlay.origin", b"data").unwrap();
        let before = listing(&bench.path("tree"));
        let mut changes = 0;
        let mut tell = |_, _: &_| {
            changes += 1;
            match changes > stop {
                true => Err(lowerdir::Error::cancelled()),
                false => Ok(()),
            }
        };
        let stopped = convert(&bench.path("tree"), &to_user(), &mut tell, &Silent);
        let is_done = stopped.is_ok();
        assert_eq!(bench.names("".as_ref()), ["outside", "tree"]);
        if !is_done {
            assert_eq!(listing(&bench.path("tree")), before, "{stop}");
            convert_once_free(&bench);
        }
        assert_eq!(bench.names("tree".as_ref()), ["a", "f", "link", "n", "o"]);
        assert!(is_whiteout(&bench.path("tree/a")), "{stop}");
        assert_eq!(opaque(&bench, "tree/n").unwrap(), b"y");
        let data = xattr::get(bench.path("tree/f"), "user.overlay.overlay.origin").unwrap();
        assert_eq!(data.unwrap(), b"data");
        if is_done {
            assert!(stop > 4, "only {stop} changes");
            return;
        }
    }
}

/// Gives up when it was asked so many times whether to.
struct Impatient(AtomicUsize);

impl Progress for Impatient {
    fn is_cancelled(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0
    }
}

/// As Ctrl-C does.
#[test]
fn a_conversion_that_is_cancelled_leaves_the_tree_as_it_was() {
    for patience in 0.. {
        let bench = Bench::new();
        tree(&bench);
        let before = listing(&bench.path("tree"));
        let impatient = Impatient(AtomicUsize::new(patience));
        let top = bench.path("tree");
        let done = convert(&top, &to_user(), &mut |_, _| Ok(()), &impatient);
        assert_eq!(bench.names("".as_ref()), ["outside", "tree"]);
        match done {
            Ok(_) => return assert!(patience > 5, "only {patience} times"),
            Err(error) => assert_eq!(error.kind(), lowerdir::Kind::Cancelled),
        }
        assert_eq!(listing(&bench.path("tree")), before);
    }
}

/// Rule X1: an earlier version kept its own state in such xattrs, and obeyed those of the layer.
#[test]
fn xattrs_of_our_own_name_are_data() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("tree/d")).unwrap();
    bench.write("tree/.wh.gone", "");
    let forged: [(&str, &str, &[u8]); 3] = [
        ("tree", "user.lowerdir.convert", b"oci to user: take back"),
        ("tree", "user.lowerdir.mtime", b"7 7"),
        ("tree/d", "user.lowerdir.overlay.redirect", b"/etc"),
    ];
    for (path, name, value) in forged {
        xattr::set(bench.path(path), name, value).unwrap();
    }
    bench.run(&["convert", "tree", "--to=user"]).lines();
    assert!(is_whiteout(&bench.path("tree/gone")));
    for (path, name, value) in forged {
        assert_eq!(xattr::get(bench.path(path), name).unwrap().unwrap(), value);
    }
    let redirect = xattr::get(bench.path("tree/d"), "user.overlay.redirect");
    assert_eq!(redirect.unwrap(), None);
}

/// A run that was killed leaves its staging directory, by the name that lowerdir gives, and the
/// next run removes it.
#[test]
fn what_a_killed_conversion_left_is_removed_by_the_next() {
    let bench = Bench::new();
    tree(&bench);
    fs::create_dir_all(bench.path(".lowerdir-0123456789abcdef/fs/d")).unwrap();
    let only = fs::Permissions::from_mode(0o700);
    fs::set_permissions(bench.path(".lowerdir-0123456789abcdef"), only).unwrap();
    fs::create_dir(bench.path(".lowerdir-notes")).unwrap();
    // Ours is for its owner alone.
    fs::create_dir(bench.path(".lowerdir-aaaaaaaaaaaaaaaa")).unwrap();
    bench.run(&["convert", "tree", "--to=user"]).lines();
    let left = bench.names("".as_ref());
    let others = [".lowerdir-aaaaaaaaaaaaaaaa", ".lowerdir-notes"];
    assert_eq!(left, [&others[..], &["outside", "tree"]].concat());
}

#[test]
fn files_stay_the_same_inodes_unless_their_xattrs_change() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("tree/d")).unwrap();
    for (one, other) in [("plain", "d/plain"), ("escaped", "d/escaped")] {
        bench.write(&format!("tree/{one}"), one);
        let [one, other] = [one, other].map(|name| bench.path(&format!("tree/{name}")));
        fs::hard_link(one, other).unwrap();
    }
    fs::hard_link(bench.path("tree/plain"), bench.path("outside")).unwrap();
    xattr::set(bench.path("tree/escaped"), "user.overlay.x", b"data").unwrap();
    fs::set_permissions(bench.path("tree/d"), fs::Permissions::from_mode(0o2750)).unwrap();
    let inode = |name: &str| fs::symlink_metadata(bench.path(name)).unwrap().ino();
    let held = File::open(bench.path("tree/escaped")).unwrap();
    let plain = inode("tree/plain");
    bench.run(&["convert", "tree", "--to=user"]).lines();
    assert_eq!(inode("tree/plain"), plain);
    assert_eq!(inode("tree/d/plain"), plain);
    assert_eq!(inode("outside"), plain);
    assert_eq!(inode("tree/escaped"), inode("tree/d/escaped"));
    assert_ne!(inode("tree/escaped"), held.metadata().unwrap().ino());
    assert_eq!(fs::read(bench.path("tree/d/escaped")).unwrap(), b"escaped");
    assert_eq!(
        fs::metadata(bench.path("tree/d")).unwrap().mode() & 0o7777,
        0o2750
    );
    let names: Vec<_> = xattr::list(bench.path("tree/escaped")).unwrap().collect();
    assert_eq!(names, ["user.overlay.overlay.x"]);
}

/// A link that the user names is the user's; `.` is a directory like others; a lock is a conflict.
#[test]
fn a_tree_is_found_by_whatever_path() {
    let bench = Bench::new();
    tree(&bench);
    symlink("tree", bench.path("name")).unwrap();
    bench.run(&["convert", "name", "--to=user"]).lines();
    assert!(
        fs::symlink_metadata(bench.path("name"))
            .unwrap()
            .is_symlink()
    );
    assert!(is_whiteout(&bench.path("tree/a")));
    let held = File::open(bench.path("tree")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let back = ["convert", "tree/.", "--from=user", "--to=oci"];
    bench
        .run(&back)
        .fails(1, &["another conversion holds the lock"]);
    drop(held);
    bench.run(&back).lines();
    assert!(bench.path("tree/.wh.a").exists());
    bench
        .run(&["convert", "/", "-n"])
        .fails(1, &["/ is the root directory"]);
}

/// The kernel could never remove the directory: rule W8.
#[test]
fn w8_a_directory_of_which_nothing_below_remains_becomes_opaque() {
    let bench = Bench::new();
    for name in ["low/d/a", "low/d/b", "low/e/a", "low/e/b"] {
        fs::create_dir_all(bench.path(name).parent().unwrap()).unwrap();
        bench.write(name, "");
    }
    for name in ["tree/d/.wh.a", "tree/d/.wh.b", "tree/e/.wh.a"] {
        fs::create_dir_all(bench.path(name).parent().unwrap()).unwrap();
        bench.write(name, "");
    }
    let run = bench.run(&["convert", "tree", "--to=user-xattr", "--lower", "low"]);
    run.lines();
    assert!(bench.names("tree/d".as_ref()).is_empty());
    assert_eq!(opaque(&bench, "tree/d").unwrap(), b"y");
    assert_eq!(bench.names("tree/e".as_ref()), ["a"]);
    assert_eq!(opaque(&bench, "tree/e").unwrap(), b"x");
}
