//! What engines read their own way: global PAX headers, xattrs of other systems, files that are one
//! huge hole. Every verb does the same about them, and says so.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Run};
use crate::ls::image;
use crate::tarball::{LayerBuilder, Meta, header, padded, pax_header, pax_record};

/// Verbs that look at oci:image, or unpack `layer`, each with what it needs to run here.
const VERBS: &[&str] = &[
    "unpack oci:image --userxattr --owners=caller --progress=none",
    "unpack-layer layer new --base --userxattr --owners=caller",
    "flatten oci:image flat --owners=caller",
    "flatten oci:image -",
    "flatten oci:image oci:new:tag",
    "ls oci:image",
    "ls oci:image --layer 1",
    "diff oci:image --layer 1",
    "diff oci:image oci:image",
    "inspect oci:image",
    "export oci:image --format mtree",
    "export oci:image --format composefs-dump",
    "translate layer overlay.tar",
    "translate --to oci layer oci.tar",
];

/// All of them on one layer, each in a directory of its own.
fn all(layer: &LayerBuilder, mut check: impl FnMut(&str, &Bench, &Run)) {
    for verb in VERBS {
        let bench = Bench::new();
        bench.write("layer", layer.clone().finish());
        image(&bench, "image", vec![layer.clone()]);
        let run = bench.on_store(&verb.split(' ').collect::<Vec<_>>());
        check(verb, &bench, &run);
    }
}

fn global(records: &[u8]) -> Vec<u8> {
    let block = header(b'g', b"g", b"", &Meta::new(0o644), records.len() as u64);
    [block.to_vec(), padded(records)].concat()
}

#[test]
fn a_global_header_is_skipped_with_a_warning_where_it_would_change_an_entry() {
    let records = [pax_record("path", "elsewhere"), pax_record("uid", "7")];
    let layer = LayerBuilder::new()
        .file("before", 0o644, "")
        .raw(global(&records.concat()))
        .file("first", 0o644, "")
        .file("second", 0o644, "");
    all(&layer, |verb, bench, run| {
        assert_eq!(run.status, 0, "{verb}: {run:?}");
        let warning = "warning: 2 x entries after a global PAX header, which is skipped";
        assert!(run.stderr.contains(warning), "{verb}: {run:?}");
        assert!(run.stderr.contains("first)"), "{verb}: {run:?}");
        assert!(!run.stdout.contains("elsewhere"), "{verb}");
        if verb.starts_with("flatten oci:image flat") {
            assert_eq!(bench.names("flat".as_ref()), ["before", "first", "second"]);
        }
    });
}

/// As `git archive` writes it.
#[test]
fn a_global_header_with_a_comment_alone_gives_no_warning() {
    let layer = LayerBuilder::new()
        .raw(global(&pax_record(
            "comment",
            "9fceb02d0ae598e95dc970b74767f19372d61af8",
        )))
        .file("f", 0o644, "");
    all(&layer, |verb, _, run| {
        assert_eq!(run.status, 0, "{verb}: {run:?}");
        assert!(!run.stderr.contains("warning"), "{verb}: {run:?}");
    });
}

fn with_foreign_xattrs() -> LayerBuilder {
    let meta = Meta::new(0o644)
        .xattr("com.apple.provenance", [1, 0, 0xff])
        .xattr("user.kept", "value");
    LayerBuilder::new().file("f", meta, "body")
}

#[test]
fn x2_every_verb_leaves_out_xattrs_of_other_systems_and_says_so() {
    all(&with_foreign_xattrs(), |verb, bench, run| {
        assert_eq!(run.status, 0, "{verb}: {run:?}");
        let warning = "warning: 1 x xattrs left out: they belong to another system";
        assert!(run.stderr.contains(warning), "{verb}: {run:?}");
        assert!(!run.stdout.contains("com.apple"), "{verb}");
        for name in ["overlay.tar", "oci.tar"] {
            if let Ok(bytes) = std::fs::read(bench.path(name)) {
                let has = |words: &[u8]| bytes.windows(words.len()).any(|part| part == words);
                assert!(!has(b"com.apple") && has(b"user.kept"), "{verb}");
            }
        }
    });
}

