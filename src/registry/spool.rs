//! Where the bytes of a blob are kept while they arrive: an unnamed file, or a named one in a store, which survives the
//! process.
//!
//! [`super::transfer`] alone calls it. The name of a file is the digest of its blob, and one process at a time writes to
//! it: the one that has locked it. Others may read what is there. Nothing is known of a file but its bytes, which only
//! the digest proves, and only at the end.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::fs::root::Dir;

/// The unit in which file systems leave holes, at most.
const BLOCK: u64 = 64 << 10;

/// A directory for blobs.
#[derive(Clone, Debug)]
pub enum Spool {
    /// For files without names.
    Unnamed(PathBuf),
    /// For files that the next run finds: the directory, and its path for messages.
    Named(Arc<Dir>, PathBuf),
}

/// The file of one blob.
#[derive(Debug)]
pub struct SpoolFile {
    pub file: Arc<File>,
    place: Option<(Arc<Dir>, String)>,
}

/// Who writes to a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Writer {
    /// This process, until it closes the file.
    This,
    Another,
    /// None: it has no name any more.
    None,
}

impl Spool {
    pub fn path(&self) -> &PathBuf {
        match self {
            Spool::Unnamed(path) | Spool::Named(_, path) => path,
        }
    }

    /// The file of a blob, which may have some of it. Errors: the system's.
    pub fn open(&self, digest: &Digest) -> io::Result<SpoolFile> {
        let Spool::Named(directory, _) = self else {
            let file = Arc::new(tempfile::tempfile_in(self.path())?);
            return Ok(SpoolFile { file, place: None });
        };
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Less the umask: it may become a file of a layout.
        let mode = Mode::from_raw_mode(0o666);
        let file = File::from(rustix::fs::openat(directory, &*name, flags, mode)?);
        Ok(SpoolFile {
            file: Arc::new(file),
            place: Some((Arc::clone(directory), name)),
        })
    }
}

impl SpoolFile {
    /// Locks it, if no other process has.
    pub fn lock(&self) -> io::Result<Writer> {
        if self.place.is_none() {
            return Ok(Writer::This);
        }
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(Writer::Another),
            locked => locked?,
        }
        Ok(match rustix::fs::fstat(&self.file)?.st_nlink {
            0 => Writer::None,
            _ => Writer::This,
        })
    }

    /// How much of the start of a blob of this size is there. A file that ends early was written in order; before a hole,
    /// a part of a block may be missing.
    pub fn there(&self, size: u64) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        let hole = match rustix::fs::seek(&self.file, SeekFrom::Hole(0)) {
            Ok(hole) => hole,
            // Empty.
            Err(Errno::NXIO) => 0,
            // A file system that knows of none.
            Err(Errno::INVAL) => length,
            Err(errno) => return Err(errno.into()),
        };
        Ok(match hole < length {
            true => hole / BLOCK * BLOCK,
            false => length.min(size),
        })
    }

    /// Moves it to a path on the same file system, once all of it is there and on disk. It stays locked.
    pub fn publish(&self, path: &Path) -> io::Result<()> {
        let Some((directory, name)) = &self.place else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.file.sync_all()?;
        rustix::fs::renameat(directory, &**name, rustix::fs::CWD, path)?;
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Takes its name away. Errors: the system's, but for a name that is gone.
    pub fn remove(&self) -> io::Result<()> {
        let Some((directory, name)) = &self.place else {
            return Ok(());
        };
        match directory.remove_file(name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn named(place: &tempfile::TempDir) -> Spool {
        let directory = Dir::open(place.path()).unwrap();
        Spool::Named(Arc::new(directory), place.path().into())
    }

    #[test]
    fn what_is_there_ends_at_the_first_hole() {
        let place = tempfile::tempdir().unwrap();
        let file = named(&place).open(&Digest::of(b"x")).unwrap();
        assert_eq!(file.there(100).unwrap(), 0);
        file.file.write_all_at(&[1; 77], 0).unwrap();
        assert_eq!(file.there(100).unwrap(), 77);
        assert_eq!(file.there(50).unwrap(), 50, "never more than the blob has");
        file.file.write_all_at(&[1; 9], 3 * BLOCK).unwrap();
        assert_eq!(
            file.there(4 * BLOCK).unwrap(),
            0,
            "the block may be unfinished"
        );
        file.file.write_all_at(&[1; BLOCK as usize], 0).unwrap();
        assert_eq!(file.there(4 * BLOCK).unwrap(), BLOCK);
    }

    #[test]
    fn one_writes_and_the_next_finds_it() {
        let place = tempfile::tempdir().unwrap();
        let (spool, digest) = (named(&place), Digest::of(b"x"));
        let one = spool.open(&digest).unwrap();
        assert_eq!(one.lock().unwrap(), Writer::This);
        one.file.write_all_at(b"abc", 0).unwrap();
        let other = spool.open(&digest).unwrap();
        assert_eq!(other.lock().unwrap(), Writer::Another);
        assert_eq!(other.there(9).unwrap(), 3);
        drop(one);
        assert_eq!(other.lock().unwrap(), Writer::This);
        let third = spool.open(&digest).unwrap();
        other.remove().unwrap();
        other.remove().unwrap();
        drop(other);
        assert_eq!(third.lock().unwrap(), Writer::None);
        assert_eq!(third.there(9).unwrap(), 3, "it can still be read");
        assert_eq!(spool.open(&digest).unwrap().there(9).unwrap(), 0);
    }
}
