//! The JSON documents of images are read as Go reads them: members match without case, the last
//! one wins, `null` is nothing. What one verb reads, every verb reads.

use std::path::Path;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::layout::{INDEX, Layout, MANIFEST, named};
use crate::oci;
use crate::tarball::LayerBuilder;

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

fn top(bench: &Bench, image: &str) -> Vec<String> {
    let run = bench.unpack(image);
    bench.names(Path::new(run.lines()[0]))
}

/// A document with the names of its members in another case; maps keep theirs.
fn respelt(value: &Value, spell: fn(&str) -> String) -> Value {
    const MAPS: [&str; 4] = ["annotations", "Labels", "Volumes", "ExposedPorts"];
    match value {
        Value::Array(values) => values.iter().map(|value| respelt(value, spell)).collect(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| match MAPS.contains(&&**name) {
                true => (spell(name), value.clone()),
                false => (spell(name), respelt(value, spell)),
            };
            Value::Object(members.iter().map(member).collect())
        }
        value => value.clone(),
    }
}

const SPELLINGS: [fn(&str) -> String; 3] = [str::to_uppercase, str::to_lowercase, |name| {
    // Go folds by Unicode.
    name.replace('s', "\u{17f}").replace('k', "\u{212a}")
}];

fn config() -> Value {
    let mut config = oci::config(&oci::diff_ids([&layer("f")]));
    config["created"] = "2020-01-02T03:04:05Z".into();
    config["author"] = "Someone".into();
    config["config"] = json!({
        "Cmd": ["/bin/sh"], "Env": ["A=b"], "Labels": { "Created": "kept", "CMD": "kept" },
    });
    config["history"] = json!([{ "created_by": "a step" }, { "empty_layer": true }]);
    config
}

/// Every document in another case, all the way down.
fn layout(bench: &Bench, spell: fn(&str) -> String) {
    let layout = Layout::new(bench.path("image"));
    let manifest = layout.manifest_with_config(&[layer("f")], &respelt(&config(), spell));
    let mut manifest = respelt(&manifest, spell);
    manifest["unknown"] = "stays".into();
    let descriptor = layout.document(MANIFEST, &manifest);
    let nested = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
    let nested = layout.document(INDEX, &respelt(&nested, spell));
    let index = json!({ "schemaVersion": 2, "manifests": [named(nested, "v1")] });
    let index = respelt(&index, spell).to_string();
    bench.write("image/index.json", index);
}

#[test]
fn members_match_without_case_in_a_layout() {
    for spell in SPELLINGS {
        let bench = Bench::new();
        layout(&bench, spell);
        assert_eq!(top(&bench, "oci:image:v1"), ["f"]);
        let told = bench.on_store(&["inspect", "oci:image:v1", "--json"]);
        let told: Value = serde_json::from_str(told.lines()[0]).unwrap();
        assert_eq!(told["config"]["created"], "2020-01-02T03:04:05Z");
        assert_eq!(told["config"]["config"], config()["config"]);
        assert_eq!(told["history"][0]["created_by"], "a step");
        assert_eq!(told["history"][0]["layer"], 1);
        assert_eq!(told["manifest"]["unknown"], "stays");
        assert_eq!(
            told["manifest"]["layers"][0]["mediaType"],
            crate::layout::LAYER
        );
    }
}

