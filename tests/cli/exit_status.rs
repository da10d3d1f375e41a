//! 0 done, 1 failed, 2 usage, 3 image refused or digest mismatch, 4 a limit was reached.

use crate::bench::Bench;
use crate::oci::{self, Compression};
use crate::tarball::{LayerBuilder, Meta};

#[test]
fn status_0_when_it_is_done() {
    let bench = Bench::new();
    let tar = LayerBuilder::new().file("f", 0o644, "x").finish();
    oci::write_layout(&bench.path("image"), "latest", &[(tar, Compression::Gzip)]);
    assert_eq!(bench.unpack("oci:image").status, 0);
    assert_eq!(bench.unpack("oci:image:latest").status, 0);
    assert_eq!(bench.stack("image").status, 0);
    assert_eq!(bench.run(&["--help"]).status, 0);
    assert_eq!(bench.run(&["--version"]).status, 0);
}

#[test]
fn status_1_when_what_was_asked_for_is_not_there() {
    let bench = Bench::new();
    bench
        .unpack("oci:nowhere")
        .fails(1, &["opening nowhere", "no such file"]);
    bench
        .run(&["unpack-layer", "nowhere.tar", "d"])
        .fails(1, &["opening nowhere.tar", "no such file"]);
    bench
        .run(&["umount", "/"])
        .fails(1, &["not an overlay mount"]);
}

#[test]
fn status_1_when_an_image_was_not_unpacked() {
    let bench = Bench::new();
    let tar = LayerBuilder::new().file("f", 0o644, "x").finish();
    oci::write_layout(&bench.path("image"), "latest", &[(tar, Compression::Plain)]);
    let run = bench.stack("oci:image");
    run.fails(1, &["there is no store at"]);
    assert!(run.hint().contains("lowerdir unpack"));
    oci::write_layout(&bench.path("other"), "latest", &[]);
    bench.unpack("oci:other").lines();
    let run = bench.stack("oci:image");
    run.fails(1, &["layer 1 (sha256:", "not in the store"]);
    assert!(run.hint().contains("lowerdir unpack"));
}

#[test]
fn status_2_for_what_nobody_can_mean() {
    let bench = Bench::new();
    let no_arguments: [&str; 0] = [];
    assert_eq!(bench.run(&no_arguments).status, 2);
    for arguments in [
        &["frobnicate"][..],
        &["unpack"],
        &["unpack", "image", "--whiteout=maybe"],
        &["unpack", "image", "--platform=planet"],
        &["unpack", "image", "-j", "0"],
        &["unpack-layer", "blob"],
        &["unpack-layer", "blob", "d", "--base", "--parent", "p"],
        &["unpack-layer", "blob", "d", "--digest=sha256:123"],
        &["mount", "image", "target", "--upper", "u"],
    ] {
        let run = bench.run(arguments);
        assert_eq!(run.status, 2, "{arguments:?}");
        assert!(run.stderr.contains("error: "), "{run:?}");
    }
    assert!(bench.names("".as_ref()).is_empty());
}

#[test]
fn status_3_for_an_image_that_breaks_a_rule() {
    let bench = Bench::new();
    let tar = LayerBuilder::new().file("../f", 0o644, "x").finish();
    let blob = bench.write("layer.tar", tar);
    let blob = blob.to_str().unwrap();
    bench
        .run(&["unpack-layer", blob, "d", "--owners=caller"])
        .fails(3, &["../f", "`..`"]);
    assert_eq!(bench.names("".as_ref()), ["layer.tar"]);
}

#[test]
fn status_3_for_what_is_no_image_at_all() {
    let bench = Bench::new();
    bench.write("text", "these are not the bytes of an archive".repeat(20));
    bench.write("image.tar", LayerBuilder::new().dir("d", 0o755).finish());
    bench.unpack("text").fails(3, &["not a tar archive"]);
    bench
        .unpack("image.tar")
        .fails(3, &["index.json", "manifest.json"]);
    bench
        .unpack("docker-archive:image.tar")
        .fails(3, &["manifest.json"]);
    assert!(!bench.store().exists());
}

#[test]
fn status_4_for_a_path_that_is_too_long() {
    let bench = Bench::new();
    let name = vec!["d".repeat(100); 41].join("/");
    bench.write("layer.tar", LayerBuilder::new().dir(name, 0o755).finish());
    bench
        .run(&["unpack-layer", "layer.tar", "d"])
        .fails(4, &["4095 bytes"]);
    assert_eq!(bench.names("".as_ref()), ["layer.tar"]);
}

#[test]
fn status_4_for_an_xattr_that_is_too_large() {
    let bench = Bench::new();
    let meta = Meta::new(0o644).xattr("user.a", vec![0; (1 << 16) + 1]);
    bench.write(
        "layer.tar",
        LayerBuilder::new().file("f", meta, "").finish(),
    );
    bench
        .run(&["unpack-layer", "layer.tar", "d"])
        .fails(4, &["f: xattr user.a"]);
}

#[test]
fn status_4_for_more_layers_than_the_kernel_stacks() {
    let bench = Bench::new();
    let layers: Vec<_> = (0..501)
        .map(|number| LayerBuilder::new().file(format!("f{number}"), 0o644, ""))
        .map(|layer| (layer.finish(), Compression::Plain))
        .collect();
    oci::write_layout(&bench.path("image"), "latest", &layers);
    let run = bench.unpack("oci:image");
    match run.status {
        0 => bench.stack("oci:image").fails(4, &["501", "500"]),
        _ => run.fails(4, &["501", "500"]),
    }
}
