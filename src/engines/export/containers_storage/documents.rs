//! The manifest and config of an image, as "big data" in containers/storage.

use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::canonical;
use crate::digest::Digest;
use crate::error::Result;
use crate::image::{Image, config_value, manifest_value};
use crate::store::{Record, StoredLayer};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// The documents of an image.
pub struct Documents {
    /// The digits of the config's digest.
    pub id: String,
    /// The digest of the manifest.
    pub digest: Digest,
    /// When the image was created, in a form that Go parses.
    pub created: String,
    pub all: Vec<Document>,
}

/// A piece of big data.
pub struct Document {
    pub key: String,
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

impl Documents {
    /// Errors: the manifest's config has no digest.
    pub fn of(image: &Image, layers: &[StoredLayer]) -> Result<Documents> {
        let config = image.documents.config.clone();
        let (manifest, digest, config_digest) = match &image.documents.manifest {
            Some(manifest) => {
                let parsed = manifest_value(manifest, "the manifest")?;
                let told = parsed["config"]["digest"].as_str().unwrap_or_default();
                (manifest.clone(), image.digest.clone(), Digest::parse(told)?)
            }
            None => {
                let config_digest = Digest::of(&config);
                let manifest = made_up(&config, &config_digest, layers);
                let digest = Digest::of(&manifest);
                (manifest, digest, config_digest)
            }
        };
        let document = |key: String, digest: &Digest, bytes: &[u8]| Document {
            key,
            digest: digest.clone(),
            bytes: bytes.into(),
        };
        Ok(Documents {
            id: config_digest.hex().into(),
            created: created(&config),
            all: vec![
                // Newer readers look it up by digest, older ones as `manifest`.
                document("manifest".into(), &digest, &manifest),
                document(format!("manifest-{digest}"), &digest, &manifest),
                document(config_digest.to_string(), &config_digest, &config),
            ],
            digest,
        })
    }
}

impl Document {
    /// The name of its file: the key, in base64 if it has anything but dots, digits and small letters.
    pub fn file_name(&self) -> String {
        let is_plain =
            |byte: u8| byte == b'.' || byte.is_ascii_digit() || byte.is_ascii_lowercase();
        match self.key.bytes().all(is_plain) {
            true => self.key.clone(),
            false => format!("={}", STANDARD.encode(&self.key)),
        }
    }
}

/// The size of a layer's archive in bytes; if it was compressed, the total size of its files.
pub fn plain_size(record: &Record) -> u64 {
    match record.blob == record.diff_id {
        true => record.size,
        false => record.report.bytes,
    }
}

/// Generates a manifest for an image from a Docker archive, with uncompressed layers.
fn made_up(config: &[u8], digest: &Digest, layers: &[StoredLayer]) -> Vec<u8> {
    let layers = layers.iter().map(|layer| {
        json!({
            "mediaType": DOCKER_LAYER,
            "size": plain_size(&layer.record),
            "digest": layer.record.diff_id,
        })
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": { "mediaType": DOCKER_CONFIG, "size": config.len(), "digest": digest },
        "layers": layers.collect::<Vec<_>>(),
    });
    canonical::compact(&manifest).expect("it was JSON")
}

/// The time of creation, or the epoch if it is invalid: readers would fail on every image in the list.
fn created(config: &[u8]) -> String {
    let config = config_value(config).unwrap_or_default();
    let text = config["created"].as_str().unwrap_or_default();
    let time = humantime::parse_rfc3339(text).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339(time).to_string()
}
