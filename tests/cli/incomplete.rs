//! Images that lack a layer, and documents that are no images.

use std::fs;

use serde_json::json;

use crate::bench::Bench;
use crate::layout::{Layout, MANIFEST};
use crate::tarball::LayerBuilder;

const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

#[test]
fn a_missing_layer_is_named_with_its_digest() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let manifest = layout.manifest(&[layer("low"), layer("high")]);
    let digest = manifest["layers"][1]["digest"].as_str().unwrap();
    fs::remove_file(layout.file(&manifest["layers"][1])).unwrap();
    layout.image(&manifest);
    let run = bench.unpack("oci:image");
    run.fails(
        1,
        &["layer 2 (sha256:", digest.trim_start_matches("sha256:")],
    );
    assert!(run.hint().contains("incomplete"), "{run:?}");
    assert_eq!(bench.layers_in_store(), 0);
}

#[test]
fn a_foreign_layer_that_is_missing_is_told_apart() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let mut manifest = layout.manifest(&[layer("f")]);
    fs::remove_file(layout.file(&manifest["layers"][0])).unwrap();
    manifest["layers"][0]["mediaType"] = FOREIGN.into();
    manifest["layers"][0]["urls"] = json!(["https://example.com/layer\u{1b}"]);
    layout.image(&manifest);
    let run = bench.unpack("oci:image");
    run.fails(1, &["layer 1"]);
    assert!(run.hint().contains("foreign"), "{run:?}");
    assert!(run.hint().ends_with("https://example.com/layer\\x1b"));
}

#[test]
fn a_foreign_layer_that_is_there_is_a_layer() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let mut manifest = layout.manifest(&[layer("f")]);
    manifest["layers"][0]["mediaType"] = FOREIGN.into();
    layout.image(&manifest);
    assert_eq!(bench.unpack("oci:image").lines().len(), 1);
}

#[test]
fn an_unpacked_layer_needs_its_blob_no_more() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let manifest = layout.manifest(&[layer("low"), layer("high")]);
    layout.image(&manifest);
    let before = bench.unpack("oci:image").stdout;
    for descriptor in manifest["layers"].as_array().unwrap() {
        fs::remove_file(layout.file(descriptor)).unwrap();
    }
    assert_eq!(
        bench.stack("oci:image").lines()[0],
        before.trim().replace('\n', ":")
    );
    assert_eq!(bench.unpack("oci:image").stdout, before);
}

#[test]
fn an_artifact_is_no_image() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let mut manifest = layout.manifest(&[layer("f")]);
    manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    layout.image(&manifest);
    bench
        .unpack("oci:image")
        .fails(3, &["helm", "not an image"]);
}

#[test]
fn a_manifest_of_schema_1_is_refused_with_the_way_out() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let manifest = json!({ "schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [] });
    layout.index(&[layout.document(MANIFEST, &manifest)]);
    let run = bench.unpack("oci:image");
    run.fails(3, &["schema 1"]);
    assert!(run.hint().contains("skopeo copy"), "{run:?}");
}

#[test]
fn a_layer_may_come_twice_and_history_may_tell_of_more() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let layers = [layer("same"), layer("other"), layer("same")];
    let mut config = crate::oci::config(&crate::oci::diff_ids(&layers));
    config["history"] = json!([
        { "created_by": "ADD" }, { "created_by": "ENV", "empty_layer": true },
        { "created_by": "RUN" }, { "created_by": "RUN" }, { "empty_layer": true }
    ]);
    layout.image(&layout.manifest_with_config(&layers, &config));
    assert_eq!(bench.unpack("oci:image").lines().len(), 3);
    assert_eq!(bench.layers_in_store(), 3);
}
