//! The images that are read: layouts and archives, old and new, plain and compressed, and which
//! of several images is meant.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::layout::{INDEX, Layout, MANIFEST, named, on};
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

fn layer(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

/// The names in the root of the image's topmost layer.
fn top(bench: &Bench, image: &str, options: &[&str]) -> Vec<String> {
    let run = bench.unpack_with(image, options);
    bench.names(Path::new(run.lines()[0]))
}

/// A tar archive of a directory's files.
fn archive_of(directory: &Path) -> Vec<u8> {
    let mut archive = LayerBuilder::new();
    let mut todo = vec![directory.to_path_buf()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
            archive = archive.file(name, 0o644, fs::read(&path).unwrap());
        }
    }
    archive.finish()
}

#[test]
fn the_layer_directories_are_printed_topmost_first() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer("low"), layer("middle"), layer("high")]));
    let run = bench.unpack("oci:image");
    let names = run.lines().into_iter().map(|path| {
        assert!(path.starts_with('/') && path.ends_with("/fs"), "{path}");
        bench.names(Path::new(path))
    });
    let names: Vec<_> = names.collect();
    assert_eq!(names, [["high"], ["middle"], ["low"]]);
}

#[test]
fn layer_directories_are_named_by_chain_id() {
    let bench = Bench::new();
    let layers = [layer("a"), layer("b")];
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers));
    bench.unpack("oci:image").lines();
    let mut chain = oci::chain_ids(&oci::diff_ids(&layers));
    chain
        .iter_mut()
        .for_each(|id| *id = id.replace("sha256:", ""));
    chain.sort();
    assert_eq!(bench.names(&bench.store().join("layers/sha256")), chain);
}

#[test]
fn the_same_layer_twice_is_two_directories() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer("a"), layer("a")]));
    let run = bench.unpack("oci:image");
    let lines = run.lines();
    assert_eq!(lines.len(), 2);
    assert_ne!(lines[0], lines[1]);
}

fn two_images(bench: &Bench) -> Layout {
    let layout = Layout::new(bench.path("image"));
    let descriptor = |name| {
        let manifest = layout.manifest(&[layer(name)]);
        named(layout.document(MANIFEST, &manifest), name)
    };
    layout.index(&[descriptor("first"), descriptor("second")]);
    layout
}

#[test]
fn two_images_without_a_tag_are_an_error_that_lists_the_tags() {
    let bench = Bench::new();
    two_images(&bench);
    let run = bench.unpack("oci:image");
    run.fails(1, &["several images"]);
    assert!(run.hint().contains("first, second"), "{run:?}");
}

#[test]
fn a_tag_chooses_one_of_two_images() {
    let bench = Bench::new();
    two_images(&bench);
    assert_eq!(top(&bench, "oci:image:first", &[]), ["first"]);
    assert_eq!(top(&bench, "oci:image:second", &[]), ["second"]);
    assert_eq!(top(&bench, "image:second", &[]), ["second"]);
}

#[test]
fn an_unknown_tag_is_an_error_that_lists_the_tags() {
    let bench = Bench::new();
    two_images(&bench);
    let run = bench.unpack("oci:image:third");
    run.fails(1, &["third"]);
    assert!(run.hint().contains("first, second"), "{run:?}");
    assert!(!bench.store().exists());
}

#[test]
fn a_path_may_hold_colons() {
    let bench = Bench::new();
    two_images(&bench);
    fs::rename(bench.path("image"), bench.path("image:with:colons")).unwrap();
    let image = "oci:image:with:colons:first";
    assert_eq!(top(&bench, image, &[]), ["first"]);
}

/// An index in the index, as registries give it, with what BuildKit puts beside the images.
fn many_platforms(bench: &Bench) {
    let layout = Layout::new(bench.path("image"));
    let descriptor = |name, os, architecture, variant| {
        let manifest = layout.manifest(&[layer(name)]);
        on(
            layout.document(MANIFEST, &manifest),
            os,
            architecture,
            variant,
        )
    };
    let mut attestation = descriptor("attestation", "unknown", "unknown", None);
    attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let nested = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            descriptor("amd64", "linux", "amd64", None),
            descriptor("v6", "linux", "arm", Some("v6")),
            descriptor("v7", "linux", "arm", Some("v7")),
            descriptor("windows", "windows", "amd64", None),
            descriptor("arm64", "linux", "arm64", Some("v8")),
            attestation,
        ],
    });
    layout.index(&[named(layout.document(INDEX, &nested), "latest")]);
}

