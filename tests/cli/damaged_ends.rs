//! Damage behind the end of an archive, where checksums stand: every verb reads every blob to its last
//! byte, and leaves no output behind where something is wrong there.

use lowerdir::repack::translate::{TranslateOptions, to_oci, to_overlay};
use serde_json::json;
use std::io::{self, Read, Write};

use crate::bench::Bench;
use crate::layout::{CONFIG, LAYER, Layout, MANIFEST};
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

/// An archive with a record's worth of zeros behind its end, as tar writes it, and more behind that
/// than a decoder gives at once.
fn archive() -> Vec<u8> {
    let archive = LayerBuilder::new().file("f", 0o644, "body").finish();
    let noise = (0..400_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8);
    [archive, vec![0; 10_240], noise.collect()].concat()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Blobs of one archive, each with something wrong near its end.
fn damaged(archive: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let flipped = |mut blob: Vec<u8>, from_end: usize| {
        let at = blob.len() - from_end;
        blob[at] ^= 1;
        blob
    };
    let cut = |mut blob: Vec<u8>, count: usize| {
        blob.truncate(blob.len() - count);
        blob
    };
    let gzip = Compression::Gzip.compress(archive);
    vec![
        ("gzip, its CRC", flipped(gzip.clone(), 8)),
        ("gzip, its length", flipped(gzip.clone(), 1)),
        ("gzip, cut in its trailer", cut(gzip.clone(), 3)),
        ("gzip, without a trailer", cut(gzip.clone(), 8)),
        ("gzip, cut in its data", cut(gzip.clone(), 100)),
        ("gzip, a bit of its data", flipped(gzip.clone(), 2000)),
        ("gzip, garbage behind", [&gzip[..], b"garbage"].concat()),
        ("zstd, its checksum", flipped(zstd(archive), 1)),
        ("zstd, cut", cut(zstd(archive), 2)),
        ("zstd, garbage", [&zstd(archive)[..], b"garbage"].concat()),
        ("xz, its footer", flipped(xz(archive), 5)),
        ("xz, cut", cut(xz(archive), 6)),
        ("xz, garbage", [&xz(archive)[..], b"garbage"].concat()),
    ]
}

#[test]
fn translate_reads_its_input_to_the_last_byte() {
    for (what, blob) in damaged(&archive()) {
        let bench = Bench::new();
        bench.write("blob", &blob);
        for to in ["overlay", "oci"] {
            let run = bench.run(&["translate", "--to", to, "blob", "out"]);
            assert_eq!(run.status, 3, "{what}: {run:?}");
            let run = bench.run_with_input(&["translate", "--to", to, "-", "out"], &blob);
            assert_eq!(run.status, 3, "{what}: {run:?}");
            let run = bench.run(&["translate", "--to", to, "blob"]);
            assert_eq!(run.status, 3, "{what}: {:?}", run.stderr);
            assert_eq!(bench.names(".".as_ref()), ["blob"], "{what}");
        }
        // What is there already stays.
        bench.write("out", "before");
        assert_eq!(bench.run(&["translate", "blob", "out"]).status, 3);
        assert_eq!(std::fs::read(bench.path("out")).unwrap(), b"before");
    }
}

#[test]
fn translate_keeps_to_the_limits_of_bytes() {
    let bench = Bench::new();
    let archive = archive();
    bench.write("blob", Compression::Gzip.compress(&archive));
    let limit = format!("--max-bytes={}", archive.len() - 1);
    bench
        .run(&["translate", "blob", "out", &limit])
        .fails(4, &["bytes"]);
    let zeros = LayerBuilder::new().file("f", 0o644, vec![0; 3 << 20]);
    bench.write("blob", Compression::Zstd.compress(&zeros.finish()));
    let run = bench.run(&["translate", "blob", "out", "--max-ratio=2"]);
    run.fails(4, &["a blob of"]);
    assert_eq!(bench.names(".".as_ref()), ["blob"]);
    assert_eq!(bench.run(&["translate", "blob", "out"]).status, 0);
}

/// Gives some bytes, then the error of a broken disk.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::from_raw_os_error(5)),
            count => Ok(count),
        }
    }
}

#[test]
fn the_library_translates_no_layer_that_it_has_not_read() {
    let archive = LayerBuilder::new().file("f", 0o644, "body").finish();
    let options = TranslateOptions::default();
    let error = to_overlay(Broken(&archive), &options, Vec::new()).map(|_| ());
    assert_eq!(error.unwrap_err().raw_os_error(), Some(5));
    let error = to_oci(Broken(&archive), &options, Vec::new()).map(|_| ());
    assert_eq!(error.unwrap_err().raw_os_error(), Some(5));
}

#[test]
fn every_verb_reads_every_blob_to_its_last_byte() {
    let archive = archive();
    for (what, blob) in damaged(&archive) {
        let bench = Bench::new();
        bench.write("blob", &blob);
        let layout = Layout::new(bench.path("image"));
        // The image says of the blob what it is, so only its own checksums can tell.
        layout.image(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layout.document(CONFIG, &oci::config(&oci::diff_ids([&archive]))),
            "layers": [layout.blob(LAYER, &blob)],
        }));
        for verb in [
            "unpack oci:image --userxattr --owners=caller",
            "unpack-layer blob new --base --userxattr --owners=caller",
            "unpack-layer blob new --base --userxattr --owners=caller -j 1",
            "flatten oci:image new --owners=caller",
            "flatten oci:image oci:new:tag",
            "ls oci:image",
            "diff oci:image --layer 1",
            "inspect oci:image",
            "export oci:image --format mtree",
            "export oci:image --format composefs-dump",
        ] {
            let run = bench.on_store(&verb.split(' ').collect::<Vec<_>>());
            assert_eq!(run.status, 3, "{what}: {verb}: {run:?}");
            assert_eq!(run.stdout, "", "{what}: {verb}");
            let mut left = bench.names(".".as_ref());
            left.retain(|name| name != "store");
            assert_eq!(left, ["blob", "image"], "{what}: {verb}");
        }
        assert_eq!(bench.layers_in_store(), 0);
    }
}

#[test]
fn an_image_archive_that_is_compressed_as_a_whole_is_read_to_its_last_byte() {
    for (what, blob) in damaged(&oci::docker_archive("name:tag", &[archive()])) {
        let bench = Bench::new();
        bench.write("image.tar", &blob);
        bench.unpack("image.tar").fails(3, &[]);
        let run = bench.run_with_input(&["ls", "-"], &blob);
        assert_eq!((run.status, run.stdout.as_str()), (3, ""), "{what}");
    }
}
