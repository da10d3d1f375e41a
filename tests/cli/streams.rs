//! Archives that are compressed as a whole, or come through a pipe: what is copied, and what not.

use std::path::Path;

use serde_json::json;

use crate::bench::{Bench, Run};
use crate::oci;
use crate::tarball::LayerBuilder;
use support::program;

/// Larger than what is kept in memory, and different for each number.
fn large(number: u8) -> Vec<u8> {
    (0..5 << 20)
        .map(|at: u32| (at >> 9) as u8 ^ number)
        .collect()
}

/// A Docker archive whose layers stand in it in another order than they are stacked in.
fn archive(layers: u8) -> Vec<u8> {
    let tars: Vec<Vec<u8>> = (0..layers)
        .map(|number| LayerBuilder::new().file(format!("f{number}"), 0o644, large(number)))
        .map(LayerBuilder::finish)
        .collect();
    let config = oci::config(&oci::diff_ids(&tars)).to_string();
    let names: Vec<String> = (0..layers).map(|number| format!("{number}.tar")).collect();
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["a:b"], "Layers": names }]);
    let mut archive = LayerBuilder::new();
    for (name, tar) in names.iter().zip(&tars).rev() {
        archive = archive.file(name, 0o644, tar);
    }
    let archive = archive.file("c.json", 0o644, config);
    archive
        .file("manifest.json", 0o644, manifest.to_string())
        .finish()
}

fn compressed(archive: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let mut xz = liblzma::read::XzEncoder::new(archive, 0);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut xz, &mut bytes).unwrap();
    [
        ("gzip", oci::Compression::Gzip.compress(archive)),
        ("zstd", oci::Compression::Zstd.compress(archive)),
        ("xz", bytes),
    ]
}

/// Runs where no temporary file can be made.
fn without_room(bench: &Bench, arguments: &[&str]) -> Run {
    let mut command = program::lowerdir();
    command.arg("--store").arg(bench.store()).args(arguments);
    Run::of(
        command
            .current_dir(bench.path("."))
            .env("TMPDIR", "/nowhere"),
    )
}

#[test]
fn a_compressed_archive_is_not_copied() {
    let archive = archive(4);
    for (name, bytes) in compressed(&archive) {
        for jobs in ["-j1", "-j3"] {
            let bench = Bench::new();
            bench.write("image", &bytes);
            let unpack = [
                "unpack",
                "image",
                "--userxattr",
                "--owners=caller",
                "--sync=none",
            ];
            let run = without_room(&bench, &[&unpack[..], &[jobs]].concat());
            let lines = run.lines();
            assert_eq!(lines.len(), 4, "{name}");
            for (number, directory) in lines.iter().rev().enumerate() {
                let file = Path::new(directory).join(format!("f{number}"));
                assert!(
                    std::fs::read(file).unwrap() == large(number as u8),
                    "{name} {jobs}"
                );
            }
            assert_eq!(without_room(&bench, &["stack", "image"]).lines().len(), 1);
        }
    }
}

#[test]
fn what_comes_through_a_pipe_is_copied() {
    let archive = archive(2);
    for (name, bytes) in compressed(&archive)
        .into_iter()
        .chain([("plain", archive.clone())])
    {
        let bench = Bench::new();
        let store = bench.store().to_str().unwrap().to_string();
        let unpack = [
            "--userxattr",
            "--owners=caller",
            "--sync=none",
            "--store",
            &store,
        ];
        let arguments = [&["unpack", "-"][..], &unpack].concat();
        let run = bench.run_with_input(&arguments, &bytes);
        assert_eq!(run.lines().len(), 2, "{name}");
    }
    let bench = Bench::new();
    bench.write("image", &archive);
    let script = "cat image | TMPDIR=/nowhere \"$0\" unpack - --store store";
    let run = Run::of(program::shell(script).current_dir(bench.path(".")));
    let text = run.stderr;
    assert!(
        text.contains("/nowhere") && text.contains("hint: set TMPDIR"),
        "{text}"
    );
}

#[test]
fn damage_anywhere_in_a_compressed_archive_is_found() {
    let archive = archive(2);
    for (name, bytes) in compressed(&archive) {
        let bench = Bench::new();
        for cut in [bytes.len() / 3, bytes.len() - 9, bytes.len() - 1] {
            bench.write("image", &bytes[..cut]);
            let run = bench.unpack("image");
            assert_eq!(run.status, 3, "{name} cut at {cut}: {run:?}");
        }
        assert!(!bench.store().exists() || bench.layers_in_store() == 0);
    }
}
