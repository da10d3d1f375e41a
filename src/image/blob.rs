//! Blobs: ranges of files, which several threads can read at once, and their sources.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
#[cfg(feature = "registry")]
use crate::registry::{Arriving, Remote, Repository, Spool};
use crate::tar::archive::Extent;

use super::archive::{Members, spool};
use super::compressed::{Compressed, Part};
use super::holes::Holes;
use super::media_type;
use super::written::{Pieces, Written};

/// Manifests are at most 4 MiB (distribution-spec, "Pushing Manifests"); configs are smaller.
pub(crate) const DOCUMENT_MAX: u64 = 4 << 20;

/// A range of a file. Cheap to clone; each reader has its own position.
#[derive(Clone, Debug)]
pub struct Blob {
    bytes: Bytes,
    length: u64,
}

#[derive(Clone, Debug)]
enum Bytes {
    File {
        file: Arc<File>,
        offset: u64,
    },
    /// A file of a layout, open only while it is read: an image may have more layers than a process
    /// may open files.
    Named(Arc<Path>),
    Memory(Arc<[u8]>),
    Compressed {
        file: Arc<Compressed>,
        offset: u64,
    },
    Sparse {
        stored: Arc<Blob>,
        extents: Arc<[Extent]>,
    },
    Written(Written),
    #[cfg(feature = "registry")]
    Remote(Arc<Remote>),
}

impl Blob {
    /// All of a regular file.
    pub fn from_file(file: File) -> Result<Blob> {
        let metadata = file
            .metadata()
            .map_err(|error| Error::system("looking at a blob", error))?;
        if !metadata.is_file() {
            return Err(Error::refused("a blob that is no regular file"));
        }
        let (file, offset) = (Arc::new(file), 0);
        Ok(Blob {
            bytes: Bytes::File { file, offset },
            length: metadata.len(),
        })
    }

    /// All of the regular file of a name that an image gives.
    fn named(path: &Path, name: &str) -> Result<Blob> {
        let length = Blob::from_file(open_named(path, name)?)?.length;
        let bytes = Bytes::Named(path.into());
        Ok(Blob { bytes, length })
    }

    /// Everything from a reader. A layer may have to be read twice, so it is first copied to an unnamed
    /// temporary file (in `TMPDIR`, else in `/var/tmp`); [`Blob::from_file`] needs no copy.
    ///
    /// Errors: reading fails ([`Kind::Refused`](crate::Kind::Refused) if the data is at fault); there
    /// is no room for the copy.
    pub fn from_reader(mut reader: impl Read) -> Result<Blob> {
        Blob::from_file(spool(&mut reader)?)
    }

    /// Bytes already in memory.
    pub(super) fn in_memory(bytes: Vec<u8>) -> Blob {
        let length = bytes.len() as u64;
        let bytes = Bytes::Memory(bytes.into());
        Blob { bytes, length }
    }

    /// A part of a file; the caller has checked the range.
    pub(super) fn in_file(file: &Arc<File>, offset: u64, length: u64) -> Blob {
        let file = Arc::clone(file);
        let bytes = Bytes::File { file, offset };
        Blob { bytes, length }
    }

    /// A part of the decompressed content of a file; the caller has checked the range.
    pub(super) fn in_compressed(file: &Arc<Compressed>, offset: u64, length: u64) -> Blob {
        let file = Arc::clone(file);
        let bytes = Bytes::Compressed { file, offset };
        Blob { bytes, length }
    }

    /// What `write` writes, which must be the same each time. `length` is an estimate, for the progress.
    pub(crate) fn written(
        length: u64,
        write: impl Fn(&mut dyn Write) -> Result<()> + Send + Sync + 'static,
    ) -> Blob {
        let bytes = Bytes::Written(Written::new(write));
        Blob { bytes, length }
    }

    /// A blob of a registry.
    #[cfg(feature = "registry")]
    pub(super) fn remote(remote: Arc<Remote>) -> Blob {
        let length = remote.size();
        let bytes = Bytes::Remote(remote);
        Blob { bytes, length }
    }

