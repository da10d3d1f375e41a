//! The store: who may enter it, and what is done when something is there before.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::bench::Bench;
use crate::layout::Layout;
use crate::tarball::LayerBuilder;
use support::program;

fn image(bench: &Bench, name: &str, files: &[&str]) {
    let layers: Vec<Vec<u8>> = files
        .iter()
        .map(|file| LayerBuilder::new().file(file, 0o644, file).finish())
        .collect();
    let layout = Layout::new(bench.path(name));
    layout.image(&layout.manifest(&layers));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_store_is_made_for_its_owner_alone() {
    let bench = Bench::with_store("deep/er/store");
    image(&bench, "image", &["f"]);
    bench.unpack("oci:image").lines();
    assert_eq!(mode(bench.store()), 0o700);
}

#[test]
fn an_empty_directory_becomes_a_store_for_its_owner_alone() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    fs::create_dir(bench.store()).unwrap();
    set_mode(bench.store(), 0o755);
    bench.unpack("oci:image").lines();
    assert_eq!(mode(bench.store()), 0o700);
}

#[test]
fn a_store_that_others_may_enter_is_refused_with_a_hint() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    bench.unpack("oci:image").lines();
    for others in [0o755, 0o750, 0o701] {
        set_mode(bench.store(), others);
        for verb in VERBS {
            let run = bench.on_store(verb);
            run.fails(1, &["other users", "store"]);
            assert!(run.hint().starts_with("chmod 700 "), "{run:?}");
        }
        assert_eq!(mode(bench.store()), others);
    }
    set_mode(bench.store(), 0o700);
    bench.unpack("oci:image").lines();
}

/// All that open a store.
const VERBS: [&[&str]; 7] = [
    &["unpack", "oci:image"],
    &["stack", "oci:image"],
    &["mount", "oci:image", "nowhere"],
    &["images"],
    &["verify", "--all"],
    &["rm", "latest"],
    &["prune"],
];

#[test]
fn the_store_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else may give a directory away.
        return;
    }
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    bench.unpack("oci:image").lines();
    std::os::unix::fs::chown(bench.store(), Some(1), None).unwrap();
    for verb in VERBS {
        let run = bench.on_store(verb);
        run.fails(1, &["belongs to another user"]);
        assert!(run.hint().contains("--store DIR"), "{run:?}");
    }
}

/// It is the bottom of images of one layer.
#[test]
fn what_should_be_empty_has_to_be() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    bench.unpack("oci:image").lines();
    bench.write("store/empty/1/ghost", "");
    for verb in VERBS {
        let run = bench.on_store(verb);
        run.fails(1, &["empty/1 is not empty"]);
        assert!(run.hint().ends_with("remove them"), "{run:?}");
    }
}

#[test]
fn a_directory_of_something_else_is_left_as_it_is() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    fs::create_dir(bench.store()).unwrap();
    bench.write("store/mine", "kept");
    // No hint may have anybody close a directory such as /etc to others.
    for others in [0o755, 0o700] {
        set_mode(bench.store(), others);
        for verb in VERBS {
            let run = bench.on_store(verb);
            run.fails(1, &["has other files in it, and is not a store"]);
            assert!(run.hint().contains("absent or empty"), "{run:?}");
        }
        assert_eq!(bench.names(bench.store()), ["mine"]);
        assert_eq!(mode(bench.store()), others);
    }
}

#[test]
fn the_environment_names_the_store_and_the_option_goes_before_it() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    let run = |options: &[&str]| {
        program::lowerdir()
            .args(["unpack", "--userxattr", "--owners=caller", "--sync=none"])
            .args(options)
            .arg(bench.path("image"))
            .env("LOWERDIR_STORE", bench.path("environment"))
            .output()
            .unwrap()
    };
    assert!(run(&[]).status.success());
    assert!(bench.path("environment/layers").is_dir());
    assert!(
        run(&["--store", bench.path("option").to_str().unwrap()])
            .status
            .success()
    );
    assert!(bench.path("option/layers").is_dir());
}

#[test]
fn what_was_there_is_not_unpacked_again_and_that_is_said() {
    let bench = Bench::new();
    image(&bench, "image", &["f", "g"]);
    let first = bench.unpack("oci:image");
    assert!(!first.stderr.contains("already present"));
    let inode = |line: &str| fs::metadata(line).unwrap().ino();
    let inodes: Vec<u64> = first.lines().into_iter().map(inode).collect();

    let second = bench.unpack("oci:image");
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(second.stderr.matches(": already present").count(), 2);
    let again: Vec<u64> = second.lines().into_iter().map(inode).collect();
    assert_eq!(again, inodes);
}