#[test]
fn x2_what_is_listed_is_what_is_unpacked() {
    let bench = Bench::new();
    image(&bench, "image", vec![with_foreign_xattrs()]);
    let unpacked = bench.unpack("oci:image");
    let file = std::path::Path::new(unpacked.lines()[0]).join("f");
    let names: Vec<_> = xattr::list(file).unwrap().collect();
    assert!(names.contains(&"user.kept".into()));
    let listed = bench.run(&["ls", "oci:image", "--json"]);
    assert!(listed.stdout.contains("user.kept") && !listed.stdout.contains("com.apple"));
    let dump = bench.run(&["export", "oci:image", "--format", "composefs-dump"]);
    assert!(dump.stdout.contains("user.kept=value"), "{dump:?}");
    bench.on_store(&["verify", "oci:image"]).lines();
}

#[test]
fn x2_strict_refuses_them_in_every_verb() {
    for verb in VERBS {
        let bench = Bench::new();
        let layer = with_foreign_xattrs();
        bench.write("layer", layer.clone().finish());
        image(&bench, "image", vec![layer]);
        let before = bench.names(".".as_ref());
        let strict = verb.split(' ').chain(["--xattrs=strict"]);
        let run = bench.on_store(&strict.collect::<Vec<_>>());
        run.fails(
            3,
            &["f: xattr com.apple.provenance belongs to another system"],
        );
        assert!(run.hint().contains("--xattrs=strict"), "{run:?}");
        let mut left = bench.names(".".as_ref());
        left.retain(|name| name != "store");
        assert_eq!(left, before, "{verb}");
    }
}

/// A sparse file of this size, in format 1.0, of which nothing is stored.
fn hole(size: u64) -> LayerBuilder {
    let records = [
        pax_record("GNU.sparse.major", "1"),
        pax_record("GNU.sparse.minor", "0"),
        pax_record("GNU.sparse.name", "huge"),
        pax_record("GNU.sparse.realsize", size.to_string()),
    ];
    LayerBuilder::new().raw(pax_header(&records.concat())).file(
        "GNUSparseFile.0/huge",
        0o644,
        padded(format!("1\n{size}\n0\n").as_bytes()),
    )
}

#[test]
fn a_file_that_is_one_huge_hole_is_a_limit_in_every_verb() {
    for size in [1u64 << 55, (1 << 40) + 1] {
        let start = Instant::now();
        all(&hole(size), |verb, _, run| {
            run.fails(4, &["huge: sparse files of over 1099511627776 bytes"]);
            assert!(run.hint().starts_with("--max-bytes"), "{verb}: {run:?}");
        });
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

/// Each by itself is within the limit.
#[test]
fn many_holes_count_together() {
    let layer = (0..3).fold(LayerBuilder::new(), |layer, _| {
        layer.raw(hole(1 << 39).finish_without_end())
    });
    all(&layer, |_, _, run| run.fails(4, &["sparse files of over"]));
}

/// SHA-256 knows no shorter way through zeros, and a limit ends it; fs-verity does.
#[test]
fn a_list_does_not_hash_what_a_few_bytes_claim() {
    let bench = Bench::new();
    image(&bench, "image", vec![hole(1 << 39)]);
    let start = Instant::now();
    let run = bench.run(&["export", "oci:image", "--format", "mtree"]);
    run.fails(4, &["a blob of"]);
    assert!(run.hint().starts_with("--max-ratio"));
    let run = bench.run(&["export", "oci:image", "--format", "composefs-dump"]);
    assert!(
        run.lines()[1].starts_with("/huge 549755813888 100644"),
        "{run:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    image(&bench, "image", vec![hole(1 << 20)]);
    bench
        .run(&["export", "oci:image", "--format", "mtree"])
        .lines();
}
