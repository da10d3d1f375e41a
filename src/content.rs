//! `Content`: a digest of the content of a file, to detect changes.
//!
//! [`crate::unpack`] computes it from the bytes that it writes, and [`crate::store::verify`] from those
//! that it reads back; `tree.zst` in the store has it for every file. Pure.
//!
//! It is BLAKE3, which costs a fraction of SHA-256; the layer as a whole has its SHA-256 diff ID. A sparse
//! file may have any size, so only its blocks with data count.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};

/// The block size of sparse files; a block counts if it has a byte that is not zero.
const BLOCK: usize = 4096;
const WHOLE: &str = "blake3:";
const BLOCKS: &str = "blake3-blocks:";

/// A digest of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The digest of its bytes, as from `b3sum`.
    Whole([u8; 32]),
    /// The digest of the blocks of 4096 bytes that are not all zero, each preceded by its offset (64 bits,
    /// little endian); the last one is padded with zeros.
    Blocks([u8; 32]),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (form, digest) = match self {
            Content::Whole(digest) => (WHOLE, digest),
            Content::Blocks(digest) => (BLOCKS, digest),
        };
        write!(f, "{form}{}", blake3::Hash::from_bytes(*digest).to_hex())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = |hex: &str| blake3::Hash::from_hex(hex).map(blake3::Hash::into);
        match (text.strip_prefix(WHOLE), text.strip_prefix(BLOCKS)) {
            (Some(hex), _) => digest(hex).map(Content::Whole).map_err(D::Error::custom),
            (_, Some(hex)) => digest(hex).map(Content::Blocks).map_err(D::Error::custom),
            _ => Err(D::Error::custom("an unknown digest of a file's content")),
        }
    }
}

/// Computes a [`Content`].
pub enum ContentHasher {
    /// For a file that is written from its first byte to its last.
    Whole(Box<blake3::Hasher>),
    /// For a file with holes.
    Blocks(Blocks),
}

/// The state of [`ContentHasher::Blocks`].
pub struct Blocks {
    hasher: Box<blake3::Hasher>,
    /// The current block, and its number.
    block: Box<[u8]>,
    number: u64,
}

impl ContentHasher {
    /// For a file whose every byte will be added.
    pub fn whole() -> ContentHasher {
        ContentHasher::Whole(Box::default())
    }

    /// For a file of which only the data will be added, not the holes.
    pub fn blocks() -> ContentHasher {
        ContentHasher::Blocks(Blocks {
            hasher: Box::default(),
            block: vec![0; BLOCK].into(),
            number: 0,
        })
    }

    /// Adds data at an offset, which never decreases.
    pub fn update(&mut self, offset: u64, data: &[u8]) {
        match self {
            ContentHasher::Whole(hasher) => {
                hasher.update(data);
            }
            ContentHasher::Blocks(blocks) => blocks.update(offset, data),
        }
    }

    /// The digest of all data. Starts the next file.
    pub fn finish(&mut self) -> Content {
        match self {
            ContentHasher::Whole(hasher) => Content::Whole(finish(hasher)),
            ContentHasher::Blocks(blocks) => {
                blocks.flush();
                blocks.number = 0;
                Content::Blocks(finish(&mut blocks.hasher))
            }
        }
    }
}

fn finish(hasher: &mut blake3::Hasher) -> [u8; 32] {
    let digest = hasher.finalize().into();
    hasher.reset();
    digest
}

impl Blocks {
    fn update(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let number = offset / BLOCK as u64;
            if number != self.number {
                self.flush();
                self.number = number;
            }
            let start = (offset % BLOCK as u64) as usize;
            let count = data.len().min(BLOCK - start);
            self.block[start..start + count].copy_from_slice(&data[..count]);
            (offset, data) = (offset + count as u64, &data[count..]);
        }
    }

    fn flush(&mut self) {
        if self.block.iter().any(|&byte| byte != 0) {
            let offset = self.number * BLOCK as u64;
            self.hasher.update(&offset.to_le_bytes());
            self.hasher.update(&self.block);
            self.block.fill(0);
        }
    }
}