    /// Has a blob of a registry fetched into this directory, after those that this was called for before: whether it is
    /// one.
    #[cfg(feature = "registry")]
    pub(crate) fn prefetch(&self, spool: &Spool) -> bool {
        let Bytes::Remote(remote) = &self.bytes else {
            return false;
        };
        remote.keep_in(spool);
        remote.prefetch();
        true
    }

    /// Whether it comes from a registry.
    #[cfg(feature = "registry")]
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self.bytes, Bytes::Remote(_))
    }

    /// So many bytes of a blob of a registry are here, and what happened to the connection since the last call.
    #[cfg(feature = "registry")]
    pub(crate) fn news(&self) -> Option<(u64, Vec<String>)> {
        match &self.bytes {
            Bytes::Remote(remote) => Some(remote.news()),
            _ => None,
        }
    }

    /// Waits until all of a blob of a registry is here. Errors: it is not what its digest says, or will not come.
    #[cfg(feature = "registry")]
    pub(crate) fn check_arrived(&self, is_over: &dyn Fn() -> bool) -> Result<()> {
        match &self.bytes {
            Bytes::Remote(remote) => remote.check_arrived(is_over),
            _ => Ok(()),
        }
    }

    /// Moves the finished copy of a blob of a registry, which is in a named spool, to a path on the same file system, and
    /// waits for the disk.
    #[cfg(feature = "registry")]
    pub(crate) fn publish(&self, path: &Path) -> Result<()> {
        match &self.bytes {
            Bytes::Remote(remote) => remote.publish(path),
            _ => Ok(()),
        }
    }

    /// Lets go of the copy of a blob of a registry, which is not needed any more.
    #[cfg(feature = "registry")]
    pub(crate) fn release(&self) {
        if let Bytes::Remote(remote) = &self.bytes {
            remote.release();
        }
    }

    /// The reason for an error about the content of this blob, if it lies in how it was fetched.
    #[cfg(feature = "registry")]
    pub(crate) fn blame(&self, error: Error, is_over: &dyn Fn() -> bool) -> Error {
        match &self.bytes {
            Bytes::Remote(remote)
                if matches!(error.kind(), Kind::Refused | Kind::Mismatch | Kind::Limit) =>
            {
                remote.verdict(is_over).unwrap_or(error)
            }
            _ => error,
        }
    }

    /// Forgets a copy that has another digest than the registry promised, once: whether it did.
    #[cfg(feature = "registry")]
    pub(crate) fn fetch_again(&self) -> bool {
        match &self.bytes {
            Bytes::Remote(remote) => remote.fetch_again(),
            _ => false,
        }
    }

    /// A sparse file: this blob stores the extents, and the rest are zeros. The caller has checked that
    /// they fit.
    pub(super) fn with_holes(self, extents: Vec<Extent>, length: u64) -> Blob {
        let (stored, extents) = (Arc::new(self), extents.into());
        let bytes = Bytes::Sparse { stored, extents };
        Blob { bytes, length }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Its offset in an archive that is compressed as a whole, which is fastest to read in order.
    pub fn offset_in_compressed(&self) -> Option<u64> {
        match &self.bytes {
            Bytes::Compressed { offset, .. } => Some(*offset),
            Bytes::Sparse { stored, .. } => stored.offset_in_compressed(),
            Bytes::File { .. } | Bytes::Named(_) | Bytes::Memory(_) | Bytes::Written(_) => None,
            #[cfg(feature = "registry")]
            Bytes::Remote(_) => None,
        }
    }

    /// A reader from the start.
    pub fn open(&self) -> BlobReader {
        BlobReader(match &self.bytes {
            Bytes::File { file, offset } => Reader::File {
                file: Arc::clone(file),
                position: *offset,
                end: offset + self.length,
            },
            Bytes::Named(path) => Reader::Named {
                path: Arc::clone(path),
                length: self.length,
            },
            Bytes::Memory(bytes) => Reader::Memory(Cursor::new(Arc::clone(bytes))),
            Bytes::Compressed { file, offset } => {
                Reader::Compressed(file.part(*offset, self.length))
            }
            Bytes::Sparse { stored, extents } => {
                let extents = Arc::clone(extents);
                Reader::Sparse(Holes::new(stored.open(), extents, self.length))
            }
            Bytes::Written(written) => Reader::Written(written.open()),
            #[cfg(feature = "registry")]
            Bytes::Remote(remote) => Reader::Remote(remote.open()),
        })
    }

    /// All of it, if it is small enough to be a JSON document.
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

/// Reads a [`Blob`].
#[derive(Debug)]
pub struct BlobReader(Reader);

#[derive(Debug)]
enum Reader {
    File {
        file: Arc<File>,
        position: u64,
        end: u64,
    },
    /// Not opened yet.
    Named {
        path: Arc<Path>,
        length: u64,
    },
    Memory(Cursor<Arc<[u8]>>),
    Compressed(Part),
    Sparse(Holes),
    Written(Pieces),
    #[cfg(feature = "registry")]
    Remote(Arriving),
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Reader::Named { path, length } => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let file = Arc::new(open_named(path, &name)?);
                let (position, end) = (0, *length);
                self.0 = Reader::File {
                    file,
                    position,
                    end,
                };
                self.read(buffer)
            }
            Reader::File {
                file,
                position,
                end,
            } => {
                let left = usize::try_from(*end - *position).unwrap_or(usize::MAX);
                let most = buffer.len().min(left);
                let count = file.read_at(&mut buffer[..most], *position)?;
                *position += count as u64;
                Ok(count)
            }
            Reader::Memory(bytes) => bytes.read(buffer),
            Reader::Compressed(part) => part.read(buffer),
            Reader::Sparse(holes) => holes.read(buffer),
            Reader::Written(pieces) => pieces.read(buffer),
            #[cfg(feature = "registry")]
            Reader::Remote(remote) => remote.read(buffer),
        }
    }
}

