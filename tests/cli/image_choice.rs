//! Which image is meant: by name, by digest, by platform, in a bare content store.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::{INDEX, Layout, MANIFEST, named, on};
use crate::oci;
use crate::tarball::LayerBuilder;

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

/// The descriptor of an image with one layer, which holds a file of this name.
fn image(layout: &Layout, name: &str) -> Value {
    layout.document(MANIFEST, &layout.manifest(&[layer(name)]))
}

/// The names in the root of the image's topmost layer.
fn top(bench: &Bench, run: &Run) -> Vec<String> {
    bench.names(Path::new(run.lines()[0]))
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

#[test]
fn a_digest_chooses_a_manifest_or_an_index() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let (one, two) = (image(&layout, "one"), image(&layout, "two"));
    let inner = json!({ "schemaVersion": 2, "manifests": [two] });
    let index = layout.document(INDEX, &inner);
    layout.index(&[named(one.clone(), "a"), named(index.clone(), "b")]);
    for (descriptor, name) in [(&one, "one"), (&two, "two"), (&index, "two")] {
        let run = bench.unpack(&format!("oci:image@{}", digest(descriptor)));
        assert_eq!(top(&bench, &run), [name]);
    }
    let nowhere = format!("oci:image@sha256:{}", "0".repeat(64));
    bench.unpack(&nowhere).fails(1, &["lacks", &"0".repeat(64)]);
    bench.unpack("oci:image@sha256:12").fails(2, &["sha256:12"]);
}

#[test]
fn a_content_store_is_a_place_for_images_too() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("content"));
    let descriptor = image(&layout, "f");
    // containerd keeps no more than the blobs.
    for file in ["index.json", "oci-layout"] {
        let _ = fs::remove_file(bench.path("content").join(file));
    }
    for directory in ["content", "content/blobs"] {
        let blobs = format!("--blobs={directory}");
        let run = bench.unpack_with(digest(&descriptor), &[&blobs]);
        assert_eq!(top(&bench, &run), ["f"]);
        let name = format!("example.com/image:1@{}", digest(&descriptor));
        assert_eq!(top(&bench, &bench.unpack_with(&name, &[&blobs])), ["f"]);
    }
    let run = bench.unpack_with("image:1", &["--blobs=content"]);
    run.fails(2, &["image:1"]);
    assert!(run.hint().contains("digest"), "{run:?}");
    let run = bench.unpack_with(digest(&descriptor), &["--blobs=nowhere"]);
    run.fails(1, &["nowhere", "no such file"]);
}

#[test]
fn a_misspelt_name_is_answered_with_the_closest() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let descriptors = ["latest", "edge", "3.20"].map(|name| named(image(&layout, name), name));
    layout.index(&descriptors);
    let run = bench.unpack("oci:image:lates");
    run.fails(1, &["no image is named lates"]);
    assert_eq!(
        run.hint(),
        "did you mean latest? There are: 3.20, edge, latest"
    );
    let run = bench.unpack("oci:image:nothing-like-it");
    assert_eq!(run.hint(), "there are: 3.20, edge, latest");
}

#[test]
fn several_images_are_listed_and_those_without_a_name_by_digest() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let unnamed = image(&layout, "unnamed");
    layout.index(&[named(image(&layout, "a"), "a"), unnamed.clone()]);
    let run = bench.unpack("oci:image");
    run.fails(1, &["several images"]);
    let at = format!("@{}", digest(&unnamed));
    assert!(run.hint().ends_with(&format!(": {at}, a")), "{run:?}");
    assert_eq!(
        top(&bench, &bench.unpack(&format!("oci:image{at}"))),
        ["unnamed"]
    );
}

#[test]
fn one_image_listed_twice_is_one_image() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let descriptor = image(&layout, "f");
    layout.index(&[named(descriptor.clone(), "a"), named(descriptor, "b")]);
    assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"]);
}

