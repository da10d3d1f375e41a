//! The number of the format that a store is kept in: written first, checked whenever one is opened.

use std::fs;
use std::process::Stdio;

use crate::bench::Bench;
use crate::layout::Layout;
use crate::tarball::LayerBuilder;

fn bench() -> Bench {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let layer = LayerBuilder::new().file("f", 0o644, "x").finish();
    layout.image(&layout.manifest(&[layer]));
    bench
}

/// All that open a store.
const VERBS: [&[&str]; 8] = [
    &["unpack", "oci:image", "--userxattr", "--owners=caller"],
    &["stack", "oci:image"],
    &["mount", "oci:image", "nowhere"],
    &["images"],
    &["inspect", "oci:image"],
    &["verify", "--all"],
    &["rm", "latest"],
    &["prune"],
];

#[test]
fn a_new_store_has_format_1() {
    let bench = bench();
    bench.unpack("oci:image").lines();
    assert_eq!(fs::read(bench.path("store/format")).unwrap(), b"1\n");
    for verb in VERBS {
        assert!(!bench.on_store(verb).stderr.contains("format"), "{verb:?}");
    }
}

#[test]
fn a_store_of_another_format_is_refused_by_every_verb() {
    let bench = bench();
    bench.unpack("oci:image").lines();
    let before = bench.names(bench.store());
    for (format, found) in [
        ("2\n", "has format 2; this version reads format 1"),
        ("10", "has format 10; this version reads format 1"),
        ("0\n", "has format 0; this version reads format 1"),
        (
            "",
            "has a format file without a number in it; this version reads format 1",
        ),
        (
            "one\n",
            "has a format file without a number in it; this version reads format 1",
        ),
    ] {
        bench.write("store/format", format);
        for verb in VERBS {
            let run = bench.on_store(verb);
            run.fails(1, &["store", found]);
            assert_eq!(
                run.hint(),
                "use the version that made it, or a new directory"
            );
        }
    }
    assert_eq!(bench.names(bench.store()), before);
    // A later version need not have any of our directories.
    fs::create_dir(bench.path("later")).unwrap();
    bench.write("later/format", "2\n");
    let run = bench.run(&["--store", "later", "images"]);
    run.fails(1, &["later has format 2"]);
}

#[test]
fn a_store_without_a_format_is_an_old_one() {
    let bench = bench();
    bench.unpack("oci:image").lines();
    fs::remove_file(bench.path("store/format")).unwrap();
    let before = bench.names(bench.store());
    for verb in VERBS {
        let run = bench.on_store(verb);
        run.fails(1, &["was made before there were format numbers"]);
        assert_eq!(
            run.hint(),
            "use the version that made it, or a new directory"
        );
    }
    assert_eq!(bench.names(bench.store()), before);
}

#[test]
fn a_store_that_is_only_read_is_checked_too() {
    let bench = bench();
    bench.unpack("oci:image").lines();
    let images = || bench.run(&["--store", "other", "--store", "store", "images"]);
    assert_eq!(images().lines().len(), 2);
    bench.write("store/format", "2\n");
    images().fails(1, &["store has format 2"]);
    fs::remove_file(bench.path("store/format")).unwrap();
    images().fails(1, &["before there were format numbers"]);
}

/// What a process leaves that is killed while it makes a store: nothing, or a file in the making.
#[test]
fn a_store_that_was_begun_is_finished() {
    for others in [&["lost+found"][..], &[]] {
        let bench = bench();
        fs::create_dir(bench.store()).unwrap();
        bench.write("store/.format-0123456789abcdef", "");
        for name in others {
            fs::create_dir(bench.store().join(name)).unwrap();
        }
        bench.unpack("oci:image").lines();
        let names = bench.names(bench.store());
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
        assert_eq!(fs::read(bench.path("store/format")).unwrap(), b"1\n");
    }
    // Killed right after.
    let bench = bench();
    fs::create_dir(bench.store()).unwrap();
    bench.write("store/format", "1\n");
    fs::set_permissions(
        bench.store(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    bench.unpack("oci:image").lines();
}

#[test]
fn processes_that_make_a_store_at_once_make_one() {
    for _ in 0..8 {
        let bench = bench();
        // Where it is made from an empty directory, its mode is changed, too.
        fs::create_dir(bench.store()).unwrap();
        let start = || {
            support::program::lowerdir()
                .args(["--store", "store", "unpack", "oci:image"])
                .args(["--userxattr", "--owners=caller", "--sync=none"])
                .current_dir(bench.path(""))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts")
        };
        let children: Vec<_> = (0..8).map(|_| start()).collect();
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
        }
        let names = bench.names(bench.store());
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
        assert_eq!(fs::read(bench.path("store/format")).unwrap(), b"1\n");
    }
}

/// What is left would show as images whose layers are missing.
#[test]
fn a_store_that_has_lost_its_layers_is_none() {
    let bench = bench();
    bench.unpack("oci:image").lines();
    fs::rename(bench.path("store/layers"), bench.path("elsewhere")).unwrap();
    let run = bench.on_store(&["prune"]);
    run.fails(1, &["has other files in it, and is not a store"]);
    let both = ["--store", "other", "--store", "store", "images"];
    bench.run(&both).fails(1, &["store is not a store"]);
}