#[test]
fn platform_chooses_in_a_nested_index() {
    let bench = Bench::new();
    many_platforms(&bench);
    for (platform, name) in [
        ("linux/amd64", "amd64"),
        ("linux/arm/v6", "v6"),
        ("linux/arm/v7", "v7"),
        ("windows/amd64", "windows"),
        ("linux/arm64", "arm64"),
    ] {
        let image = "oci:image:latest";
        assert_eq!(top(&bench, image, &["--platform", platform]), [name]);
    }
}

#[test]
fn without_platform_the_machines_own_is_chosen() {
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => return,
    };
    let bench = Bench::new();
    many_platforms(&bench);
    assert_eq!(top(&bench, "oci:image", &[]), [own]);
}

#[test]
fn an_unknown_platform_is_an_error_that_lists_the_others() {
    let bench = Bench::new();
    many_platforms(&bench);
    let run = bench.unpack_with("oci:image", &["--platform", "linux/s390x"]);
    run.fails(1, &["linux/s390x"]);
    assert!(run.hint().contains("linux/amd64") && run.hint().contains("--platform"));
    assert!(!run.hint().contains("unknown"), "{}", run.hint());
}

#[test]
fn indexes_that_are_nested_without_end_are_refused() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let manifest = layout.manifest(&[layer("f")]);
    let mut descriptor = layout.document(MANIFEST, &manifest);
    for _ in 0..20 {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
        descriptor = layout.document(INDEX, &index);
    }
    layout.index(&[descriptor]);
    bench.unpack("oci:image").fails(3, &["nested"]);
}

#[test]
fn an_image_without_layers_has_no_directories() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[]));
    assert!(bench.unpack("oci:image").lines().is_empty());
    assert_eq!(bench.layers_in_store(), 0);
}

#[test]
fn media_types_do_not_matter_the_bytes_do() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let tars = [layer("a"), layer("b")];
    let mut manifest = layout.manifest(&tars);
    let gzip = Compression::Gzip.compress(&tars[0]);
    manifest["layers"][0] = layout.blob(Compression::Zstd.media_type(), &gzip);
    let zstd = Compression::Zstd.compress(&tars[1]);
    manifest["layers"][1] = layout.blob("", &zstd);
    layout.image(&manifest);
    assert_eq!(bench.unpack("oci:image").lines().len(), 2);
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The same image gives the same store, however its archive is packed.
fn is_read_in_every_packing(bench: &Bench, transport: &str, archive: &[u8]) {
    let packings: [(&str, Vec<u8>); 4] = [
        ("plain", archive.to_vec()),
        ("gzip", Compression::Gzip.compress(archive)),
        ("zstd", Compression::Zstd.compress(archive)),
        ("xz", xz(archive)),
    ];
    for (name, bytes) in packings {
        bench.write(name, &bytes);
        assert_eq!(top(bench, name, &[]), ["high"], "{name}");
        let explicit = format!("{transport}:{name}");
        assert_eq!(top(bench, &explicit, &[]), ["high"], "{explicit}");
        let store = bench.store().to_str().unwrap();
        let arguments = ["--store", store, "unpack", "-", "--userxattr"];
        let arguments = [&arguments[..], &["--owners=caller", "--sync=none"]].concat();
        let run = bench.run_with_input(&arguments, &bytes);
        assert_eq!(run.lines().len(), 2, "{name} through a pipe");
    }
    assert_eq!(bench.layers_in_store(), 2);
}

#[test]
fn oci_archives_are_read_in_every_packing() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer("low"), layer("high")]));
    let archive = archive_of(&bench.path("image"));
    is_read_in_every_packing(&bench, "oci-archive", &archive);
}

#[test]
fn docker_archives_are_read_in_every_packing() {
    let bench = Bench::new();
    let archive = oci::docker_archive("name:tag", &[layer("low"), layer("high")]);
    is_read_in_every_packing(&bench, "docker-archive", &archive);
}

/// One image of a docker archive: its name, and its layers with their files.
struct Saved<'a>(&'a str, &'a [(&'a str, &'a Vec<u8>)]);

