//! Images whose documents are bad, or say something else of a good layer.

use std::fs;

use serde_json::{Value, json};

use super::inputs::{Input, base};
use crate::layout::{CONFIG, INDEX, Layout, MANIFEST, damage};
use crate::oci;

pub fn inputs() -> Vec<Input> {
    let mut inputs = of_the_layer();
    inputs.extend(configs());
    inputs.extend(manifests());
    inputs.extend(layouts());
    inputs
}

fn of_the_layer() -> Vec<Input> {
    vec![
        Input::image("another digest", 3, &["digest"], |_, _| {}).after(|layout, manifest| {
            // In the content of the file: the archive is as good as before.
            let path = layout.file(&manifest["layers"][1]);
            let mut bytes = fs::read(&path).expect("a blob");
            bytes[1200] ^= 1;
            fs::write(path, bytes).expect("a blob");
        }),
        Input::image("a blob that is cut", 3, &[], |_, _| {}).after(|layout, manifest| {
            let path = layout.file(&manifest["layers"][1]);
            let bytes = fs::read(&path).expect("a blob");
            fs::write(path, &bytes[..1500]).expect("a blob");
        }),
        Input::image("a blob that is longer", 3, &[], |_, _| {}).after(|layout, manifest| {
            let path = layout.file(&manifest["layers"][1]);
            let bytes = fs::read(&path).expect("a blob");
            fs::write(path, [bytes, vec![0; 512]].concat()).expect("a blob");
        }),
        Input::image("another size", 3, &["size"], |_, manifest| {
            manifest["layers"][1]["size"] = 77.into();
        }),
        Input::image("another diff ID", 3, &["diff ID"], |layout, manifest| {
            let other = format!("sha256:{}", oci::sha256("something else"));
            let diff_ids = [oci::diff_ids([&base()]), vec![other]].concat();
            manifest["config"] = layout.document(CONFIG, &oci::config(&diff_ids));
        }),
        Input::image("a blob that is not there", 1, &["lacks"], |_, _| {}).after(
            |layout, manifest| {
                fs::remove_file(layout.file(&manifest["layers"][1])).expect("a blob");
            },
        ),
        Input::document(
            "a blob that is a directory",
            3,
            &["regular file"],
            |_, _| {},
        )
        .after(|layout, manifest| {
            let path = layout.file(&manifest["layers"][1]);
            fs::remove_file(&path).expect("a blob");
            fs::create_dir(path).expect("a directory");
        }),
    ]
}

fn configs() -> Vec<Input> {
    let config = |name, words, change| Input::document(name, 3, words, change);
    vec![
        config("another config", &["config", "digest"], |_, _| {})
            .after(|layout, manifest| damage(&layout.file(&manifest["config"]))),
        config("a config of another size", &["config"], |_, manifest| {
            manifest["config"]["size"] = 1.into();
        }),
        config(
            "a config that is no JSON",
            &["config"],
            |layout, manifest| {
                manifest["config"] = layout.blob(CONFIG, b"{");
            },
        ),
        config(
            "too few diff IDs",
            &["2 layers", "diff IDs"],
            |layout, manifest| {
                let config = oci::config(&oci::diff_ids([&base()]));
                manifest["config"] = layout.document(CONFIG, &config);
            },
        ),
        config(
            "a diff ID that is a path",
            &["layer 1"],
            |layout, manifest| {
                let path = "sha256:../../../../x".to_owned();
                let config = oci::config(&[path.clone(), path]);
                manifest["config"] = layout.document(CONFIG, &config);
            },
        ),
        config("a config without rootfs", &[], |layout, manifest| {
            let config = json!({ "architecture": "amd64", "os": "linux" });
            manifest["config"] = layout.document(CONFIG, &config);
        }),
        config("no config", &["config"], |_, manifest| {
            manifest
                .as_object_mut()
                .expect("an object")
                .remove("config");
        }),
    ]
}

fn manifests() -> Vec<Input> {
    let manifest = |name, words, change| Input::document(name, 3, words, change);
    vec![
        manifest("a digest that is a path", &["layer 2"], |_, manifest| {
            manifest["layers"][1]["digest"] = "sha256:../../../canary".into();
        }),
        manifest(
            "a digest of an unknown kind",
            &["layer 2"],
            |_, manifest| {
                manifest["layers"][1]["digest"] = "md5:d41d8cd98f00b204e9800998ecf8427e".into();
            },
        ),
        manifest("a negative size", &["layer 2"], |_, manifest| {
            manifest["layers"][1]["size"] = (-1).into();
        }),
        manifest("a size in quotes", &[], |_, manifest| {
            manifest["layers"][1]["size"] = "7".into();
        }),
        manifest("manifests beside layers", &["both"], |_, manifest| {
            let descriptor = manifest["config"].clone();
            manifest["manifests"] = json!([descriptor]);
        }),
        manifest("another manifest", &["manifest", "digest"], |_, _| {}).after(
            |layout, manifest| {
                damage(&layout.file(&layout.document(MANIFEST, manifest)));
            },
        ),
        manifest("a manifest of another size", &["manifest"], |_, _| {}).after(
            |layout, manifest| {
                let mut descriptor = layout.document(MANIFEST, manifest);
                descriptor["size"] = 7.into();
                layout.index(&[descriptor]);
            },
        ),
        manifest("a manifest that is no JSON", &["manifest"], |_, _| {}).after(|layout, _| {
            layout.index(&[layout.blob(MANIFEST, b"{")]);
        }),
        manifest("a manifest of schema 1", &[], |_, _| {}).after(|layout, _| {
            let old = json!({ "schemaVersion": 1, "fsLayers": [], "history": [] });
            let media_type = "application/vnd.docker.distribution.manifest.v1+json";
            layout.index(&[layout.document(media_type, &old)]);
        }),
    ]
}

/// Indexes in indexes, this many.
fn nested(layout: &Layout, manifest: &Value, depth: usize) {
    let mut descriptor = layout.document(MANIFEST, manifest);
    for _ in 0..depth {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
        descriptor = layout.document(INDEX, &index);
    }
    layout.index(&[descriptor]);
}

fn layouts() -> Vec<Input> {
    let layout =
        |name, status, words, after| Input::document(name, status, words, |_, _| {}).after(after);
    vec![
        layout(
            "an index that is no JSON",
            3,
            &["index.json"],
            |layout, _| {
                layout.write("index.json", b"[");
            },
        ),
        layout(
            "an index without manifests",
            1,
            &["no image"],
            |layout, _| layout.index(&[]),
        ),
        layout("no index", 3, &["index.json"], |layout, _| {
            layout.remove("index.json")
        }),
        layout(
            "indexes in indexes in indexes",
            3,
            &[],
            |layout, manifest| {
                nested(layout, manifest, 40);
            },
        ),
    ]
}