/// The blob of a layer. An image may lack it: a foreign layer, or one that a content store dropped. A
/// layer that is already unpacked does not need it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LayerBlob {
    /// It is there.
    There(Blob),
    /// It is missing.
    Missing {
        /// What is missing.
        what: String,
        /// What the user can do.
        hint: String,
    },
    /// Its media type says that it is not a tar archive (rule T1).
    NotTar {
        /// The media type.
        media_type: String,
        /// Its size in bytes, if the image has it.
        length: Option<u64>,
    },
}

impl LayerBlob {
    /// Turns "not found" into a missing blob. Errors: every other error.
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

    /// The same, unless this media type is one that cannot be read.
    pub(super) fn of_type(self, media_type: &str) -> LayerBlob {
        match media_type::refusal(media_type) {
            None => self,
            Some(_) => LayerBlob::NotTar {
                media_type: media_type.into(),
                length: self.size(),
            },
        }
    }

    /// Errors: its media type says that it is not a tar archive ([`Kind::Refused`]).
    pub fn check_media_type(&self) -> Result<()> {
        match self {
            LayerBlob::NotTar { media_type, .. } => {
                media_type::refusal(media_type).map_or(Ok(()), Err)
            }
            LayerBlob::There(_) | LayerBlob::Missing { .. } => Ok(()),
        }
    }

    /// Its size in bytes, if it is there.
    pub fn size(&self) -> Option<u64> {
        match self {
            LayerBlob::There(blob) => Some(blob.len()),
            LayerBlob::Missing { .. } => None,
            LayerBlob::NotTar { length, .. } => *length,
        }
    }

    /// The blob. Errors: it is missing ([`Kind::NotFound`]); its media type says that it is not a tar
    /// archive ([`Kind::Refused`]).
    pub fn get(&self) -> Result<&Blob> {
        match self {
            LayerBlob::There(blob) => Ok(blob),
            LayerBlob::NotTar { media_type, .. } => {
                let error = media_type::refusal(media_type);
                Err(error.expect("only a refused type gets here"))
            }
            LayerBlob::Missing { what, hint } => Err(Error::not_found(what).hint(hint.as_str())),
        }
    }
}

