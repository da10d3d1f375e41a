//! `translate`: a layer becomes an archive in another form.

use lowerdir::internals::{Archive, EntryKind};
use lowerdir::meta::Device;

use crate::bench::Bench;
use crate::oci::Compression;
use crate::pack::names;
use crate::tarball::{LayerBuilder, Meta};

#[test]
fn a_layer_is_translated_from_pipe_to_pipe() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .whiteout("a/gone")
        .file("d/f", 0o644, "f")
        .opaque("d")
        .dir("d", Meta::new(0o700).xattr("trusted.overlay.opaque", "z"))
        .finish();
    let run = bench.run_with_input(&["translate"], &Compression::Gzip.compress(&layer));
    assert_eq!(run.status, 0);
    let mut archive = Archive::new(run.stdout.as_bytes());
    let mut deletions = Vec::new();
    let mut marks = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        if entry.kind == EntryKind::CharDevice(Device::WHITEOUT) {
            deletions.push(entry.path.to_string());
        }
        if entry.path.as_bytes() == b"d" {
            let xattrs = entry.meta.xattrs.iter();
            marks = xattrs
                .map(|xattr| (xattr.name.clone(), xattr.value.clone()))
                .collect();
        }
    }
    assert_eq!(deletions, ["a/gone"]);
    let mark = |name: &[u8], value: &[u8]| (name.into(), value.into());
    assert_eq!(
        marks,
        [
            mark(b"trusted.overlay.opaque", b"y"),
            mark(b"trusted.overlay.overlay.opaque", b"z")
        ]
    );
    let back = bench.run_with_input(
        &["translate", "--to=oci", "-", "back"],
        run.stdout.as_bytes(),
    );
    assert!(
        back.stderr.contains("1 deletion, 1 opaque directory"),
        "{back:?}"
    );
    assert!(names(&bench.path("back")).contains(&"a/.wh.gone".into()));
}

#[test]
fn a_layer_that_cannot_be_translated_leaves_no_archive() {
    let bench = Bench::new();
    let file = |name: &str| LayerBuilder::new().file(name, 0o644, "x");
    let damaged = file("f").finish()[..600].to_vec();
    for (layer, words) in [
        (
            LayerBuilder::new().opaque("").finish(),
            "the root is opaque",
        ),
        (
            file("f").hardlink("l", "below").finish(),
            "not earlier in this layer",
        ),
        (
            file("d/f").file("d", 0o644, "").finish(),
            "a directory of this layer",
        ),
        (
            LayerBuilder::new().chardev("c", 0, (0, 0)).finish(),
            "a character device 0:0",
        ),
        (damaged, "truncated"),
    ] {
        bench.write("layer", layer);
        bench
            .run(&["translate", "layer", "out"])
            .fails(3, &["layer: ", words]);
        assert_eq!(bench.names("".as_ref()), ["layer"]);
    }
    bench.write("layer", file(".wh.f").finish());
    let run = bench.run(&["translate", "--to=oci", "layer", "out"]);
    run.fails(3, &["starts with .wh."]);
}

/// Kernels link all whiteouts of a mount to one inode, and GNU tar says so.
#[test]
fn a_hard_link_to_a_deletion_is_one() {
    let bench = Bench::new();
    let archive = LayerBuilder::new()
        .chardev("a", 0, (0, 0))
        .hardlink("b", "a");
    bench.write("archive", archive.finish());
    bench
        .run(&["translate", "--to=oci", "archive", "layer"])
        .lines();
    assert_eq!(names(&bench.path("layer")), [".wh.a", ".wh.b"]);
}
