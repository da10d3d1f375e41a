//! The fs-verity digest of a file: of its size, and of a tree of SHA-256 digests of its blocks.
//!
//! Source: kernel `Documentation/filesystems/fsverity.rst`, "Merkle tree" and "fs-verity
//! descriptor". No salt, blocks of 4096 bytes, as composefs has it. Pure.

use sha2::{Digest, Sha256};

const BLOCK: usize = 4096;
const DIGEST: usize = 32;

/// A digest in the making.
#[derive(Debug)]
pub struct Verity {
    /// The data of the block that is not full yet.
    block: Vec<u8>,
    /// For each level of the tree, from the bottom, the digests of the block that is not full yet.
    levels: Vec<Vec<u8>>,
    size: u64,
    /// The digest of a block of zeros: files have holes.
    zeros: [u8; DIGEST],
}

impl Default for Verity {
    fn default() -> Verity {
        Verity {
            block: Vec::with_capacity(BLOCK),
            levels: Vec::new(),
            size: 0,
            zeros: Sha256::digest([0; BLOCK]).into(),
        }
    }
}

impl Verity {
    /// How many bytes came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, mut data: &[u8]) {
        self.size += data.len() as u64;
        while !data.is_empty() {
            if self.block.len() == BLOCK {
                self.end_block();
            }
            let count = data.len().min(BLOCK - self.block.len());
            self.block.extend_from_slice(&data[..count]);
            data = &data[count..];
        }
    }

    /// Takes a hole.
    pub fn skip(&mut self, mut count: u64) {
        let some = [0; BLOCK];
        while count > 0 {
            if self.block.len() == BLOCK {
                self.end_block();
            }
            if self.block.is_empty() && count > BLOCK as u64 {
                // It is no last block: that one decides how the tree ends.
                self.size += BLOCK as u64;
                count -= BLOCK as u64;
                self.add(0, self.zeros);
                continue;
            }
            let now = count.min((BLOCK - self.block.len()) as u64);
            self.update(&some[..now as usize]);
            count -= now;
        }
    }

    /// The digest of all that came.
    pub fn finish(mut self) -> [u8; DIGEST] {
        let root = match self.size {
            0 => [0; DIGEST],
            _ => self.root(),
        };
        let mut descriptor = [0; 256];
        // The version, SHA-256, and the logarithm of the block size.
        descriptor[..3].copy_from_slice(&[1, 1, 12]);
        descriptor[8..16].copy_from_slice(&self.size.to_le_bytes());
        descriptor[16..16 + DIGEST].copy_from_slice(&root);
        Sha256::digest(descriptor).into()
    }

    fn end_block(&mut self) {
        self.block.resize(BLOCK, 0);
        let digest = Sha256::digest(&self.block).into();
        self.block.clear();
        self.add(0, digest);
    }

    /// Adds a digest to a level, and that level's block to the next one when it is full.
    fn add(&mut self, level: usize, digest: [u8; DIGEST]) {
        if level == self.levels.len() {
            self.levels.push(Vec::with_capacity(BLOCK));
        }
        if self.levels[level].len() == BLOCK {
            let full = Sha256::digest(&self.levels[level]).into();
            self.levels[level].clear();
            self.add(level + 1, full);
        }
        self.levels[level].extend_from_slice(&digest);
    }

    /// The one digest at the top.
    fn root(&mut self) -> [u8; DIGEST] {
        self.end_block();
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.levels.len();
            if is_top && self.levels[level].len() == DIGEST {
                let top = &self.levels[level][..];
                return top.try_into().expect("one digest");
            }
            self.levels[level].resize(BLOCK, 0);
            let digest = Sha256::digest(&self.levels[level]).into();
            self.levels[level].clear();
            self.add(level + 1, digest);
            level += 1;
        }
    }
}
