//! Files of a layout, which appear complete and under their final name, or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::canonical;
use crate::compress::codec::Measured;
use crate::compress::encoder::{Compression, LayerWriter};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::atomic_file::{AtomicFile, Output};
use serde_json::Value;

use super::Layout;

const BUFFER: usize = 1 << 20;

/// A layer that is in the layout.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewLayer {
    /// Its digests and sizes.
    pub measured: Measured,
    /// How it is compressed.
    pub compression: Compression,
}

/// Writes a layer into the layout, from its uncompressed bytes. Dropped before
/// [`finish`](BlobWriter::finish), it leaves nothing.
pub struct BlobWriter<'a> {
    layout: &'a Layout,
    compression: Compression,
    out: LayerWriter<BufWriter<AtomicFile>>,
}

impl Layout {
    /// Starts a layer.
    pub fn layer(&self, compression: Compression) -> Result<BlobWriter<'_>> {
        let file = AtomicFile::in_directory(&self.blobs()?)?;
        let buffered = BufWriter::with_capacity(BUFFER, file);
        Ok(BlobWriter {
            layout: self,
            compression,
            out: LayerWriter::new(buffered, compression)?,
        })
    }

    fn blobs(&self) -> Result<PathBuf> {
        let path = self.path.join("blobs/sha256");
        let making = |error| Error::system(format!("making {}", path.display()), error);
        match fs::create_dir_all(&path) {
            // An existing directory is fine.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::read_dir(&path).map_err(making)?;
            }
            other => other.map_err(making)?,
        }
        Ok(path)
    }

    /// Adds a document as a blob, byte for byte.
    pub(super) fn put_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.make_directory_of(digest)?;
        write(&self.blob_path(digest), bytes)
    }

    /// Makes the directory for blobs with digests of the same sort.
    pub(super) fn make_directory_of(&self, digest: &Digest) -> Result<()> {
        let path = self.path.join("blobs").join(digest.algorithm().name());
        let making = |error| Error::system(format!("making {}", path.display()), error);
        fs::create_dir_all(&path).map_err(making)
    }

    /// Adds a document as a blob, and returns its digest and size.
    pub(super) fn put_blob(&self, document: &Value) -> Result<(Digest, u64)> {
        let bytes = canonical::compact(document).expect("it was JSON");
        let digest = Digest::of(&bytes);
        self.blobs()?;
        write(&self.blob_path(&digest), &bytes)?;
        Ok((digest, bytes.len() as u64))
    }

    /// Writes a document of the layout itself, replacing the old one; a symbolic link is followed.
    pub(super) fn put(&self, name: &str, document: &Value) -> Result<()> {
        let bytes = canonical::compact(document).expect("it was JSON");
        let path = self.path.join(name);
        match Output::at(&path)? {
            Output::File(real) => write(&real, &bytes),
            _ => {
                let text = format!("{} is no regular file", path.display());
                Err(Error::conflict(text))
            }
        }
    }
}

impl BlobWriter<'_> {
    /// Ends the layer, makes it durable, and gives it its name.
    pub fn finish(self) -> Result<NewLayer> {
        let (buffered, measured) = self.out.finish()?;
        let file = buffered
            .into_inner()
            .map_err(|error| writing(error.into_error()))?;
        file.keep(&self.layout.blob_path(&measured.blob))?;
        Ok(NewLayer {
            measured,
            compression: self.compression,
        })
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::beside(path)?;
    file.write_all(bytes).map_err(writing)?;
    file.keep(path)
}

fn writing(error: io::Error) -> Error {
    Error::io("writing the blob", error)
}
