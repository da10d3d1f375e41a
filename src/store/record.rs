//! What the store remembers of a layer and of an image. The command line's `--json` shows it.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::digest::Digest;
use crate::unpack::{Options, Report};

/// `layer.json`: what a layer directory was made from, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// Of the stack that this layer is the top of.
    pub chain_id: String,
    /// Of the stack below it; `None` for a lowest layer.
    pub parent: Option<String>,
    /// Of the uncompressed archive.
    pub diff_id: String,
    /// Of the blob as it was read.
    pub blob: String,
    /// Of the blob, in bytes.
    pub size: u64,
    /// How it was translated.
    pub options: Options,
    /// Whether it was on disk before it got its name: not so with [`Sync::None`](super::Sync).
    pub synced: bool,
    /// The tree digest: of the lines of `tree.zst`.
    pub tree: String,
    /// What was done.
    pub report: Report,
}

/// An image that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageRecord {
    /// Of its manifest, or of its config where there was none.
    pub digest: Digest,
    /// The names it came with, sorted.
    pub names: Vec<String>,
    /// The chain IDs of its layers, the lowest first.
    pub layers: Vec<Digest>,
    /// How they were translated.
    pub options: Options,
}

/// A record as it is written: with a digest of itself, so that a damaged one is known as one.
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

/// Reads a sealed record. Errors: it is not as it was written.
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