/// A bundle runs what an engine would run.
#[test]
fn members_match_without_case_where_an_image_is_run() {
    for spell in SPELLINGS {
        let bench = Bench::new();
        layout(&bench, spell);
        bench.unpack("oci:image:v1").lines();
        let run = bench.on_store(&["bundle", "oci:image:v1", "box"]);
        assert_eq!(run.status, 0, "{run:?}");
        let config = std::fs::read(bench.path("box/config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["process"]["args"], json!(["/bin/sh"]));
        assert_eq!(config["process"]["env"][0], "A=b");
    }
}

/// What is written anew has the specification's names, once.
#[test]
fn a_flattened_image_has_one_spelling() {
    for spell in SPELLINGS {
        let bench = Bench::new();
        layout(&bench, spell);
        let run = bench.run(&["flatten", "oci:image:v1", "oci:flat:v1"]);
        assert_eq!(run.status, 0, "{run:?}");
        let told = bench.on_store(&["inspect", "oci:flat:v1", "--json"]);
        let told: Value = serde_json::from_str(told.lines()[0]).unwrap();
        let names: Vec<&String> = told["config"].as_object().unwrap().keys().collect();
        let folded = names.iter().map(|name| name.to_lowercase());
        let distinct: std::collections::BTreeSet<String> = folded.collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert_eq!(told["config"]["author"], "Someone");
    }
}

/// As older jib writes it.
#[test]
fn a_docker_archive_with_small_letters_is_read() {
    let bench = Bench::new();
    for spell in SPELLINGS {
        let config = respelt(&oci::config(&oci::diff_ids([&layer("f")])), spell).to_string();
        let manifest = json!([{
            "Config": "config.json", "RepoTags": ["app:1"], "Layers": ["layer.tar"],
        }]);
        let archive = LayerBuilder::new()
            .file("layer.tar", 0o644, layer("f"))
            .file("config.json", 0o644, &config)
            .file(
                "manifest.json",
                0o644,
                respelt(&manifest, spell).to_string(),
            );
        bench.write("image.tar", archive.finish());
        assert_eq!(top(&bench, "image.tar:app:1"), ["f"]);
        let told = bench.on_store(&["inspect", "image.tar", "--json"]);
        let told: Value = serde_json::from_str(told.lines()[0]).unwrap();
        let digest = format!("sha256:{}", oci::sha256(&config));
        assert_eq!(
            told["digest"], digest,
            "its image ID is the digest of its config"
        );
        // And by that it is found.
        assert_eq!(top(&bench, &format!("image.tar@{digest}")), ["f"]);
        assert_eq!(top(&bench, &format!("image.tar:app:1@{digest}")), ["f"]);
        assert_eq!(top(&bench, "docker-archive:image.tar:@0"), ["f"]);
        bench.unpack("image.tar:@1").fails(1, &["no image @1"]);
    }
}

/// Programs that edit archives leave the name of the config as it was.
#[test]
fn the_name_of_a_docker_archives_config_promises_nothing() {
    let bench = Bench::new();
    let config = oci::config(&oci::diff_ids([&layer("f")])).to_string();
    let archive = |file: &str| {
        let manifest = json!([{ "Config": file, "Layers": ["layer.tar"] }]).to_string();
        LayerBuilder::new()
            .file("layer.tar", 0o644, layer("f"))
            .file(file, 0o644, &config)
            .file("manifest.json", 0o644, manifest)
            .finish()
    };
    let other = "0".repeat(64);
    bench.write("image.tar", archive(&format!("{other}.json")));
    assert_eq!(top(&bench, "image.tar"), ["f"]);
    bench
        .unpack(&format!("image.tar@sha256:{other}"))
        .fails(1, &["no image is named"]);
    // Where files are kept by digest, the name is one.
    for file in [format!("blobs/sha256/{other}"), format!("sha256:{other}")] {
        bench.write("image.tar", archive(&file));
        bench
            .unpack("image.tar")
            .fails(3, &["the config has the digest", &other]);
    }
}

/// Text, as `json!` has each member once.
fn image_with(bench: &Bench, manifest: impl Fn(&str, &str) -> String) -> String {
    let layout = Layout::new(bench.path("image"));
    let honest = |name: &str| layout.manifest(&[layer(name)]);
    let (one, two) = (honest("one").to_string(), honest("two").to_string());
    let descriptor = layout.blob(MANIFEST, manifest(&one, &two).as_bytes());
    layout.index(&[descriptor]);
    "oci:image".into()
}

/// The members of an object, as text.
fn members(object: &str) -> &str {
    object.trim_start_matches('{').trim_end_matches('}')
}

#[test]
fn of_members_that_match_the_same_field_the_last_one_wins() {
    let bench = Bench::new();
    let upper = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        let spelt = json!({ "CONFIG": value["config"], "Layers": value["layers"] });
        members(&spelt.to_string()).to_string()
    };
    let bodies: [fn(&str, &str, &str) -> String; 2] = [
        |one, _, upper| format!("{{{},{upper}}}", members(one)),
        |one, two, upper| format!("{{{upper},{},{}}}", members(one), members(two)),
    ];
    for body in bodies {
        let image = image_with(&bench, |one, two| body(one, two, &upper(two)));
        assert_eq!(top(&bench, &image), ["two"]);
    }
}

#[test]
fn objects_are_merged_and_null_changes_no_object() {
    let bench = Bench::new();
    let image = image_with(&bench, |one, _| {
        let value: Value = serde_json::from_str(one).unwrap();
        let config = &value["config"];
        let (digest, size) = (&config["digest"], &config["size"]);
        format!(
            "{{{},\"config\":{{\"digest\":{digest}}},\"Config\":{{\"size\":{size}}},\"config\":null}}",
            members(one)
        )
    });
    assert_eq!(top(&bench, &image), ["one"]);
    // A list is gone, and then the config has more layers than the manifest.
    let image = image_with(&bench, |one, _| {
        format!("{{{},\"layers\":null}}", members(one))
    });
    bench.unpack(&image).fails(3, &["0 layers"]);
}

/// Go decodes a list into the elements that an earlier one left; so `skopeo` sees one image here.
#[test]
fn a_list_that_comes_twice_keeps_what_its_elements_have() {
    let bench = Bench::new();
    let image = image_with(&bench, |one, _| {
        let value: Value = serde_json::from_str(one).unwrap();
        let size = &value["layers"][0]["size"];
        format!("{{{},\"layers\":[{{\"SIZE\":{size}}}]}}", members(one))
    });
    assert_eq!(top(&bench, &image), ["one"]);
}

/// An engine appends to the very image that we read.
#[test]
fn a_layer_is_packed_onto_the_image_whatever_its_spelling() {
    for spell in SPELLINGS {
        let bench = Bench::new();
        let layout = Layout::new(bench.path("image"));
        let manifest = layout.manifest_with_config(&[layer("f")], &respelt(&config(), spell));
        let descriptor = layout.document(MANIFEST, &respelt(&manifest, spell));
        let index = json!({ "schemaVersion": 2, "manifests": [named(descriptor, "v1")] });
        bench.write("image/index.json", respelt(&index, spell).to_string());
        std::fs::create_dir(bench.path("upper")).unwrap();
        std::fs::write(bench.path("upper/new"), "").unwrap();
        let options = ["--userxattr", "--base"];
        let append = ["pack", "upper", "--append", "oci:image:v1"];
        let run = bench.run(&[&append[..], &options].concat());
        assert_eq!(run.status, 0, "{run:?}");
        let run = bench.unpack("oci:image:v1");
        assert_eq!(run.lines().len(), 2, "{run:?}");
    }
}
