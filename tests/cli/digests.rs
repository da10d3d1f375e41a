//! Whatever an image says of its parts is checked, and of what is not as it says nothing is left.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::layout::{CONFIG, Layout, MANIFEST, damage};
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

fn layers() -> Vec<Vec<u8>> {
    let one = LayerBuilder::new().dir("d", 0o555).file("d/f", 0o644, "1");
    let two = LayerBuilder::new().file("g", 0o644, "2".repeat(5000));
    vec![one.finish(), two.finish()]
}

/// An image of two layers whose manifest was changed, and which must be refused.
fn refused(words: &[&str], change: impl FnOnce(&Layout, &mut Value)) -> Bench {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let mut manifest = layout.manifest(&layers());
    change(&layout, &mut manifest);
    layout.image(&manifest);
    bench.unpack("oci:image").fails(3, words);
    if bench.store().exists() {
        assert!(bench.names(&bench.store().join("images")).is_empty());
        assert!(bench.layers_in_store() <= 1);
    }
    bench
}

#[test]
fn a_good_image_is_taken() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers()));
    assert_eq!(bench.unpack("oci:image").lines().len(), 2);
    assert_eq!(bench.layers_in_store(), 2);
}

#[test]
fn a_blob_of_another_digest_is_refused() {
    let bench = refused(&["layer 2 (", "blob's digest"], |layout, manifest| {
        let path = layout.file(&manifest["layers"][1]);
        let mut bytes = fs::read(&path).unwrap();
        // In the data of the file: the archive is as good as before.
        bytes[600] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert!(bench.unpack("oci:image").hint().contains("fetch"));
}

/// Bytes after the end of the archive belong to the blob.
#[test]
fn a_change_after_the_end_of_the_archive_is_found() {
    refused(&["layer 1 (", "blob's digest"], |layout, manifest| {
        let path = layout.file(&manifest["layers"][0]);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() = 1;
        fs::write(path, bytes).unwrap();
    });
}

#[test]
fn a_blob_of_another_size_is_refused() {
    for by in [-512, 512] {
        refused(&["layer 1 (", "size"], |_, manifest| {
            let size = &mut manifest["layers"][0]["size"];
            *size = (size.as_i64().unwrap() + by).into();
        });
    }
}

#[test]
fn a_blob_that_is_cut_off_is_refused() {
    refused(&["layer 2 ("], |layout, manifest| {
        let path = layout.file(&manifest["layers"][1]);
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..2000]).unwrap();
    });
}

#[test]
fn a_negative_size_is_refused() {
    refused(&["layer 1 (", "negative size"], |_, manifest| {
        manifest["layers"][0]["size"] = (-1).into();
    });
    refused(&["negative size"], |_, manifest| {
        manifest["config"]["size"] = (-1).into();
    });
}

#[test]
fn another_diff_id_is_refused() {
    let right = oci::diff_ids(&layers());
    let wrong = format!("sha256:{}", oci::sha256("something else"));
    refused(&["layer 2 (", "diff ID", &wrong], |layout, manifest| {
        let config = oci::config(&[right[0].clone(), wrong.clone()]);
        manifest["config"] = layout.document(CONFIG, &config);
    });
}

#[test]
fn a_diff_id_that_is_no_digest_is_refused() {
    for bad in [
        "",
        "sha256:../../..",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        refused(&["layer 1 ("], |layout, manifest| {
            let config = oci::config(&[bad.into(), bad.into()]);
            manifest["config"] = layout.document(CONFIG, &config);
        });
    }
}

#[test]
fn a_layer_digest_that_would_lead_out_of_the_layout_is_refused() {
    refused(&["layer 1 ("], |_, manifest| {
        manifest["layers"][0]["digest"] = "sha256:../../../canary".into();
    });
}

#[test]
fn layers_and_diff_ids_of_unequal_number_are_refused() {
    let right = oci::diff_ids(&layers());
    for diff_ids in [&right[..1], &[&right[..], &right[..]].concat()] {
        refused(&["2 layers", "diff IDs"], |layout, manifest| {
            let config = oci::config(diff_ids);
            manifest["config"] = layout.document(CONFIG, &config);
        });
    }
}

/// One document that is read in two ways (CVE-2021-41190).
#[test]
fn manifests_beside_layers_are_refused() {
    refused(&["both"], |layout, manifest| {
        let other = layout.document(MANIFEST, &layout.manifest(&layers()[..1]));
        manifest["manifests"] = json!([other]);
    });
}

#[test]
fn a_manifest_without_a_config_is_refused() {
    refused(&["config"], |_, manifest| {
        manifest.as_object_mut().unwrap().remove("config");
    });
}

#[test]
fn a_config_of_another_digest_is_refused() {
    refused(&["the config", "digest"], |layout, manifest| {
        damage(&layout.file(&manifest["config"]));
    });
}

#[test]
fn a_config_of_another_size_is_refused() {
    refused(&["the config", "bytes"], |_, manifest| {
        manifest["config"]["size"] = 1.into();
    });
}

#[test]
fn a_manifest_of_another_digest_or_size_is_refused() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let mut descriptor = layout.document(MANIFEST, &layout.manifest(&layers()));
    descriptor["size"] = 7.into();
    layout.index(&[descriptor.clone()]);
    bench
        .unpack("oci:image")
        .fails(3, &["the manifest", "bytes"]);

    let length = fs::metadata(layout.file(&descriptor)).unwrap().len();
    descriptor["size"] = length.into();
    layout.index(&[descriptor.clone()]);
    damage(&layout.file(&descriptor));
    bench
        .unpack("oci:image")
        .fails(3, &["the manifest", "digest"]);
    assert!(!bench.store().exists());
}

