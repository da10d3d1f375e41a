//! The documents of images, and the members of them that are read. `null` means an empty list, as Go
//! writes it, and members are matched as Go matches them ([`super::members`]).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::{Blob, Source};
use super::members::{self, Field, Shape, Unknown};
use super::platform::Platform;

/// The longest excerpt of an error about a document, in characters.
const REASON_MAX: usize = 300;

/// image-spec `descriptor.md`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub media_type: String,
    /// The type of an artifact; for an image it is absent, or the media type of its config.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub artifact_type: String,
    pub digest: String,
    pub size: i64,
    /// Where to fetch a layer that the image need not carry.
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
    #[serde(default, rename = "os.version", deserialize_with = "null_is_empty")]
    pub os_version: String,
    #[serde(default, rename = "os.features", deserialize_with = "null_is_empty")]
    pub os_features: Vec<String>,
}

/// An index or a manifest, depending on its members.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    pub schema_version: Option<u64>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub media_type: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub artifact_type: String,
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

/// Reads a member that Go programs write as `null` if it is absent.
pub fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Parses a document of this shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str, shape: &'static Shape) -> Result<T> {
    members::read(bytes, shape, Unknown::Drop)
        .and_then(serde_json::from_value)
        .map_err(|error| unreadable(what, &error))
}

/// Parses all of a manifest or an index, to show or change it. Known members get the names of the
/// specification.
pub fn manifest_value(bytes: &[u8], what: &str) -> Result<Value> {
    let read = members::read(bytes, &MANIFEST, Unknown::Keep);
    read.map_err(|error| unreadable(what, &error))
}

/// The same for a config.
pub fn config_value(bytes: &[u8]) -> Result<Value> {
    let read = members::read(bytes, &CONFIG, Unknown::Keep);
    read.map_err(|error| unreadable("the config", &error))
}

/// The error for an invalid document. The reason may quote all 4 MiB of it, so it is cut.
fn unreadable(what: &str, error: &serde_json::Error) -> Error {
    let reason = error.to_string();
    let reason = match reason.char_indices().nth(REASON_MAX) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    };
    Error::refused(format!("{what} cannot be read: {reason}"))
}

const fn plain(name: &'static str) -> Field {
    (name, &Shape::Plain)
}

/// image-spec `descriptor.md` and the entries of `image-index.md`.
const DESCRIPTOR: &Shape = &Shape::Structure(&[
    plain("mediaType"),
    plain("artifactType"),
    plain("digest"),
    plain("size"),
    plain("urls"),
    plain("annotations"),
    plain("data"),
    ("platform", PLATFORM),
]);

const PLATFORM: &Shape = &Shape::Structure(&[
    plain("os"),
    plain("architecture"),
    plain("variant"),
    plain("os.version"),
    plain("os.features"),
]);

/// A manifest or an index, in image-spec's form or Docker's.
pub static MANIFEST: Shape = Shape::Structure(&[
    plain("schemaVersion"),
    plain("mediaType"),
    plain("artifactType"),
    ("manifests", DESCRIPTOR),
    ("config", DESCRIPTOR),
    ("layers", DESCRIPTOR),
    ("subject", DESCRIPTOR),
    plain("annotations"),
]);

/// image-spec `config.md`.
pub static CONFIG: Shape = Shape::Structure(&[
    plain("created"),
    plain("author"),
    plain("os"),
    plain("architecture"),
    plain("variant"),
    plain("os.version"),
    plain("os.features"),
    ("config", PARAMETERS),
    (
        "rootfs",
        &Shape::Structure(&[plain("type"), plain("diff_ids")]),
    ),
    ("history", STEP),
]);

const STEP: &Shape = &Shape::Structure(&[
    plain("created"),
    plain("created_by"),
    plain("author"),
    plain("comment"),
    plain("empty_layer"),
]);

const PARAMETERS: &Shape = &Shape::Structure(&[
    plain("User"),
    plain("ExposedPorts"),
    plain("Env"),
    plain("Entrypoint"),
    plain("Cmd"),
    plain("Volumes"),
    plain("WorkingDir"),
    plain("Labels"),
    plain("StopSignal"),
    plain("ArgsEscaped"),
    plain("Healthcheck"),
    plain("Shell"),
]);

/// The `manifest.json` of a Docker archive.
pub static SAVED: Shape = Shape::Structure(&[plain("Config"), plain("RepoTags"), plain("Layers")]);

impl PlatformFields {
    /// The platform, if any field is set.
    pub fn platform(&self) -> Option<Platform> {
        let parts = (&*self.os, &*self.architecture);
        let platform = || {
            Platform::new(parts.0, parts.1, &self.variant)
                .with_os(&self.os_version, &self.os_features)
        };
        (parts != ("", "")).then(platform)
    }
}

impl Descriptor {
    /// A descriptor for a document of which only digest and size are known.
    pub fn of(digest: &Digest, size: i64) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            artifact_type: String::new(),
            digest: digest.to_string(),
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// The digest and the size, both checked for their form.
    pub fn digest_and_size(&self) -> Result<(Digest, u64)> {
        let digest = Digest::parse(&self.digest)?;
        let size = u64::try_from(self.size)
            .map_err(|_| Error::refused(format!("{digest} has the negative size {}", self.size)))?;
        Ok((digest, size))
    }

    /// Reads the document, and checks its size and digest.
    pub fn fetch(&self, source: &Source, what: &str) -> Result<Vec<u8>> {
        let (digest, _) = self.digest_and_size()?;
        self.read(&source.blob(&digest)?, what)
    }

    /// The same for a config, which is no manifest.
    pub fn fetch_config(&self, source: &Source) -> Result<Vec<u8>> {
        let (digest, size) = self.digest_and_size()?;
        self.read(&source.content(&digest, size)?, "the config")
    }

    fn read(&self, blob: &Blob, what: &str) -> Result<Vec<u8>> {
        let (digest, size) = self.digest_and_size()?;
        let bytes = blob.document(what)?;
        if bytes.len() as u64 != size {
            let is = bytes.len();
            let text = format!("{what} {digest} has {is} bytes, its descriptor says {size}");
            return Err(Error::mismatch(text));
        }
        check(&digest, &bytes, what)?;
        Ok(bytes)
    }
}

/// Checks a document against its digest.
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