#[test]
fn dockers_short_names_stand_for_its_long_ones() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let with_name = |name: &str, long: &str| {
        let mut descriptor = image(&layout, name);
        descriptor["annotations"] = json!({ "io.containerd.image.name": long });
        descriptor
    };
    layout.index(&[
        with_name("alpine", "docker.io/library/alpine:latest"),
        with_name("user", "docker.io/user/app:1"),
        with_name("port", "example.com:5000/app:latest"),
    ]);
    for (name, file) in [
        ("alpine", "alpine"),
        ("alpine:latest", "alpine"),
        ("docker.io/library/alpine", "alpine"),
        ("user/app:1", "user"),
        ("example.com:5000/app", "port"),
    ] {
        let run = bench.unpack(&format!("oci:image:{name}"));
        assert_eq!(top(&bench, &run), [file], "{name}");
    }
    for name in ["user/app", "app:1", "example.com/app"] {
        let run = bench.unpack(&format!("oci:image:{name}"));
        run.fails(1, &[name]);
    }
}

#[test]
fn the_newest_variant_that_the_platform_runs_is_chosen() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let platform = |name: &str, architecture: &str, variant: Option<&str>| {
        on(image(&layout, name), "linux", architecture, variant)
    };
    layout.index(&[
        platform("v5", "arm", Some("v5")),
        platform("v6", "arm", Some("v6")),
        platform("arm64", "arm64", Some("v8")),
        platform("amd64", "amd64", None),
        platform("amd64v3", "amd64", Some("v3")),
    ]);
    for (wanted, name) in [
        ("linux/arm", "v6"),
        ("linux/arm/v7", "v6"),
        ("linux/armhf", "v6"),
        ("linux/arm/5", "v5"),
        ("linux/arm64", "arm64"),
        ("linux/aarch64", "arm64"),
        ("linux/x86_64", "amd64"),
        ("linux/amd64/v2", "amd64"),
        ("linux/amd64/v4", "amd64v3"),
    ] {
        let run = bench.unpack_with("oci:image", &["--platform", wanted]);
        assert_eq!(top(&bench, &run), [name], "{wanted}");
    }
    let run = bench.unpack_with("oci:image", &["--platform=linux/arm/v4"]);
    run.fails(1, &["no image for linux/arm/v4"]);
    let words = run.hint().split([' ', ',']);
    let listed: Vec<&str> = words.filter(|word| word.starts_with("linux/")).collect();
    let all = [
        "linux/amd64",
        "linux/amd64/v3",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm64/v8",
    ];
    assert_eq!(listed, all, "{run:?}");
    assert_eq!(run.hint().matches("(sha256:").count(), all.len(), "{run:?}");
}

#[test]
fn an_only_image_of_another_platform_is_refused_when_one_is_asked_for() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let layers = [layer("f")];
    let mut config = oci::config(&oci::diff_ids(&layers));
    config["architecture"] = "s390x".into();
    layout.image(&layout.manifest_with_config(&layers, &config));
    assert_eq!(top(&bench, &bench.unpack("oci:image")), ["f"]);
    let run = bench.unpack_with("oci:image", &["--platform=linux/s390x"]);
    assert_eq!(top(&bench, &run), ["f"]);
    let run = bench.unpack_with("oci:image", &["--platform=linux/amd64"]);
    run.fails(1, &["no image for linux/amd64"]);
    assert!(run.hint().contains("linux/s390x"), "{run:?}");
}

#[test]
fn an_architecture_or_a_system_may_stand_alone() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let host = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return,
    };
    layout.index(&[
        on(image(&layout, "host"), "linux", host, None),
        on(image(&layout, "s390x"), "linux", "s390x", None),
        on(image(&layout, "windows"), "windows", host, None),
    ]);
    for (platform, name) in [
        ("s390x", "s390x"),
        (std::env::consts::ARCH, "host"),
        ("linux", "host"),
        ("windows", "windows"),
    ] {
        let run = bench.unpack_with("oci:image", &["--platform", platform]);
        assert_eq!(top(&bench, &run), [name], "{platform}");
    }
}

#[test]
fn a_platform_that_makes_no_sense_is_a_usage_error() {
    let bench = Bench::new();
    for platform in [
        "planet",
        "linux/",
        "/amd64",
        "linux/arm/v7/x",
        "linux(+/amd64",
    ] {
        let run = bench.unpack_with("oci:image", &["--platform", platform]);
        assert_eq!(run.status, 2, "{run:?}");
    }
}