#[test]
fn documents_that_are_no_json_are_refused() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.index(&[layout.blob(MANIFEST, b"{")]);
    bench.unpack("oci:image").fails(3, &["the manifest"]);
    bench.write("image/index.json", "[]");
    bench.unpack("oci:image").fails(3, &["index.json"]);
}

#[test]
fn a_layer_that_is_missing_is_named_with_a_hint() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let manifest = layout.manifest(&layers());
    layout.image(&manifest);
    fs::remove_file(layout.file(&manifest["layers"][1])).unwrap();
    let run = bench.unpack("oci:image");
    run.fails(1, &["layer 2 (sha256:", "lacks"]);
    assert!(run.hint().contains("incomplete"));
}

/// Whoever makes a layout decides what its files are: a pipe must not stop us for ever.
#[test]
fn a_blob_that_is_no_regular_file_is_refused() {
    let make: [fn(&Path); 3] = [
        |path| {
            let fifo = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).unwrap();
        },
        |path| fs::create_dir(path).unwrap(),
        |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
    ];
    for make in make {
        for part in ["config", "layers"] {
            refused(&["no regular file"], |layout, manifest| {
                let descriptor = match part {
                    "layers" => &manifest["layers"][1],
                    _ => &manifest["config"],
                };
                let file = layout.file(descriptor);
                fs::remove_file(&file).unwrap();
                make(&file);
            });
        }
    }
}

#[test]
fn an_image_whose_size_is_no_size_is_refused() {
    for size in [
        json!(1.5),
        json!("7"),
        json!(null),
        json!(u64::MAX),
        json!(-1),
    ] {
        refused(&[], |_, manifest| {
            manifest["layers"][1]["size"] = size;
        });
    }
}

#[test]
fn a_docker_archive_with_layers_and_diff_ids_of_unequal_number_is_refused() {
    let layers = layers();
    let diff_ids = oci::diff_ids(&layers);
    for wrong in [&diff_ids[..1], &[&diff_ids[..], &diff_ids[..1]].concat()] {
        let bench = Bench::new();
        let config = serde_json::to_vec(&oci::config(wrong)).unwrap();
        let manifest = json!([{ "Config": "c.json", "RepoTags": null, "Layers": ["1", "2"] }]);
        let archive = LayerBuilder::new()
            .file("1", 0o644, &layers[0])
            .file("2", 0o644, &layers[1])
            .file("c.json", 0o644, config)
            .file("manifest.json", 0o644, manifest.to_string())
            .finish();
        bench.write("image.tar", archive);
        bench
            .unpack("image.tar")
            .fails(3, &["manifest.json has 2 layers", "diff IDs"]);
        assert!(!bench.store().exists());
    }
}

/// A layer's chain ID becomes a path: what is no digest never does.
#[test]
fn a_docker_archive_whose_diff_id_is_no_digest_is_refused() {
    for bad in ["sha256:../../../../x", "sha256:", "../x", "sha1:da39a3ee"] {
        let bench = Bench::new();
        let config = serde_json::to_vec(&oci::config(&[bad.into()])).unwrap();
        let manifest = json!([{ "Config": "c.json", "Layers": ["1"] }]);
        let archive = LayerBuilder::new()
            .file("1", 0o644, &layers()[0])
            .file("c.json", 0o644, config)
            .file("manifest.json", 0o644, manifest.to_string())
            .finish();
        bench.write("image.tar", archive);
        bench.unpack("image.tar").fails(3, &["layer 1: digest"]);
    }
}

fn is_refused_as_a_blob(bytes: &[u8]) {
    let bench = Bench::new();
    bench.write("blob", bytes);
    let run = bench.run(&["unpack-layer", "blob", "d", "--owners=caller"]);
    run.fails(3, &["layer blob: "]);
    assert_eq!(bench.names("".as_ref()), ["blob"]);
}

fn hard_to_compress() -> Vec<u8> {
    let content: Vec<u8> = (0..50_000_u32).map(|n| ((n * n) >> 7) as u8).collect();
    LayerBuilder::new().file("f", 0o644, content).finish()
}

/// Gzip has a checksum of its own, so it is found without a digest.
#[test]
fn damage_inside_a_gzip_stream_is_refused() {
    let tar = hard_to_compress();
    let mut blob = Compression::Gzip.compress(&tar);
    let middle = blob.len() / 2;
    blob[middle] ^= 1;
    is_refused_as_a_blob(&blob);
}

#[test]
fn a_compressed_stream_that_is_cut_off_is_refused() {
    let tar = hard_to_compress();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let blob = compression.compress(&tar);
        is_refused_as_a_blob(&blob[..blob.len() / 2]);
        // The archive is whole, the stream around it is not.
        is_refused_as_a_blob(&blob[..blob.len() - 1]);
    }
}

#[test]
fn rubbish_after_a_gzip_stream_is_refused() {
    let tar = LayerBuilder::new().file("f", 0o644, "x").finish();
    is_refused_as_a_blob(&[Compression::Gzip.compress(&tar), b"rubbish".to_vec()].concat());
}

#[test]
fn a_docker_archive_with_another_diff_id_is_refused() {
    let bench = Bench::new();
    let mut archive = oci::docker_archive("name:tag", &layers());
    let content = b"2".repeat(5000);
    let at = archive
        .windows(content.len())
        .position(|window| window == content);
    archive[at.unwrap()] = b'3';
    bench.write("image.tar", archive);
    bench
        .unpack("docker-archive:image.tar")
        .fails(3, &["layer 2 (", "diff ID"]);
    assert!(bench.layers_in_store() <= 1);
}
