//! The store's records of layers and images. `--json` shows them.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::digest::Digest;
use crate::unpack::{Options, Report};

/// `layer.json`: what a layer directory was unpacked from, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The chain ID of the stack with this layer on top.
    pub chain_id: String,
    /// The chain ID of the stack below it; `None` for a lowest layer.
    pub parent: Option<String>,
    /// The digest of the uncompressed archive.
    pub diff_id: String,
    /// The digest of the blob.
    pub blob: String,
    /// The size of the blob in bytes.
    pub size: u64,
    /// How it was translated.
    pub options: Options,
    /// Whether it was on disk before it got its name; false with [`Sync::None`](super::Sync).
    pub synced: bool,
    /// The digest of the lines of `tree.zst`.
    pub tree: String,
    /// The report.
    pub report: Report,
}

/// `image.json`: an unpacked image. Its names are in [`Store::names`](super::Store::names), its documents beside
/// the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageRecord {
    /// The digest of its manifest, or of its config if there was none.
    pub digest: Digest,
    /// The platform that it was built for, if it says, as [`Platform`](crate::Platform) shows it.
    pub platform: Option<String>,
    /// When it was built, as its config says (RFC 3339).
    pub created: Option<String>,
    /// The chain IDs of its layers, lowest first.
    pub layers: Vec<Digest>,
    /// How they were translated.
    pub options: Options,
}

/// A record as it is written, with a digest of itself, so that damage is detected.
#[derive(Serialize)]
pub(super) struct Sealed<'a, T> {
    #[serde(flatten)]
    record: &'a T,
    /// The SHA-256 of the other members, as compact JSON, sorted by name.
    seal: Digest,
}

impl<'a, T: Serialize> Sealed<'a, T> {
    pub fn new(record: &'a T) -> serde_json::Result<Sealed<'a, T>> {
        let seal = seal(record)?;
        Ok(Sealed { record, seal })
    }
}

/// Reads a sealed record. Errors: it was changed since it was written.
pub(super) fn unsealed<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    let mut value: Value = serde_json::from_slice(text)?;
    let found = value
        .as_object_mut()
        .and_then(|members| members.remove("seal"));
    match found == Some(seal(&value)?.to_string().into()) {
        true => serde_json::from_value(value),
        false => Err(serde_json::Error::custom("it is not as it was written")),
    }
}

fn seal(record: &impl Serialize) -> serde_json::Result<Digest> {
    Ok(Digest::of(&canonical::compact(record)?))
}
