//! Limits: each ends a run with status 4, says which one it was and how to raise it, and leaves
//! nothing; raised, the same image is unpacked.

use crate::bench::{Bench, Run};
use crate::oci::{Compression, write_layout};
use crate::tarball::{LayerBuilder, Meta, padded, pax_header, pax_record};

fn unpack(bench: &Bench, option: Option<&str>) -> Run {
    let arguments = [
        "unpack-layer",
        "blob",
        "out",
        "--base",
        "--userxattr",
        "--owners=caller",
    ];
    let _ = std::fs::remove_dir_all(bench.path("out"));
    bench.run(&arguments.into_iter().chain(option).collect::<Vec<_>>())
}

/// A blob that `low` refuses and `high`, or the default, takes.
fn ends_at(blob: &[u8], low: &str, high: Option<&str>, words: &str) {
    let bench = Bench::new();
    bench.write("blob", blob);
    let run = unpack(&bench, Some(low));
    run.fails(4, &[words]);
    let option = low.split('=').next().unwrap();
    assert!(run.hint().starts_with(option), "{run:?}");
    assert_eq!(bench.names(&bench.path(".")), ["blob"]);
    assert_eq!(unpack(&bench, high).status, 0);
}

fn files(count: usize) -> LayerBuilder {
    (0..count).fold(LayerBuilder::new(), |layer, number| {
        layer.file(format!("f{number}"), 0o644, "")
    })
}

#[test]
fn bytes() {
    let layer = LayerBuilder::new().file("f", 0o644, [7; 10_000]).finish();
    // A header, the content and two blocks of zeros.
    let size = 512 + 10_240 + 1024;
    assert_eq!(layer.len(), size);
    let (low, high) = (
        format!("--max-bytes={}", size - 1),
        format!("--max-bytes={size}"),
    );
    ends_at(&layer, &low, Some(&high), "over 11775 bytes");
    ends_at(
        &Compression::Gzip.compress(&layer),
        &low,
        Some(&high),
        "over 11775 bytes",
    );
    ends_at(
        &layer,
        "--max-bytes=11k",
        Some("--max-bytes=1m"),
        "over 11264 bytes",
    );
}

#[test]
fn ratio() {
    // Some kilobytes that become eight megabytes: a MiB of a blob is free.
    let layer = LayerBuilder::new()
        .file("f", 0o644, vec![0; 8 << 20])
        .finish();
    let blob = Compression::Zstd.compress(&layer);
    assert!(blob.len() < 1 << 14);
    ends_at(&blob, "--max-ratio=7", Some("--max-ratio=9"), "a blob of");
}

#[test]
fn entries() {
    let layer = files(10).finish();
    ends_at(
        &layer,
        "--max-entries=9",
        Some("--max-entries=10"),
        "over 9 entries",
    );
}

#[test]
fn depth() {
    let layer = LayerBuilder::new().file("a/b/c/d", 0o644, "").finish();
    ends_at(
        &layer,
        "--max-depth=3",
        Some("--max-depth=4"),
        "a path of 4 components",
    );
    let deep = ["d"; 1001].join("/");
    let layer = LayerBuilder::new().file(deep, 0o644, "").finish();
    ends_at(
        &layer,
        "--max-depth=1000",
        Some("--max-depth=1001"),
        "a path of 1001 components",
    );
}

#[test]
fn header() {
    let meta = Meta::new(0o644).xattr("user.k", [b'v'; 2000]);
    let layer = LayerBuilder::new().file("f", meta, "").finish();
    ends_at(
        &layer,
        "--max-header=2000",
        Some("--max-header=3K"),
        "an extension header of",
    );
}

#[test]
fn window() {
    let layer = LayerBuilder::new()
        .file("f", 0o644, vec![7; 3 << 20])
        .finish();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.window_log(21).unwrap();
    std::io::Write::write_all(&mut zstd, &layer).unwrap();
    let blob = zstd.finish().unwrap();
    ends_at(
        &blob,
        "--max-window=1M",
        Some("--max-window=4M"),
        "a window of over 1048576",
    );
    let mut options = liblzma::stream::LzmaOptions::new_preset(6).unwrap();
    options.dict_size(8 << 20);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let check = liblzma::stream::Check::Crc32;
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
    let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    std::io::Write::write_all(&mut xz, &layer).unwrap();
    let blob = xz.finish().unwrap();
    ends_at(&blob, "--max-window=1M", None, "a window of over 1048576");
}