/// A docker archive of these images, whose layers are among the files.
fn saved(files: LayerBuilder, images: &[Saved]) -> Vec<u8> {
    let mut archive = files;
    let mut manifest: Vec<Value> = Vec::new();
    for Saved(name, layers) in images {
        let diff_ids = oci::diff_ids(layers.iter().map(|(_, tar)| *tar));
        let layers: Vec<&str> = layers.iter().map(|(file, _)| *file).collect();
        let config = oci::config(&diff_ids).to_string();
        let file = format!("{}.json", oci::sha256(&config));
        archive = archive.file(&file, 0o644, config);
        manifest.push(json!({ "Config": file, "RepoTags": [name], "Layers": layers }));
    }
    let manifest = Value::from(manifest).to_string();
    archive.file("manifest.json", 0o644, manifest).finish()
}

/// As Docker wrote it up to version 24, where an equal layer is a link to the first.
#[test]
fn a_layer_tar_that_is_a_symlink_in_an_old_docker_archive_is_followed() {
    let tar = layer("same");
    let files = LayerBuilder::new()
        .dir("one", 0o755)
        .symlink("two/layer.tar", "../one/layer.tar")
        .file("one/layer.tar", 0o644, &tar);
    let layers = [("one/layer.tar", &tar), ("two/layer.tar", &tar)];
    let bench = Bench::new();
    let archive = saved(files, &[Saved("name:tag", &layers)]);
    bench.write("image.tar", archive);
    assert_eq!(bench.unpack("docker-archive:image.tar").lines().len(), 2);
    assert_eq!(bench.layers_in_store(), 2);
}

#[test]
fn a_layer_tar_that_is_a_hard_link_is_followed_too() {
    let tar = layer("same");
    let files = LayerBuilder::new()
        .file("one/layer.tar", 0o644, &tar)
        .hardlink("two/layer.tar", "one/layer.tar");
    let layers = [("one/layer.tar", &tar), ("two/layer.tar", &tar)];
    let bench = Bench::new();
    let archive = saved(files, &[Saved("name:tag", &layers)]);
    bench.write("image.tar", archive);
    assert_eq!(bench.unpack("image.tar").lines().len(), 2);
}

#[test]
fn a_link_out_of_a_docker_archive_is_not_followed() {
    let bench = Bench::new();
    let tar = layer("outside");
    let outside = bench.write("outside.tar", &tar);
    for target in [outside.to_str().unwrap(), "../../outside.tar", "loop.tar"] {
        let files = LayerBuilder::new().symlink("loop.tar", target);
        let archive = saved(files, &[Saved("name:tag", &[("loop.tar", &tar)])]);
        bench.write("image.tar", archive);
        bench.unpack("image.tar").fails(1, &["loop.tar"]);
    }
    assert_eq!(bench.layers_in_store(), 0);
}

#[test]
fn a_name_chooses_one_of_two_images_of_a_docker_archive() {
    let (one, two) = (layer("one"), layer("two"));
    let files =
        LayerBuilder::new()
            .file("1/layer.tar", 0o644, &one)
            .file("2/layer.tar", 0o644, &two);
    let archive = saved(
        files,
        &[
            Saved("example.com:5000/one:latest", &[("1/layer.tar", &one)]),
            Saved("two:3", &[("2/layer.tar", &two)]),
        ],
    );
    let bench = Bench::new();
    bench.write("image.tar", archive);
    let run = bench.unpack("docker-archive:image.tar");
    run.fails(1, &["several images"]);
    assert!(run.hint().contains("example.com:5000/one:latest, two:3"));
    bench
        .unpack("docker-archive:image.tar:two")
        .fails(1, &["two"]);
    let named = "docker-archive:image.tar:example.com:5000/one";
    assert_eq!(top(&bench, named, &[]), ["one"]);
    assert_eq!(top(&bench, "image.tar:two:3", &[]), ["two"]);
}

#[test]
fn an_archive_that_is_cut_off_is_refused() {
    let bench = Bench::new();
    let archive = oci::docker_archive("name:tag", &[layer("low"), layer("high")]);
    bench.write("image.tar", &archive[..archive.len() / 2 / 512 * 512 + 100]);
    let run = bench.unpack("image.tar");
    assert_eq!(run.status, 3, "{run:?}");
    assert!(!bench.store().exists());
}

#[test]
fn a_wrong_transport_is_an_error_that_names_the_right_one() {
    let bench = Bench::new();
    two_images(&bench);
    bench.write("image.tar", archive_of(&bench.path("image")));
    let run = bench.unpack("oci-archive:image");
    run.fails(3, &["directory"]);
    assert!(run.hint().contains("oci:DIR"));
    let run = bench.unpack("oci:image.tar");
    run.fails(3, &["not a directory"]);
    assert!(run.hint().contains("oci-archive:FILE"));
}
