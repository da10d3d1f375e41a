//! The documents of images, as far as they are read. `null` stands for an empty list wherever
//! writers of Go programs leave one.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::Source;
use super::platform::Platform;

/// image-spec `descriptor.md`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    /// Where a layer is that the image need not carry.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub urls: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
    pub platform: Option<PlatformFields>,
}

/// image-spec `image-index.md`, "platform"; a config has the same.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PlatformFields {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub os: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub variant: String,
}

/// An index or a manifest: which of the two, its members tell.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    pub schema_version: Option<u64>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    pub config: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
}

/// image-spec `config.md`.
#[derive(Debug, Deserialize)]
pub struct Config {
    #[serde(flatten)]
    pub platform: PlatformFields,
    pub rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
pub struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<String>,
}

/// One image in the `manifest.json` of a Docker archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    pub config: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<String>,
}

/// Reads a member that writers of Go programs leave `null` for what is absent.
pub fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a document.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::refused(format!("{what} cannot be read: {error}")))
}

impl PlatformFields {
    /// What they say, unless they say nothing.
    pub fn platform(&self) -> Option<Platform> {
        let parts = (&*self.os, &*self.architecture);
        (parts != ("", "")).then(|| Platform::new(parts.0, parts.1, &self.variant))
    }
}

impl Descriptor {
    /// Of a document of which no more is known.
    pub fn of(digest: &Digest, size: i64) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest: digest.to_string(),
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// The digest, checked for its form, and the size.
    pub fn promise(&self) -> Result<(Digest, u64)> {
        let digest = Digest::parse(&self.digest)?;
        let size = u64::try_from(self.size)
            .map_err(|_| Error::refused(format!("{digest} has the negative size {}", self.size)))?;
        Ok((digest, size))
    }

    /// The document that this describes: exactly the bytes that were checked.
    pub fn fetch(&self, source: &Source, what: &str) -> Result<Vec<u8>> {
        let (digest, size) = self.promise()?;
        let bytes = source.blob(&digest)?.document(what)?;
        if bytes.len() as u64 != size {
            let is = bytes.len();
            let text = format!("{what} {digest} has {is} bytes, its descriptor says {size}");
            return Err(Error::mismatch(text));
        }
        check(&digest, &bytes, what)?;
        Ok(bytes)
    }
}

/// Whether a document is the one that a digest names.
pub fn check(digest: &Digest, bytes: &[u8], what: &str) -> Result<()> {
    let mut hasher = crate::digest::Hasher::new(digest.algorithm());
    hasher.update(bytes);
    let is = hasher.finish();
    match is == *digest {
        true => Ok(()),
        false => Err(Error::mismatch(format!(
            "{what} has the digest {is}, not {digest}"
        ))),
    }
}
