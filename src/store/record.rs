//! What the store remembers of a layer and of an image. The command line's `--json` shows it.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::unpack::{Options, Report};

/// `layer.json`: what a layer directory was made from, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The tree digest: of the lines of `tree.zst` (see [`crate::listing`]).
    pub tree: String,
    /// What was done.
    pub report: Report,
}

/// An image that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A record as it is written: with the SHA-256 of itself, so that a damaged one is known as one.
#[derive(Serialize, Deserialize)]
pub(super) struct Sealed<T> {
    #[serde(flatten)]
    record: T,
    /// Of the record as compact JSON.
    seal: Digest,
}

impl<T: Serialize> Sealed<T> {
    pub fn new(record: T) -> serde_json::Result<Sealed<T>> {
        let seal = Digest::of(&serde_json::to_vec(&record)?);
        Ok(Sealed { record, seal })
    }

    /// The record; `None` if it is not what was sealed.
    pub fn open(self) -> Option<T> {
        let whole = Sealed::new(&self.record).ok()?;
        (whole.seal == self.seal).then_some(self.record)
    }
}