#[test]
fn layers_that_two_images_share_are_there_once() {
    let bench = Bench::new();
    image(&bench, "one", &["base", "f"]);
    image(&bench, "two", &["base", "g"]);
    let one = bench.unpack("oci:one");
    let two = bench.unpack("oci:two");
    assert_eq!(one.lines()[1], two.lines()[1]);
    assert_eq!(two.stderr.matches(": already present").count(), 1);
    assert_eq!(bench.layers_in_store(), 3);
}

#[test]
fn the_same_layer_over_another_is_another_directory() {
    let bench = Bench::new();
    image(&bench, "one", &["one", "same"]);
    image(&bench, "two", &["two", "same"]);
    let one = bench.unpack("oci:one");
    let two = bench.unpack("oci:two");
    assert_ne!(one.lines()[0], two.lines()[0]);
}

#[test]
fn other_options_on_the_same_store_are_an_error() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    bench.unpack("oci:image").lines();
    for other in [
        "--whiteout=xattr",
        "--keep-dirlinks=no",
        "--overlay-xattrs=drop",
    ] {
        let run = bench.unpack_with("oci:image", &[other]);
        run.fails(1, &["layer 1 (", "other options"]);
        assert!(run.hint().contains("--store"));
    }
    bench.unpack("oci:image").lines();
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let bench = Bench::new();
    image(&bench, "image", &["f"]);
    bench.unpack("oci:image").lines();
    fs::create_dir_all(bench.store().join("staging/dead/0/fs/d")).unwrap();
    std::os::unix::fs::symlink(
        bench.path("image"),
        bench.store().join("staging/dead/0/fs/s"),
    )
    .unwrap();
    bench.unpack("oci:image").lines();
    assert_eq!(bench.layers_in_store(), 1);
    assert!(bench.path("image/index.json").exists());
}

#[test]
fn an_image_that_fails_leaves_only_good_layers_below() {
    let bench = Bench::new();
    let layers = [
        LayerBuilder::new()
            .dir("ro", 0o555)
            .file("ro/f", 0o644, "x"),
        LayerBuilder::new().hardlink("g", "nothing"),
        LayerBuilder::new().file("h", 0o644, ""),
    ];
    let layers = layers.map(LayerBuilder::finish);
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers));
    for jobs in ["-j1", "-j4"] {
        bench
            .unpack_with("oci:image", &[jobs])
            .fails(3, &["layer 2 (", "g: "]);
        assert!(bench.layers_in_store() <= 1);
        assert!(bench.names(&bench.store().join("images")).is_empty());
        assert_eq!(bench.stack("oci:image").status, 1);
    }
}

#[test]
fn several_processes_unpack_one_image_at_a_time() {
    let bench = Bench::new();
    image(&bench, "image", &["a", "b", "c", "d"]);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| bench.unpack("oci:image")))
            .collect();
        for run in runs {
            assert_eq!(run.join().unwrap().lines().len(), 4);
        }
    });
    assert_eq!(bench.layers_in_store(), 4);
}

#[test]
fn a_layer_remembers_whether_it_was_synced() {
    let bench = Bench::new();
    image(&bench, "one", &["a"]);
    image(&bench, "two", &["a", "b"]);
    bench.unpack("oci:one").lines();
    let run = bench.unpack_with("oci:two", &["--json"]);
    assert_eq!(run.status, 0, "{run:?}");
    let store = bench.store().to_str().unwrap();
    let durable = [
        "--store",
        store,
        "unpack",
        "oci:two",
        "--userxattr",
        "--owners=caller",
    ];
    bench.run(&durable).lines();
    image(&bench, "three", &["c"]);
    let durable = [
        "--store",
        store,
        "unpack",
        "oci:three",
        "--userxattr",
        "--owners=caller",
    ];
    let synced = bench.run(&durable).lines()[0].replace("/fs", "/layer.json");
    let hurried = bench.stack("oci:one").lines()[0]
        .split(':')
        .next()
        .unwrap()
        .to_string();
    for (record, expected) in [
        (synced, true),
        (hurried.replace("/fs", "/layer.json"), false),
    ] {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        assert_eq!(record["synced"], expected);
    }
}