/// The place that documents and blobs are read from.
#[derive(Debug)]
pub enum Source {
    /// A directory on disk: an OCI layout.
    Directory(PathBuf),
    /// A directory with one directory per digest algorithm, as in containerd's content store.
    Blobs(PathBuf),
    /// A directory on disk in skopeo's `dir:` format, where blobs are named by their digests.
    Flat(PathBuf),
    /// The members of an archive.
    Archive(Members),
    /// Documents by digest, and nothing else.
    Documents(Vec<(Digest, Vec<u8>)>),
    /// A repository of a registry.
    #[cfg(feature = "registry")]
    Registry(Repository),
}

impl Source {
    /// Whether there is a file of this name.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Source::Directory(directory) | Source::Blobs(directory) | Source::Flat(directory) => {
                match std::fs::metadata(directory.join(name)) {
                    Ok(found) => found.is_file(),
                    // It may exist: opening it reports what is wrong.
                    Err(error) => !matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
                    ),
                }
            }
            Source::Archive(members) => members.find(name).is_some(),
            Source::Documents(_) => false,
            #[cfg(feature = "registry")]
            Source::Registry(_) => false,
        }
    }

    /// A file by name. The name may come from a document, and must stay inside.
    pub fn get(&self, name: &str) -> Result<Blob> {
        match self {
            Source::Directory(directory) | Source::Blobs(directory) | Source::Flat(directory) => {
                let path = crate::path::EntryPath::parse(name.as_bytes())?;
                Blob::named(&directory.join(path.as_os_str()), name)
            }
            Source::Archive(members) => members.find(name).ok_or_else(|| missing(name)),
            Source::Documents(_) => Err(missing(name)),
            #[cfg(feature = "registry")]
            Source::Registry(_) => Err(missing(name)),
        }
    }

    /// The blob of a layer or a config, whose size is known.
    pub fn content(&self, digest: &Digest, size: u64) -> Result<Blob> {
        match self {
            #[cfg(feature = "registry")]
            Source::Registry(repository) => Ok(Blob::remote(repository.blob(digest, size))),
            _ => {
                let _ = size;
                self.blob(digest)
            }
        }
    }

    /// A blob by digest; of a registry, a manifest or an index.
    pub fn blob(&self, digest: &Digest) -> Result<Blob> {
        let name = format!("{}/{}", digest.algorithm().name(), digest.hex());
        self.get(&match self {
            Source::Blobs(_) => name,
            Source::Flat(_) => self.flat_name(digest),
            Source::Directory(_) | Source::Archive(_) => format!("blobs/{name}"),
            Source::Documents(documents) => {
                let found = documents.iter().find(|(known, _)| known == digest);
                let bytes = found.map(|(_, bytes)| bytes.clone());
                return bytes.map(Blob::in_memory).ok_or_else(not_kept);
            }
            #[cfg(feature = "registry")]
            Source::Registry(repository) => {
                return repository.manifest(digest).map(Blob::in_memory);
            }
        })
    }

    /// Whether a blob is missing. A registry is not asked: it has what its manifests name.
    pub fn lacks(&self, digest: &Digest) -> bool {
        #[cfg(feature = "registry")]
        if matches!(self, Source::Registry(_)) {
            return false;
        }
        let found = self.blob(digest);
        found.is_err_and(|error| error.kind() == Kind::NotFound)
    }

    /// The name of a blob in a `dir:` directory. Manifests of a manifest list have a suffix, and before
    /// version 1.1 all blobs had one (containers/image, `directory/directory_transport.go`).
    fn flat_name(&self, digest: &Digest) -> String {
        let hex = digest.hex();
        let with_algorithm = format!("{}-{hex}", digest.algorithm().name());
        let others = [
            format!("{hex}.manifest.json"),
            format!("{hex}.tar"),
            with_algorithm,
        ];
        let mut others = others.into_iter().filter(|_| !self.has(hex));
        others
            .find(|name| self.has(name))
            .unwrap_or_else(|| hex.into())
    }
}

fn not_kept() -> Error {
    Error::not_found("the image is in the store without its blobs")
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("the image lacks its file {name}"))
}

fn open_named(path: &Path, name: &str) -> Result<File> {
    open_at_once(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(name),
        _ => Error::system(format!("opening {name}"), error),
    })
}

/// Opens a file of a layout without blocking on a FIFO that has no writer. Symbolic links are followed,
/// because some tools build layouts from them.
pub(crate) fn open_at_once(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}
