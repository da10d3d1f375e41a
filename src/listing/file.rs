//! A listing as a file: written once, read back line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::path::{self, EntryPath};
use crate::root::Dir;
use crate::unpack::Tree;

use super::node::Node;
use super::walk::Walk;

/// Much of it is digests, which no effort makes smaller.
const LEVEL: i32 = 1;

/// Lists a finished layer directory into a file, and returns the digest of the lines.
pub fn write(directory: Dir, tree: &Tree, selinux: bool, file: File) -> Result<Digest> {
    let writing = |error| Error::system("writing its listing", error);
    let compressed = zstd::Encoder::new(file, LEVEL).map_err(writing)?;
    let mut lines = BufWriter::new(compressed);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut walk = Walk::of_tree(directory, tree, selinux);
    while let Some(found) = walk.next_name()? {
        let mut line = serde_json::to_vec(&found.node).map_err(|error| writing(error.into()))?;
        line.push(b'\n');
        hasher.update(&line);
        lines.write_all(&line).map_err(writing)?;
    }
    let compressed = lines.into_inner().map_err(|error| writing(error.into()))?;
    compressed.finish().map_err(writing)?;
    Ok(hasher.finish())
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
    pub fn next_node(&mut self) -> io::Result<Option<(EntryPath, Node)>> {
        self.line.clear();
        if self.lines.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.hasher.update(&self.line);
        let node: Node = serde_json::from_slice(&self.line)?;
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let path = match node.path.as_str() {
            "." => EntryPath::root(),
            text => EntryPath::parse(&path::from_display(text).ok_or_else(damaged)?)?,
        };
        Ok(Some((path, node)))
    }

    /// The digest of the lines that were read.
    pub fn digest(self) -> Digest {
        self.hasher.finish()
    }
}
