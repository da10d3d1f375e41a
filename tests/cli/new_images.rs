//! What `pack --append` and `flatten` say of a new image: its history and its platform.

use std::fs;

use serde_json::{Value, json};
use sha2::Digest;

use crate::bench::Bench;
use crate::layout::{Layout, MANIFEST, named, on};
use crate::oci;
use crate::tarball::LayerBuilder;

fn layers(count: usize) -> Vec<Vec<u8>> {
    let layer = |number| LayerBuilder::new().file(format!("{number}"), 0o644, "");
    (0..count).map(|number| layer(number).finish()).collect()
}

/// A layout with an image `1` whose config has these members, and the descriptor of the image in
/// the index.
fn image(bench: &Bench, layers: &[Vec<u8>], members: Value) -> (Layout, Value) {
    let layout = Layout::new(bench.path("layout"));
    let mut config = oci::config(&oci::diff_ids(layers));
    for (name, value) in members.as_object().unwrap() {
        config[name] = value.clone();
    }
    let manifest = layout.manifest_with_config(layers, &config);
    let descriptor = named(layout.document(MANIFEST, &manifest), "1");
    layout.index(std::slice::from_ref(&descriptor));
    (layout, descriptor)
}

fn document(bench: &Bench, layout: &str, descriptor: &Value) -> Value {
    let hex = descriptor["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let bytes = fs::read(bench.path(layout).join("blobs/sha256").join(hex)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The descriptor of the image with this name, and its config.
fn made(bench: &Bench, layout: &str, name: &str) -> (Value, Value) {
    let index = fs::read(bench.path(layout).join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let is_named = |image: &&Value| {
        image["annotations"]["org.opencontainers.image.ref.name"].as_str() == Some(name)
    };
    let found = index["manifests"].as_array().unwrap().iter().find(is_named);
    let descriptor = found.unwrap().clone();
    let config = document(
        bench,
        layout,
        &document(bench, layout, &descriptor)["config"],
    );
    (descriptor, config)
}

fn append(bench: &Bench) -> Value {
    fs::create_dir(bench.path("upper")).unwrap();
    bench.write("upper/new", "");
    let words = [
        "pack",
        "upper",
        "--userxattr",
        "--append",
        "oci:layout:1",
        "--tag=2",
    ];
    bench
        .run(&[&words[..], &["--clamp-mtime=7"]].concat())
        .lines();
    made(bench, "layout", "2").1
}

/// Docker 25 and umoci crash on an entry without a time; skopeo wants one entry for each layer.
#[test]
fn every_layer_has_a_step_with_a_time_in_the_history() {
    let time = "2020-02-02T02:02:02.5+02:00";
    let epoch = "1970-01-01T00:00:00Z";
    let known = json!({ "created": "2001-01-01T00:00:00Z", "created_by": "known" });
    let empty = json!({ "created": "2001-01-01T00:00:00Z", "empty_layer": true });
    let unknown = |created: &str| {
        json!({
            "created": created, "created_by": "unknown",
            "comment": "the image says nothing of this layer",
        })
    };
    let cases = [
        (json!({}), vec![unknown(epoch), unknown(epoch)]),
        (
            json!({ "history": null, "created": time }),
            vec![unknown(time), unknown(time)],
        ),
        (
            json!({ "history": [], "created": "yesterday" }),
            vec![unknown(epoch), unknown(epoch)],
        ),
        (
            json!({ "history": [known, empty], "created": time }),
            vec![known.clone(), empty.clone(), unknown(time)],
        ),
        (
            json!({ "history": [{}, known], "created": time }),
            vec![json!({ "created": time }), known.clone()],
        ),
        (
            json!({ "history": [{ "created": null, "created_by": "x" }, known] }),
            vec![
                json!({ "created": epoch, "created_by": "x" }),
                known.clone(),
            ],
        ),
    ];
    for (members, mut expected) in cases {
        let bench = Bench::new();
        image(&bench, &layers(2), members);
        expected.push(json!({ "created": "1970-01-01T00:00:07Z", "created_by": "lowerdir pack" }));
        let config = append(&bench);
        assert_eq!(config["history"], Value::from(expected));
        assert_eq!(config["created"], "1970-01-01T00:00:07Z");
    }
}

#[test]
fn a_history_that_is_none_is_refused() {
    for history in [json!([1]), json!([null]), json!({}), json!("x")] {
        let bench = Bench::new();
        image(&bench, &layers(1), json!({ "history": history }));
        fs::create_dir(bench.path("upper")).unwrap();
        let run = bench.run(&["pack", "upper", "--userxattr", "--append", "oci:layout:1"]);
        run.fails(3, &["history"]);
    }
}

#[test]
fn a_new_image_runs_on_what_the_old_one_ran_on() {
    let platform = json!({
        "os": "linux", "architecture": "arm", "variant": "v6",
        "os.version": "1.2", "os.features": ["f"],
    });
    let bench = Bench::new();
    image(&bench, &layers(2), platform.clone());
    bench
        .run(&["flatten", "oci:layout:1", "oci:flat:1"])
        .lines();
    let (descriptor, config) = made(&bench, "flat", "1");
    assert_eq!(descriptor["platform"], platform);
    for (name, value) in platform.as_object().unwrap() {
        assert_eq!(config[name], *value);
    }
    assert_eq!(append(&bench)["variant"], "v6");
}

/// Some builders say it in the index alone.
#[test]
fn so_it_does_where_only_the_index_says_so() {
    let bench = Bench::new();
    let members = json!({ "os": "linux", "architecture": "arm" });
    let (layout, descriptor) = image(&bench, &layers(1), members);
    layout.index(&[on(descriptor, "linux", "arm", Some("v5"))]);
    bench
        .run(&["flatten", "oci:layout:1", "oci:flat:1"])
        .lines();
    let (descriptor, config) = made(&bench, "flat", "1");
    assert_eq!(descriptor["platform"]["variant"], "v5");
    assert_eq!(config["variant"], "v5");
    append(&bench);
    let (descriptor, _) = made(&bench, "layout", "2");
    assert_eq!(descriptor["platform"]["variant"], "v5");
}

#[test]
fn so_it_does_with_what_is_needed_of_the_system() {
    let bench = Bench::new();
    let members = json!({ "os": "linux", "architecture": "amd64" });
    let (layout, descriptor) = image(&bench, &layers(1), members);
    let mut entry = on(descriptor, "linux", "amd64", None);
    entry["platform"]["os.version"] = "1.2".into();
    entry["platform"]["os.features"] = json!(["f"]);
    layout.index(&[entry]);
    let platform = "--platform=linux(1.2+f)/amd64";
    bench
        .run(&["flatten", "oci:layout:1", "oci:flat:1", platform])
        .lines();
    let (descriptor, config) = made(&bench, "flat", "1");
    for made in [&descriptor["platform"], &config] {
        assert_eq!(made["os.version"], "1.2");
        assert_eq!(made["os.features"], json!(["f"]));
    }
}

#[test]
fn what_is_no_file_in_a_layout_is_no_blob() {
    let bench = Bench::new();
    image(&bench, &layers(1), json!({}));
    let pull = ["pull", "oci:layout:1", "oci:to:1"];
    bench.run(&pull).done().unwrap();
    let layer = Layout::new(bench.path("layout")).manifest(&layers(1));
    let digest = layer["layers"][0]["digest"].as_str().unwrap().to_string();
    let blob = bench.path("to/blobs/sha256").join(&digest[7..]);
    fs::remove_file(&blob).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(&blob).status();
    assert!(fifo.unwrap().success());
    bench.run(&pull).fails(1, &["is no regular file"]);
}

/// Also a digest that is no SHA-256, and the variant that only the index has.
#[test]
fn a_copy_is_the_image_with_all_of_its_digests() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("from"));
    let mut manifest = layout.manifest(&layers(2));
    let path = layout.file(&manifest["config"]);
    let config = fs::read(&path).unwrap();
    let digest = sha2::Sha512::digest(&config);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(bench.path("from/blobs/sha512")).unwrap();
    fs::rename(path, bench.path("from/blobs/sha512").join(&hex)).unwrap();
    manifest["config"]["digest"] = json!(format!("sha512:{hex}"));
    let descriptor = layout.document(MANIFEST, &manifest);
    layout.index(&[on(named(descriptor, "1"), "linux", "amd64", Some("v3"))]);
    for tag in ["1", "other"] {
        bench
            .run(&["pull", "oci:from:1", &format!("oci:to:{tag}")])
            .done()
            .unwrap();
    }
    let [old, new] = ["from", "to"].map(|layout| {
        let index = fs::read(bench.path(layout).join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        index["manifests"][0].clone()
    });
    for member in ["digest", "size", "mediaType"] {
        assert_eq!(old[member], new[member], "{member}");
    }
    assert_eq!(new["platform"]["variant"], "v3");
    assert_eq!(
        bench.run(&["diff", "oci:from:1", "oci:to:other"]).stdout,
        ""
    );
    let pushed = bench.run(&["pull", "oci:from:1", "docker://example.org/x"]);
    pushed.fails(2, &["name oci:DIR:TAG"]);
    assert!(pushed.hint().contains("skopeo copy"));
}
