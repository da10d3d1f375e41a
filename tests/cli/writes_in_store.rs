//! No verb writes into a store: not beside a layer, not into one, and not through a symbolic link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::bench::Bench;
use crate::layout::Layout;
use crate::tarball::LayerBuilder;
use crate::touched::snapshot;

/// An image in the bench's store, its layer as `layer.tar`, and a directory to pack.
fn bench() -> Bench {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", 0o644, "f")
        .finish();
    bench.write("layer.tar", &layer);
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer]));
    let unpack = ["unpack", "oci:image", "--sync=none"];
    let unpack = [&unpack[..], &["--userxattr", "--owners=caller"]].concat();
    assert_eq!(bench.on_store(&unpack).status, 0);
    fs::create_dir(bench.path("upper")).expect("a directory");
    bench.write("upper/new", "new");
    bench
}

/// What each verb would write, with `@` for the place.
const VERBS: &[&str] = &[
    "translate layer.tar @",
    "pack upper --userxattr --base -o @",
    "pack upper --userxattr --base --append oci:@",
    "unpack-layer --base layer.tar @ --userxattr --owners=caller",
    "flatten oci:image @ --owners=caller",
    "flatten oci:image oci:@:flat",
    "convert @ --to user",
    "convert @ --to user --dry-run",
    "bundle oci:image @",
    "bundle oci:image box --upper @ --work work",
    "bundle oci:image box --upper changes --work @",
    "export oci:image --format=containers-storage @",
    "export oci:image --format=mstack @.mstack",
    "mount oci:image @",
    "mount oci:image target --upper @ --work work",
    "mount oci:image target --upper changes --work @",
    "mount oci:image target --print=fstab --upper @ --work work",
    "--store @ unpack oci:image --userxattr --owners=caller",
    "man --dir @",
];

#[test]
fn every_verb_refuses_to_write_into_a_store() {
    let bench = bench();
    let store = bench
        .path("")
        .canonicalize()
        .expect("it is there")
        .join("store");
    let layers = bench.names(&store.join("layers/sha256"));
    let inside = store.join("layers/sha256").join(&layers[0]).join("fs");
    symlink(&inside, bench.path("link")).expect("a link");
    for dangling in ["dangling", "dangling.mstack"] {
        symlink(inside.join("x"), bench.path(dangling)).expect("a link");
    }
    fs::create_dir(bench.path("target")).expect("a directory");
    // Opening a store sets the times of its empty directories.
    let state = || (snapshot(&store.join("layers")), bench.names(&store));
    let before = state();
    let beside = bench.names(Path::new("."));
    let d = inside.join("d");
    let places = [
        store.join("new"),
        inside.join("new"),
        d.join("a/b"),
        "link/new".into(),
        "link/d/../new".into(),
        "dangling".into(),
    ];
    for verb in VERBS {
        for place in &places {
            let arguments = verb.replace('@', place.to_str().expect("text"));
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let run = match arguments[0] {
                "--store" => bench.run(&arguments),
                _ => bench.on_store(&arguments),
            };
            run.fails(1, &["would be inside the store"]);
            assert!(run.hint().contains("outside the store"), "{run:?}");
            assert_eq!(state(), before, "{arguments:?}");
        }
    }
    assert_eq!(bench.names(Path::new(".")), beside);
}

#[test]
fn what_is_beside_a_store_or_only_looks_like_one_is_written() {
    let bench = bench();
    // A directory of this name alone makes no store.
    fs::create_dir_all(bench.path("layers/sha256")).expect("a directory");
    for out in ["beside.tar", "layers/sha256/out.tar"] {
        let run = bench.on_store(&["translate", "layer.tar", out]);
        assert_eq!(run.status, 0, "{run:?}");
        assert!(bench.path(out).is_file());
    }
}
