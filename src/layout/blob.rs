//! Files of a layout, which appear complete and under their final name, or not at all.

use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::codec::Measured;
use crate::digest::Digest;
use crate::encoder::{Compression, LayerWriter};
use crate::error::{Error, Result};

use super::Layout;

const BUFFER: usize = 1 << 20;

/// A layer that is in the layout.
#[derive(Clone, Debug)]
pub struct NewLayer {
    /// Its digests and sizes.
    pub measured: Measured,
    /// How it is compressed.
    pub compression: Compression,
}

/// A layer on its way into the layout: takes its uncompressed bytes. Dropped before
/// [`finish`](BlobWriter::finish), it leaves nothing.
pub struct BlobWriter<'a> {
    layout: &'a Layout,
    compression: Compression,
    out: LayerWriter<BufWriter<NamedTempFile>>,
}

impl Layout {
    /// Starts a layer.
    pub fn layer(&self, compression: Compression) -> Result<BlobWriter<'_>> {
        let file = new_file(&self.blobs()?)?;
        let buffered = BufWriter::with_capacity(BUFFER, file);
        Ok(BlobWriter {
            layout: self,
            compression,
            out: LayerWriter::new(buffered, compression)?,
        })
    }

    fn blobs(&self) -> Result<std::path::PathBuf> {
        let path = self.path.join("blobs/sha256");
        fs::create_dir_all(&path)
            .map_err(|error| Error::system(format!("making {}", path.display()), error))?;
        Ok(path)
    }

    /// Adds a document as a blob, and returns its digest and size.
    pub(super) fn put_blob(&self, document: &Value) -> Result<(Digest, u64)> {
        let bytes = serde_json::to_vec(document).expect("it was JSON");
        let digest = Digest::of(&bytes);
        self.blobs()?;
        put(&self.blob_path(&digest), &bytes)?;
        Ok((digest, bytes.len() as u64))
    }

    /// Writes a document of the layout itself, over the one that is there.
    pub(super) fn put(&self, name: &str, document: &Value) -> Result<()> {
        let bytes = serde_json::to_vec(document).expect("it was JSON");
        put(&self.path.join(name), &bytes)
    }
}

impl BlobWriter<'_> {
    /// Ends the layer, makes it durable, and gives it its name.
    pub fn finish(self) -> Result<NewLayer> {
        let (buffered, measured) = self.out.finish()?;
        let file = buffered
            .into_inner()
            .map_err(|error| writing(error.into_error()))?;
        keep(file, &self.layout.blob_path(&measured.blob))?;
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

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = new_file(directory_of(path))?;
    file.write_all(bytes).map_err(writing)?;
    keep(file, path)
}

/// A file that is removed again unless it is [kept](keep); as readable as others make it.
pub fn new_file(directory: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".lowerdir-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(|error| Error::system(format!("making a file in {}", directory.display()), error))
}

/// Makes a file durable under its final name; what had that name is gone then.
pub fn keep(file: NamedTempFile, path: &Path) -> Result<()> {
    let naming = |error| Error::system(format!("writing {}", path.display()), error);
    file.as_file().sync_all().map_err(naming)?;
    file.persist(path).map_err(|error| naming(error.error))?;
    let directory = fs::File::open(directory_of(path)).map_err(naming)?;
    directory.sync_all().map_err(naming)
}

/// Where a file stands; the working directory, if its path does not say.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn writing(error: io::Error) -> Error {
    Error::system("writing the blob", error)
}
