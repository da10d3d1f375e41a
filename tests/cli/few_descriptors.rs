//! `ulimit -n`: images of many layers do with the descriptors that there are, only slower.

use std::fs;

use crate::bench::Bench;
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;
use support::program::{self, Run};

/// Every verb that reads an image or a store.
const VERBS: &[&str] = &[
    "unpack oci:image --userxattr --owners=caller --sync=none",
    "unpack oci:image --userxattr --owners=caller --sync=none",
    "stack oci:image",
    "images",
    "verify --all",
    "verify --all --quick",
    "verify oci:image --repair",
    "ls oci:image",
    "diff oci:image oci:image",
    "inspect oci:image",
    "flatten oci:image flat --owners=caller",
    "flatten oci:image oci:layout:flat",
    "export oci:image --format=mtree",
    "export oci:image --format=composefs-dump",
    "export oci:image --format=containers-storage storage",
    "bundle oci:image bundle --overlay=config -- /f",
    "prune --dry-run",
    "rm image:1",
];

/// An image of layers that have a directory and a file in common, and each a file of its own.
fn write_image(bench: &Bench, layers: usize) {
    let layer = |number: usize| {
        let layer = LayerBuilder::new()
            .dir("d", 0o755)
            .file("d/same", 0o644, number.to_string())
            .file(format!("d/{number}"), 0o644, "");
        match number {
            0 => layer.finish(),
            _ => layer.whiteout(format!("d/{}", number - 1)).finish(),
        }
    };
    let layers: Vec<_> = (0..layers)
        .map(|number| (layer(number), Compression::Gzip))
        .collect();
    oci::write_layout(&bench.path("image"), "1", &layers);
}

fn run(bench: &Bench, descriptors: usize, jobs: usize, verb: &str) -> Run {
    let mut command = program::other("prlimit");
    command
        .arg(format!("--nofile={descriptors}:{descriptors}"))
        .arg(program::path())
        .args([&format!("-j{jobs}"), "--store", "store"])
        .args(verb.split(' '))
        .current_dir(bench.path("."));
    Run::of(&mut command)
}

#[test]
fn sixty_four_descriptors_are_enough_for_twenty_layers() {
    for jobs in [1, 2, 16] {
        let bench = Bench::new();
        write_image(&bench, 20);
        for verb in VERBS {
            let run = run(&bench, 64, jobs, verb);
            assert_eq!(run.status, 0, "-j{jobs} {verb}: {run:?}");
        }
        let flat = bench.names("flat/d".as_ref());
        assert_eq!(flat, ["19", "same"]);
        assert_eq!(
            fs::read(bench.path("flat/d/same")).expect("it is there"),
            b"19"
        );
    }
}

#[test]
fn the_usual_hard_limit_is_enough_for_the_most_layers() {
    let bench = Bench::new();
    write_image(&bench, 500);
    for verb in [
        "unpack oci:image --userxattr --owners=caller --sync=none",
        "unpack oci:image --userxattr --owners=caller --sync=none",
        "stack oci:image",
        "verify --all",
        "ls oci:image",
        "rm image:1",
    ] {
        let run = run(&bench, 1024, 16, verb);
        assert_eq!(run.status, 0, "{verb}: {run:?}");
    }
}
