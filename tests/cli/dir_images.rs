//! skopeo's `dir:`: `manifest.json`, and the blobs beside it; and what Docker wrote before 1.10.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::layout::{CONFIG, INDEX, LAYER, MANIFEST, damage};
use crate::oci;
use crate::tarball::LayerBuilder;

/// A directory as `skopeo copy ... dir:DIR` writes it.
struct Flat(PathBuf);

impl Flat {
    fn new(bench: &Bench, name: &str) -> Flat {
        let path = bench.path(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("version"), "Directory Transport Version: 1.1\n").unwrap();
        Flat(path)
    }

    fn blob(&self, media_type: &str, ending: &str, bytes: &[u8]) -> Value {
        let hex = oci::sha256(bytes);
        fs::write(self.0.join(format!("{hex}{ending}")), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    }

    /// The manifest of an image with one layer, which holds a file of this name.
    fn manifest(&self, name: &str, ending: &str) -> Value {
        let layer = LayerBuilder::new().file(name, 0o644, name).finish();
        let config = oci::config(&oci::diff_ids([&layer])).to_string();
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(CONFIG, ending, config.as_bytes()),
            "layers": [self.blob(LAYER, ending, &layer)],
        })
    }

    fn write(&self, document: &Value) {
        fs::write(self.0.join("manifest.json"), document.to_string()).unwrap();
    }
}

fn top(bench: &Bench, image: &str, options: &[&str]) -> Vec<String> {
    let run = bench.unpack_with(image, options);
    bench.names(Path::new(run.lines()[0]))
}

#[test]
fn a_directory_of_skopeos_is_an_image() {
    let bench = Bench::new();
    // Before version 1.1 of the form, files had an ending.
    for (directory, ending) in [("new", ""), ("old", ".tar")] {
        let flat = Flat::new(&bench, directory);
        let manifest = flat.manifest("f", ending);
        flat.write(&manifest);
        let digest = oci::sha256(manifest.to_string());
        for reference in [
            directory.to_string(),
            format!("dir:{directory}"),
            format!("dir:{directory}@sha256:{digest}"),
            format!("./{directory}@sha256:{digest}"),
        ] {
            assert_eq!(top(&bench, &reference, &[]), ["f"], "{reference}");
        }
    }
    assert_eq!(bench.layers_in_store(), 1);
}

#[test]
fn its_blobs_are_verified_like_any_others() {
    let bench = Bench::new();
    let flat = Flat::new(&bench, "flat");
    let manifest = flat.manifest("f", "");
    flat.write(&manifest);
    for descriptor in [&manifest["config"], &manifest["layers"][0]] {
        let hex = descriptor["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "");
        let file = flat.0.join(hex);
        let kept = fs::read(&file).unwrap();
        damage(&file);
        assert_eq!(bench.unpack("dir:flat").status, 3);
        fs::remove_file(&file).unwrap();
        bench.unpack("dir:flat").fails(1, &["lacks"]);
        fs::write(&file, kept).unwrap();
    }
    assert!(!bench.store().exists() || bench.layers_in_store() == 0);
}

#[test]
fn its_manifest_may_be_a_list_for_several_platforms() {
    let bench = Bench::new();
    let flat = Flat::new(&bench, "flat");
    let entry = |name: &str, architecture: &str| {
        let manifest = flat.manifest(name, "").to_string();
        let mut entry = flat.blob(MANIFEST, ".manifest.json", manifest.as_bytes());
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let (arm, s390x) = (entry("arm64", "arm64"), entry("s390x", "s390x"));
    let digest = s390x["digest"].as_str().unwrap().to_string();
    flat.write(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [arm, s390x] }));
    for name in ["arm64", "s390x"] {
        assert_eq!(top(&bench, "dir:flat", &["--platform", name]), [name]);
    }
    assert_eq!(top(&bench, &format!("flat@{digest}"), &[]), ["s390x"]);
}

#[test]
fn what_it_does_not_have_is_an_error() {
    let bench = Bench::new();
    let flat = Flat::new(&bench, "flat");
    flat.write(&flat.manifest("f", ""));
    let run = bench.unpack("dir:flat:v1");
    run.fails(1, &["no name"]);
    assert!(run.hint().contains("leave out"), "{run:?}");
    let nowhere = format!("dir:flat@sha256:{}", "0".repeat(64));
    bench.unpack(&nowhere).fails(1, &["lacks"]);
    bench.write("file", "");
    let run = bench.unpack("dir:file");
    run.fails(3, &["not a directory"]);
    bench.unpack("dir:nowhere").fails(1, &["no such file"]);
}

/// It is a directory, and not what is in an archive.
#[test]
fn an_archive_of_it_is_refused_with_what_to_do() {
    let bench = Bench::new();
    let manifest = json!({ "schemaVersion": 2, "config": {}, "layers": [] }).to_string();
    let archive = LayerBuilder::new().file("manifest.json", 0o644, manifest);
    bench.write("image.tar", archive.finish());
    for reference in ["image.tar", "docker-archive:image.tar"] {
        let run = bench.unpack(reference);
        run.fails(3, &["skopeo's dir:"]);
        assert!(run.hint().contains("dir:DIR"), "{run:?}");
    }
}

#[test]
fn an_archive_of_docker_before_1_10_is_refused_with_what_converts_it() {
    let bench = Bench::new();
    let id = "a".repeat(64);
    let layer = LayerBuilder::new().file("f", 0o644, "").finish();
    let archive = LayerBuilder::new()
        .dir(&id, 0o755)
        .file(format!("{id}/VERSION"), 0o644, "1.0")
        .file(format!("{id}/json"), 0o644, json!({ "id": id }).to_string())
        .file(format!("{id}/layer.tar"), 0o644, layer)
        .file(
            "repositories",
            0o644,
            json!({ "app": { "1": id } }).to_string(),
        );
    bench.write("image.tar", archive.finish());
    for reference in ["image.tar", "docker-archive:image.tar", "image.tar:app:1"] {
        let run = bench.unpack(reference);
        run.fails(3, &["before 1.10", "manifest.json"]);
        assert!(run.hint().contains("docker save"), "{run:?}");
    }
}
