//! Blobs: ranges of open files, which several threads read at once, and where they come from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

use super::archive::{Members, spool};

/// Manifests are at most 4 MiB (distribution-spec, "Pushing Manifests"); configs are smaller.
const DOCUMENT_MAX: u64 = 4 << 20;

/// Some bytes of an open file. Cheap to clone; each reader has a position of its own.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl Blob {
    /// All of a regular file.
    pub fn of_file(file: File) -> Result<Blob> {
        let metadata = file
            .metadata()
            .map_err(|error| Error::system("looking at a blob", error))?;
        if !metadata.is_file() {
            return Err(Error::refused("a blob that is no regular file"));
        }
        Ok(Blob {
            file: Arc::new(file),
            offset: 0,
            length: metadata.len(),
        })
    }

    /// All of an input that may be a pipe: a layer may have to be read twice, so what cannot be
    /// read twice is written to an unnamed temporary file first.
    pub fn of_input(mut file: File) -> Result<Blob> {
        match Blob::of_file(
            file.try_clone()
                .map_err(|error| Error::system("opening a blob", error))?,
        ) {
            Err(_) => Blob::of_file(spool(&mut file)?),
            blob => blob,
        }
    }

    /// Some of it; the caller has checked the range.
    pub fn part(&self, offset: u64, length: u64) -> Blob {
        debug_assert!(offset + length <= self.length);
        Blob {
            file: Arc::clone(&self.file),
            offset: self.offset + offset,
            length,
        }
    }

    /// In bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads it from the start.
    pub fn open(&self) -> BlobReader {
        BlobReader {
            blob: self.clone(),
            position: 0,
        }
    }

    /// All of it, if it may be a JSON document.
    pub fn document(&self, what: &str) -> Result<Vec<u8>> {
        if self.length > DOCUMENT_MAX {
            let text = format!(
                "{what} has {} bytes; the limit is {DOCUMENT_MAX}",
                self.length
            );
            return Err(Error::limit(text));
        }
        let mut bytes = Vec::new();
        self.open()
            .read_to_end(&mut bytes)
            .map_err(|error| Error::reading(format!("reading {what}"), error))?;
        Ok(bytes)
    }
}

/// The blob of a layer. An image may lack it: a foreign layer, or one that a content store let go
/// of. A layer that is unpacked already needs it no more.
#[derive(Clone, Debug)]
pub enum LayerBlob {
    /// It is there.
    There(Blob),
    /// It is not.
    Missing {
        /// What is missing.
        what: String,
        /// What the user can do.
        hint: String,
    },
}

impl LayerBlob {
    /// Keeps the lack of a blob for later. Errors: those of looking for it.
    pub fn found(found: Result<Blob>, hint: impl FnOnce() -> String) -> Result<LayerBlob> {
        match found {
            Ok(blob) => Ok(LayerBlob::There(blob)),
            Err(error) if error.kind() == Kind::NotFound => Ok(LayerBlob::Missing {
                what: error.to_string(),
                hint: hint(),
            }),
            Err(error) => Err(error),
        }
    }

    /// The blob. Errors: it is missing ([`Kind::NotFound`]).
    pub fn get(&self) -> Result<&Blob> {
        match self {
            LayerBlob::There(blob) => Ok(blob),
            LayerBlob::Missing { what, hint } => Err(Error::not_found(what).hint(hint)),
        }
    }
}

/// Reads a [`Blob`].
#[derive(Debug)]
pub struct BlobReader {
    blob: Blob,
    position: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.length.saturating_sub(self.position);
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let at = self.blob.offset + self.position;
        let count = self.blob.file.read_at(&mut buffer[..most], at)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.blob.length.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Where the documents and blobs of images are.
#[derive(Debug)]
pub enum Source {
    /// A directory on disk: an OCI layout.
    Directory(PathBuf),
    /// The directory that holds those of the algorithms, as in containerd's content store.
    Blobs(PathBuf),
    /// The members of an archive.
    Archive(Members),
}

impl Source {
    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Source::Directory(directory) | Source::Blobs(directory) => {
                directory.join(name).is_file()
            }
            Source::Archive(members) => members.find(name).is_some(),
        }
    }

    /// A file by its name, which a document may have given: it must stay inside.
    pub fn get(&self, name: &str) -> Result<Blob> {
        let missing = || Error::not_found(format!("the image lacks its file {name}"));
        match self {
            Source::Directory(directory) | Source::Blobs(directory) => {
                let path = crate::path::EntryPath::parse(name.as_bytes())?;
                match File::open(directory.join(path.as_os_str())) {
                    Ok(file) => Blob::of_file(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                    Err(error) => Err(Error::system(format!("opening {name}"), error)),
                }
            }
            Source::Archive(members) => members.find(name).ok_or_else(missing),
        }
    }

    /// A blob, by its digest.
    pub fn blob(&self, digest: &Digest) -> Result<Blob> {
        let name = format!("{}/{}", digest.algorithm().name(), digest.hex());
        self.get(&match self {
            Source::Blobs(_) => name,
            Source::Directory(_) | Source::Archive(_) => format!("blobs/{name}"),
        })
    }
}
