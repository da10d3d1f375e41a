//! The fs-verity digest of a file, which covers its size and a tree of SHA-256 digests of its blocks.
//!
//! Source: kernel `Documentation/filesystems/fsverity.rst`, "Merkle tree" and "fs-verity
//! descriptor". No salt and blocks of 4096 bytes, as in composefs. Pure.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

const BLOCK: usize = 4096;
const DIGEST: usize = 32;
/// Digests in a block.
const WIDTH: u64 = (BLOCK / DIGEST) as u64;
/// Enough levels for any size.
const LEVELS: usize = 9;

/// For each level, the digest of a full subtree of zeros, because holes may have any size.
static ZEROS: LazyLock<[[u8; DIGEST]; LEVELS]> = LazyLock::new(|| {
    let mut below: [u8; DIGEST] = Sha256::digest([0; BLOCK]).into();
    std::array::from_fn(|_| {
        let next = Sha256::digest(below.repeat(WIDTH as usize)).into();
        std::mem::replace(&mut below, next)
    })
});

/// Computes a digest.
#[derive(Debug)]
pub struct Verity {
    /// The data of the current, incomplete block.
    block: Vec<u8>,
    /// For each level of the tree, from the bottom, the digests in the current, incomplete block.
    levels: Vec<Vec<u8>>,
    size: u64,
}

impl Default for Verity {
    fn default() -> Verity {
        Verity {
            block: Vec::with_capacity(BLOCK),
            levels: Vec::new(),
            size: 0,
        }
    }
}

impl Verity {
    /// How many bytes were added so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next bytes of the file.
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

    /// Adds a hole.
    pub fn skip(&mut self, mut count: u64) {
        let some = [0; BLOCK];
        while count > 0 {
            if self.block.len() == BLOCK {
                self.end_block();
            }
            // The last block is left for `finish`, which completes the tree.
            let blocks = count.saturating_sub(1) / BLOCK as u64;
            if self.block.is_empty() && blocks > 0 {
                count -= self.skip_blocks(blocks) * BLOCK as u64;
                continue;
            }
            let now = count.min((BLOCK - self.block.len()) as u64);
            self.update(&some[..now as usize]);
            count -= now;
        }
    }

    /// The digest of all bytes.
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

    /// Adds up to `most` blocks of zeros, as the largest full subtree that starts here. Returns how many
    /// blocks it added.
    fn skip_blocks(&mut self, most: u64) -> u64 {
        let done = self.size / BLOCK as u64;
        let (mut level, mut count) = (0, 1);
        while count * WIDTH <= most && done.is_multiple_of(count * WIDTH) {
            (level, count) = (level + 1, count * WIDTH);
        }
        // Complete lower levels are moved up first.
        for full in 0..level {
            if let Some(digests) = self.levels.get_mut(full)
                && !digests.is_empty()
            {
                let digest = Sha256::digest(&*digests).into();
                digests.clear();
                self.add(full + 1, digest);
            }
        }
        self.size += count * BLOCK as u64;
        self.add(level, ZEROS[level]);
        count
    }

    /// Adds a digest to a level, and the digest of its block to the next level when the block is full.
    fn add(&mut self, level: usize, digest: [u8; DIGEST]) {
        while level >= self.levels.len() {
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