#[test]
fn sizes_are_read_with_their_units_or_refused() {
    let bench = Bench::new();
    bench.write("blob", files(1).finish());
    for size in ["1K", "1k", "10M", "1G", "1T", "2000"] {
        let run = unpack(&bench, Some(&format!("--max-window={size}")));
        assert_eq!(run.status, 0, "{size}: {run:?}");
    }
    for size in ["", "K", "1Q", "-1", "1.5G", "99999999999T", "1 G"] {
        let run = unpack(&bench, Some(&format!("--max-window={size}")));
        assert_eq!(run.status, 2, "{size}: {run:?}");
    }
}

/// A sparse file of some parts, each a byte long, in format 1.0.
fn sparse(parts: usize) -> Vec<u8> {
    let pairs: String = (0..parts)
        .map(|part| format!("{}\n1\n", part * 2))
        .collect();
    let map = padded(format!("{parts}\n{pairs}").as_bytes());
    let size = (parts * 2).to_string();
    let records = [("major", "1"), ("minor", "0"), ("realsize", &size)];
    let records: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| pax_record(format!("GNU.sparse.{key}"), value))
        .collect();
    LayerBuilder::new()
        .raw(pax_header(&records))
        .file("s", 0o644, [map, vec![b'x'; parts]].concat())
        .finish()
}

#[test]
fn extents() {
    ends_at(
        &sparse(40),
        "--max-extents=39",
        Some("--max-extents=40"),
        "a sparse map of over 39 parts",
    );
}

/// These are the kernel's, and no option raises them: what they let through is unpacked.
#[test]
fn limits_of_the_kernel_have_no_option() {
    let xattr = |name: usize, value: usize| {
        let name = format!("user.{}", "k".repeat(name - "user.".len()));
        let meta = Meta::new(0o644).xattr(name, vec![b'v'; value]);
        LayerBuilder::new().file("f", meta, "").finish()
    };
    let path = |length: usize| {
        let path = ["d".repeat(254), "/".into()]
            .concat()
            .repeat(length / 255 + 1);
        LayerBuilder::new()
            .file(&path[..length], 0o644, "")
            .finish()
    };
    for (good, bad, words) in [
        (xattr(255, 1), xattr(256, 1), "a name over 255"),
        (
            xattr(6, 1000),
            xattr(6, (1 << 16) + 1),
            "a value over 65536 bytes",
        ),
        (path(4095), path(4096), "longer than 4095 bytes"),
    ] {
        let bench = Bench::new();
        bench.write("blob", bad);
        let run = unpack(&bench, None);
        run.fails(4, &[words]);
        assert!(run.hint().contains("Linux"), "{run:?}");
        assert_eq!(bench.names(&bench.path(".")), ["blob"]);
        bench.write("blob", good);
        let run = unpack(&bench, None);
        assert_eq!(run.status, 0, "{run:?}");
    }
}

/// Directories that have no entry of their own count as entries.
#[test]
fn entries_that_a_name_implies() {
    let deep = format!("{}f", "d/".repeat(900));
    for layer in [
        LayerBuilder::new().file(&deep, 0o644, ""),
        LayerBuilder::new().whiteout(&deep),
        LayerBuilder::new().opaque(&deep[..deep.len() - 2]),
    ] {
        let layer = layer.finish();
        ends_at(
            &layer,
            "--max-entries=2",
            Some("--max-entries=901"),
            "over 2 entries",
        );
        by_every_verb(&layer, &["--max-entries=2"], "over 2 entries");
    }
}

/// Some kilobytes that stand for 270,000 directories. What writes them to disk refuses them in
/// `make bench-micro`.
#[test]
fn directories_that_few_entries_imply() {
    let deep = |layer: LayerBuilder, chain| {
        layer.file(format!("{chain}/{}f", "d/".repeat(899)), 0o644, "")
    };
    let layer = (0..300).fold(LayerBuilder::new(), deep).finish();
    let bench = with_image(&layer);
    for verb in [&["translate", "blob", "out"][..], &["ls", "oci:image:1"]] {
        bench.run(verb).fails(4, &["directories without an entry"]);
    }
    assert_eq!(bench.names("".as_ref()), ["blob", "image"]);
}

