//! Images of a store whose archive is gone: verbs that show or write the content read it back from the layers.

use std::fs;

use rustix::process::{getegid, geteuid};

use crate::bench::Bench;
use crate::ls::image;
use crate::tarball::{LayerBuilder, Meta};

const IMAGE: &str = "oci:layout";

/// The owner is the caller, whom the files in the store belong to.
fn busy(bench: &Bench) {
    let owner = (geteuid().as_raw().into(), getegid().as_raw().into());
    let meta = |mode| Meta::new(mode).owner(owner.0, owner.1);
    let low = LayerBuilder::new()
        .dir(".", meta(0o755))
        .dir("etc", meta(0o711))
        .file("etc/hosts", meta(0o644).time(5, 500), "one\n")
        .file("etc/gone", meta(0o644), "gone")
        .dir("var", meta(0o755))
        .dir("var/cache", meta(0o755))
        .file("var/cache/old", meta(0o644), "old");
    let high = LayerBuilder::new()
        .hardlink("etc/same", "etc/hosts")
        .whiteout("etc/gone")
        .opaque("var/cache")
        .file("var/cache/new", meta(0o600).xattr("user.k", "v"), "new");
    image(bench, "layout", vec![low, high]);
    let run = bench.unpack_with(IMAGE, &["--name=it:1"]);
    assert_eq!(run.status, 0, "{run:?}");
}

#[test]
fn what_was_shown_of_the_archive_is_shown_without_it() {
    const VERBS: [&str; 6] = [
        "ls -l IMAGE etc/hosts",
        "ls --json IMAGE var/cache/new",
        "diff --layer=2 IMAGE",
        "flatten IMAGE -",
        "export --format=mtree IMAGE",
        "export --format=composefs-dump IMAGE",
    ];
    let bench = Bench::new();
    busy(&bench);
    let run = |verb: &str, image: &str| {
        let words = verb.replace("IMAGE", image);
        bench.on_store(&words.split(' ').collect::<Vec<_>>())
    };
    let before = VERBS.map(|verb| run(verb, IMAGE));
    assert_eq!(run("diff IMAGE it:1", IMAGE).stdout, "");
    fs::remove_dir_all(bench.path("layout")).expect("it was there");
    for (verb, before) in VERBS.iter().zip(before) {
        let now = run(verb, "it:1");
        assert_eq!((now.status, before.status), (0, 0), "{now:?} {before:?}");
        assert!(!before.stdout.is_empty(), "{verb}");
        assert_eq!(now.stdout, before.stdout, "{verb}");
        assert!(now.stderr.contains("without root"), "{verb}: {now:?}");
    }
}

#[test]
fn a_layer_that_is_gone_or_damaged_is_named() {
    let bench = Bench::new();
    busy(&bench);
    let run = bench.unpack(IMAGE);
    let upper = bench.path(run.lines()[0]);
    fs::rename(&upper, bench.path("away")).expect("it is there");
    for verb in ["ls", "diff --layer=1", "flatten", "export --format=mtree"] {
        let mut words: Vec<&str> = verb.split(' ').chain(["it:1"]).collect();
        words.extend((verb == "flatten").then_some("new"));
        let run = bench.on_store(&words);
        assert!(matches!(run.status, 1 | 3), "{run:?}");
        assert!(run.stderr.contains("layer 2 (sha256:"), "{run:?}");
        assert_eq!(run.stdout, "", "{verb}");
        assert!(!bench.path("new").exists());
    }
    let layer = upper.parent().expect("it has one");
    fs::remove_dir_all(layer).expect("it is there");
    let run = bench.on_store(&["ls", "it:1"]);
    run.fails(1, &["layer 2 (sha256:", "not in the store"]);
    assert!(run.hint().contains("lowerdir unpack"), "{run:?}");
}
