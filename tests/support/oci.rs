//! Writes images around layer tars: an OCI layout directory, or an archive as `docker save` wrote
//! it before it wrote OCI layouts too.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tarball::LayerBuilder;

/// How a layer's blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::Plain => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Compression::Plain => bytes.to_vec(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect("memory takes it");
                encoder.finish().expect("memory takes it")
            }
            Compression::Zstd => zstd::encode_all(bytes, 1).expect("memory takes it"),
        }
    }
}

/// The SHA-256 of bytes in hex, without `sha256:`.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    let digest = Sha256::digest(bytes.as_ref());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The diff ID of each layer tar, `sha256:...`, the bottommost first.
pub fn diff_ids<'a>(layers: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<String> {
    let digest = |layer: &Vec<u8>| format!("sha256:{}", sha256(layer));
    layers.into_iter().map(digest).collect()
}

/// The chain ID of each layer, `sha256:...`, the bottommost first.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for diff_id in diff_ids {
        chains.push(match chains.last() {
            Some(below) => format!("sha256:{}", sha256(format!("{below} {diff_id}"))),
            None => diff_id.clone(),
        });
    }
    chains
}

/// Writes an OCI layout of one image, named `tag`, into `directory`, which is made; the layers are
/// uncompressed tars, the bottommost first. Returns the digest of the manifest.
pub fn write_layout(directory: &Path, tag: &str, layers: &[(Vec<u8>, Compression)]) -> String {
    fs::create_dir_all(directory.join("blobs/sha256")).expect("a directory for blobs");
    let blob = |media_type: &str, bytes: &[u8]| {
        let hex = sha256(bytes);
        fs::write(directory.join("blobs/sha256").join(&hex), bytes).expect("a blob");
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    };
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|(tar, compression)| blob(compression.media_type(), &compression.compress(tar)))
        .collect();
    let config = config(&diff_ids(layers.iter().map(|(tar, _)| tar)));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &bytes(&config)),
        "layers": descriptors,
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let mut descriptor = blob(media_type, &bytes(&manifest));
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor],
    });
    let version = json!({ "imageLayoutVersion": "1.0.0" });
    for (name, value) in [("index.json", &index), ("oci-layout", &version)] {
        fs::write(directory.join(name), bytes(value)).expect("a file of the layout");
    }
    let digest = &index["manifests"][0]["digest"];
    digest.as_str().expect("a digest").to_owned()
}

/// An archive as `docker save NAME` wrote it: a directory for each layer, and `manifest.json`.
pub fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids = diff_ids(layers);
    let config = bytes(&config(&diff_ids));
    let config_name = format!("{}.json", sha256(&config));
    let mut archive = LayerBuilder::new();
    let mut names = Vec::new();
    let mut written: Vec<String> = Vec::new();
    for (layer, chain) in layers.iter().zip(chain_ids(&diff_ids)) {
        let id = chain.replace("sha256:", "");
        names.push(format!("{id}/layer.tar"));
        archive = archive
            .dir(&id, 0o755)
            .file(format!("{id}/VERSION"), 0o644, "1.0")
            .file(
                format!("{id}/json"),
                0o644,
                bytes(&json!({ "id": id, "parent": written.last() })),
            )
            .file(format!("{id}/layer.tar"), 0o644, layer);
        written.push(id);
    }
    let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]);
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let top = written.last();
    archive
        .file(&config_name, 0o644, &config)
        .file("manifest.json", 0o644, bytes(&manifest))
        .file(
            "repositories",
            0o644,
            bytes(&json!({ repository: { tag: top } })),
        )
        .finish()
}

/// An image configuration for the machine that the test runs on.
pub fn config(diff_ids: &[String]) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON of strings and numbers")
}
