//! OCI layouts whose documents a test changes before they are written.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::oci;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub struct Layout {
    path: PathBuf,
}

impl Layout {
    pub fn new(path: PathBuf) -> Layout {
        fs::create_dir_all(path.join("blobs/sha256")).expect("a directory for blobs");
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
        Layout { path }
    }

    /// Stores a blob, and returns its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let hex = oci::sha256(bytes);
        fs::write(self.path.join("blobs/sha256").join(&hex), bytes).expect("a blob");
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    }

    pub fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, &serde_json::to_vec(document).expect("JSON"))
    }

    pub fn index(&self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        fs::write(self.path.join("index.json"), index.to_string()).expect("a file");
    }

    /// The manifest of an image with these layers, its config and its blobs stored.
    pub fn manifest(&self, layers: &[Vec<u8>]) -> Value {
        let config = oci::config(&oci::diff_ids(layers));
        self.manifest_with_config(layers, &config)
    }

    pub fn manifest_with_config(&self, layers: &[Vec<u8>], config: &Value) -> Value {
        let layers: Vec<Value> = layers.iter().map(|tar| self.blob(LAYER, tar)).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(CONFIG, config),
            "layers": layers,
        })
    }

    /// Makes this manifest the only one.
    pub fn image(&self, manifest: &Value) {
        self.index(&[self.document(MANIFEST, manifest)]);
    }

    /// Writes a file of the layout.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path.join(name), bytes).expect("a file");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path.join(name)).expect("a file");
    }

    /// The file of a blob.
    pub fn file(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().expect("a digest");
        self.path
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }
}

/// Changes one byte in the middle of a file.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a file");
}

/// The same manifest under a name, or for a platform, or both.
pub fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    descriptor
}

pub fn on(mut descriptor: Value, os: &str, architecture: &str, variant: Option<&str>) -> Value {
    descriptor["platform"] = json!({ "os": os, "architecture": architecture });
    if let Some(variant) = variant {
        descriptor["platform"]["variant"] = variant.into();
    }
    descriptor
}
