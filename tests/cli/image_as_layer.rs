//! An archive of an image where a layer is wanted, and an image of more layers than one mount has.

use serde_json::json;

use crate::bench::Bench;
use crate::layout::{INDEX, Layout};
use crate::oci;
use crate::tarball::LayerBuilder;

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

/// Archives of an image as programs write them.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let hex = "a".repeat(64);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    let saved = |layer: &str, config: &str| {
        json!([{ "Config": config, "RepoTags": ["a:1"], "Layers": [layer] }]).to_string()
    };
    let with = |files: &[(&str, String)]| {
        let archive = files
            .iter()
            .fold(LayerBuilder::new(), |archive, (name, text)| {
                archive.file(name, 0o644, text)
            });
        archive.finish()
    };
    let blob = format!("blobs/sha256/{hex}");
    let kaniko = format!("sha256:{hex}");
    let (jib, old) = (format!("{hex}.tar.gz"), format!("{hex}/layer.tar"));
    let config = format!("{hex}.json");
    vec![
        ("docker save", oci::docker_archive("a:1", &[layer("f")])),
        (
            "OCI",
            with(&[
                ("oci-layout", "{}".into()),
                (&blob, "x".into()),
                ("index.json", index.clone()),
            ]),
        ),
        (
            "containerd",
            with(&[(&blob, "x".into()), ("manifest.json", saved(&blob, &blob))]),
        ),
        (
            "jib",
            with(&[
                (&jib, "x".into()),
                ("config.json", "{}".into()),
                ("manifest.json", saved(&jib, "config.json")),
            ]),
        ),
        (
            "kaniko",
            with(&[
                (&kaniko, "{}".into()),
                ("manifest.json", saved(&jib, &kaniko)),
            ]),
        ),
        (
            "skopeo",
            with(&[
                (&config, "{}".into()),
                ("manifest.json", saved(&old, &config)),
            ]),
        ),
        (
            "Docker 1.9",
            with(&[(&old, "x".into()), ("repositories", "{}".into())]),
        ),
    ]
}

#[test]
fn an_archive_of_an_image_is_no_layer() {
    let bench = Bench::new();
    let options = ["--userxattr", "--owners=caller", "--sync=none"];
    for (name, archive) in archives() {
        bench.write("image.tar", &archive);
        let gzip = oci::Compression::Gzip.compress(&archive);
        for input in ["image.tar", "-"] {
            let run = ["unpack-layer", input, "dir"];
            let run = bench.run_with_input(&[&run[..], &options].concat(), &gzip);
            run.fails(3, &["an archive of an image, not a layer"]);
            assert!(run.hint().contains("`lowerdir unpack`"), "{name}: {run:?}");
            assert!(!bench.path("dir").exists());
            for form in ["overlay", "oci"] {
                let run = ["translate", input, "out.tar", "--to", form];
                let run = bench.run_with_input(&run, &gzip);
                run.fails(3, &["an archive of an image, not a layer"]);
                assert!(!bench.path("out.tar").exists(), "{name}");
            }
        }
        assert_eq!(bench.names(&bench.path(".")), ["image.tar"], "{name}");
    }
}

/// A digest says that it is what was meant.
#[test]
fn a_layer_with_an_image_in_it_is_taken_by_its_digest() {
    let bench = Bench::new();
    let options = ["--userxattr", "--owners=caller", "--sync=none"];
    for (number, (name, archive)) in archives().into_iter().enumerate() {
        bench.write("layer.tar", &archive);
        let digest = format!("--diff-id=sha256:{}", oci::sha256(&archive));
        let target = format!("dir{number}");
        let run = ["unpack-layer", "layer.tar", &target, &digest];
        let run = bench.run(&[&run[..], &options].concat());
        assert_eq!(run.status, 0, "{name}: {run:?}");
        // And so it is in an image.
        let layout = Layout::new(bench.path(&format!("image{number}")));
        layout.image(&layout.manifest(&[archive]));
        assert_eq!(
            bench.unpack(&format!("image{number}")).lines().len(),
            1,
            "{name}"
        );
    }
}

#[test]
fn a_layer_may_have_files_of_such_names() {
    let bench = Bench::new();
    let hex = "a".repeat(64);
    let layers = [
        LayerBuilder::new()
            .file("manifest.json", 0o644, "[]")
            .file("index.json", 0o644, "{}")
            .file("repositories", 0o644, ""),
        LayerBuilder::new()
            .dir("manifest.json", 0o755)
            .file(format!("{hex}.json"), 0o644, "{}"),
        LayerBuilder::new()
            .file("srv/oci-layout", 0o644, "{}")
            .file("srv/index.json", 0o644, "{}")
            .file(format!("srv/blobs/sha256/{hex}"), 0o644, ""),
    ];
    for (number, layer) in layers.into_iter().enumerate() {
        bench.write("layer.tar", layer.finish());
        let target = format!("dir{number}");
        let run = bench.run(&[
            "unpack-layer",
            "layer.tar",
            &target,
            "--userxattr",
            "--owners=caller",
            "--sync=none",
        ]);
        assert_eq!(run.status, 0, "{run:?}");
    }
}

/// What `unpack` takes, the kernel mounts: that is tried in `integration/`.
#[test]
fn more_layers_than_one_mount_has_are_refused_before_any_is_unpacked() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let layers: Vec<Vec<u8>> = vec![layer("f"); 501];
    layout.image(&layout.manifest(&layers));
    let run = bench.unpack("oci:image");
    run.fails(4, &["501 layers", "500"]);
    assert!(run.hint().contains("lowerdir flatten"), "{run:?}");
    assert_eq!(bench.layers_in_store(), 0);
    // And the hint works.
    let run = bench.run(&["flatten", "oci:image", "oci:flat:v1"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(bench.unpack("oci:flat:v1").lines().len(), 1);
    layout.image(&layout.manifest(&layers[..500]));
    let run = bench.unpack("oci:image");
    assert_eq!(run.lines().len(), 500);
    assert_eq!(bench.stack("oci:image").status, 0);
}

#[test]
fn an_image_of_a_registry_is_no_layer() {
    let bench = Bench::new();
    let run = bench.run(&["unpack-layer", "docker://alpine", "new"]);
    run.fails(2, &["docker://alpine is an image"]);
    assert!(
        run.hint().contains("lowerdir pull docker://alpine oci:"),
        "{run:?}"
    );
}
