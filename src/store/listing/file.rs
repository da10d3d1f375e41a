//! A listing as a file: written once, read back line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::mpsc::sync_channel;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::threads::ThreadShare;
use crate::unpack::Tree;

use super::node::Node;
use super::walk::Walk;

/// Much of it is digests, which no effort makes smaller.
const LEVEL: i32 = 1;
/// Bytes of lines that are compressed at once.
const BLOCK: usize = 64 * 1024;
/// Blocks that wait for that, at most.
const QUEUE: usize = 16;

/// Lists a finished layer directory into a file, and returns the digest of the lines. A thread of
/// its own compresses them, if there is one for it.
pub fn write(
    directory: Dir,
    tree: &Tree,
    selinux: bool,
    file: File,
    share: &ThreadShare<'_>,
) -> Result<Digest> {
    let walk = Walk::of_tree(directory, tree, selinux);
    let packed = Packed::new(file)?;
    std::thread::scope(|scope| {
        let (sender, blocks) = sync_channel::<Vec<u8>>(QUEUE);
        let packing = share.start(scope, "list", packed, move |mut packed| {
            for block in blocks {
                packed.add(&block)?;
            }
            packed.finish()
        });
        match packing {
            Ok(packing) => {
                let gone = |_| Error::internal("the lines of its listing are not taken");
                let formatted = each_block(walk, |block| sender.send(block).map_err(gone));
                drop(sender);
                // If it takes no more blocks, it says why.
                let digest = packing.join()??;
                formatted.map(|()| digest)
            }
            Err(mut packed) => {
                each_block(walk, |block| packed.add(&block))?;
                packed.finish()
            }
        }
    })
}

/// Gives the lines of a walk, many at once.
fn each_block(mut walk: Walk<'_>, mut give: impl FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
    let mut block = Vec::with_capacity(BLOCK);
    while let Some(node) = walk.next_name()? {
        serde_json::to_writer(&mut block, &node).map_err(|error| writing(error.into()))?;
        block.push(b'\n');
        if block.len() >= BLOCK {
            let next = Vec::with_capacity(block.capacity());
            give(std::mem::replace(&mut block, next))?;
        }
    }
    give(block)
}

fn writing(error: io::Error) -> Error {
    Error::system("writing its listing", error)
}

/// A listing that is being compressed.
struct Packed {
    compressed: zstd::Encoder<'static, File>,
    hasher: Hasher,
}

impl Packed {
    fn new(file: File) -> Result<Packed> {
        let compressed = zstd::Encoder::new(file, LEVEL).map_err(writing)?;
        let hasher = Hasher::new(Algorithm::Sha256);
        Ok(Packed { compressed, hasher })
    }

    fn add(&mut self, lines: &[u8]) -> Result<()> {
        self.hasher.update(lines);
        self.compressed.write_all(lines).map_err(writing)
    }

    fn finish(self) -> Result<Digest> {
        self.compressed.finish().map_err(writing)?;
        Ok(self.hasher.finish())
    }
}

/// Reads a listing.
pub struct Reader {
    lines: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    hasher: Hasher,
    line: Vec<u8>,
}

impl Reader {
    /// Starts reading.
    pub fn new(file: File) -> io::Result<Reader> {
        Ok(Reader {
            lines: BufReader::new(zstd::Decoder::new(file)?),
            hasher: Hasher::new(Algorithm::Sha256),
            line: Vec::new(),
        })
    }

    /// The next name. Errors: the file is damaged.
    pub fn next_node(&mut self) -> io::Result<Option<Node>> {
        self.line.clear();
        if self.lines.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.hasher.update(&self.line);
        Ok(Some(serde_json::from_slice(&self.line)?))
    }

    /// The digest of the lines that were read.
    pub fn digest(self) -> Digest {
        self.hasher.finish()
    }
}