/// Each name is led through 39 links of 4,000 bytes.
#[test]
fn steps_through_symbolic_links() {
    let link = |layer: LayerBuilder, link| {
        let target = format!("{}l{}", "a/../".repeat(798), link + 1);
        layer.symlink(format!("l{link}"), target)
    };
    let links = (0..39).fold(LayerBuilder::new().dir("a", 0o755), link);
    let file = |layer: LayerBuilder, number| layer.file(format!("l0/{number}"), 0o644, "");
    let layer = (0..300).fold(links.dir("l39", 0o755), file).finish();
    by_every_verb(&layer, &[], "too many steps through symbolic links");
}

/// What hard links to files of the layers below copy counts with the layer's own bytes.
#[test]
fn bytes_that_hard_links_copy() {
    let bench = Bench::new();
    let base = LayerBuilder::new()
        .file("f", 0o644, vec![7; 10_000])
        .file("g", 0o644, vec![8; 10_000])
        .finish();
    let links = |layer: LayerBuilder, (name, target): &(&str, &str)| layer.hardlink(name, target);
    let top = |links_to: &[(&str, &str)]| links_to.iter().fold(LayerBuilder::new(), links).finish();
    bench.write("base.tar", base);
    let unpack = |arguments: &[&str]| {
        let options = ["--userxattr", "--owners=caller", "--sync=none"];
        bench.run(&[&["unpack-layer"], arguments, &options].concat())
    };
    assert_eq!(unpack(&["base.tar", "base", "--base"]).status, 0);
    let two = [("one", "f"), ("other", "g")];
    bench.write("top.tar", top(&two));
    let limited = ["top.tar", "top", "--lower=base", "--max-bytes=16K"];
    let run = unpack(&limited);
    run.fails(4, &["16384 bytes"]);
    assert!(run.hint().starts_with("--max-bytes"), "{run:?}");
    assert_eq!(bench.names("".as_ref()), ["base", "base.tar", "top.tar"]);
    // A second name for what is copied already copies nothing.
    bench.write("top.tar", top(&[("one", "f"), ("other", "f")]));
    assert_eq!(unpack(&limited).status, 0);
}

/// The layer as a blob, and in an image.
fn with_image(layer: &[u8]) -> Bench {
    let bench = Bench::new();
    bench.write("blob", layer);
    write_layout(
        &bench.path("image"),
        "1",
        &[(layer.into(), Compression::Gzip)],
    );
    bench
}

/// All that read the layer refuse it, print nothing and leave nothing.
fn by_every_verb(layer: &[u8], options: &[&str], words: &str) {
    let bench = Bench::new();
    bench.write("blob", layer);
    write_layout(
        &bench.path("image"),
        "1",
        &[(layer.into(), Compression::Gzip)],
    );
    let image = "oci:image:1";
    for verb in [
        &[
            "unpack-layer",
            "blob",
            "out",
            "--owners=caller",
            "--userxattr",
        ][..],
        &["translate", "blob", "out"],
        &[
            "unpack",
            image,
            "--owners=caller",
            "--userxattr",
            "--sync=none",
        ],
        &["ls", image],
        &["diff", image, image],
        &["flatten", image, "out", "--owners=caller"],
        &["flatten", image, "-"],
        &["export", "--format=mtree", image],
    ] {
        let run = bench.on_store(&[verb, options].concat());
        assert_eq!(run.status, 4, "{verb:?}: {run:?}");
        // An archive may have begun.
        assert!(run.stdout.len() <= 512, "{verb:?}: {run:?}");
        assert!(run.error().contains(words), "{verb:?}: {run:?}");
        assert!(!bench.path("out").exists(), "{verb:?}");
    }
    let left = bench.names(&bench.store().join("layers"));
    assert!(left.iter().all(|name| {
        bench
            .names(&bench.store().join("layers").join(name))
            .is_empty()
    }));
}
