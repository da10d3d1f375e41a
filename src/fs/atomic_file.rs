//! `AtomicFile`: a file that appears complete and on disk under its name, or not at all; and `Output`: what an
//! output path from the user leads to.
//!
//! [`crate::repack::layout`] writes blobs and documents with it, and the command line the files of `-o`.
//! While it is written, the file has no name if the file system supports that (`O_TMPFILE`), so a killed
//! process leaves nothing; otherwise its name begins with `.lowerdir-`.

mod output;

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::TempPath;

use crate::error::{Error, Operation, Result};

pub use output::{Output, check_not_within};

const PREFIX: &str = ".lowerdir-";
/// The usual mode of new files, before the umask.
const MODE: u32 = 0o666;
/// The bits of the replaced file's mode that an output keeps: all but the set-ID bits.
const KEPT_MODE: u32 = 0o777;

/// An unfinished file, removed on drop.
pub struct AtomicFile {
    file: File,
    directory: PathBuf,
    /// Its temporary name, if it needs one.
    name: Option<TempPath>,
}

impl AtomicFile {
    /// Starts a file in a directory.
    pub fn in_directory(directory: &Path) -> Result<AtomicFile> {
        let make = || match unnamed(directory)? {
            Some(file) => Ok((file, None)),
            None => named(directory).map(|(file, name)| (file, Some(name))),
        };
        let (file, name) = make().map_err(|error: io::Error| {
            Error::system(format!("making a file in {}", directory.display()), error)
                .during(Operation::WriteOutput)
        })?;
        Ok(AtomicFile {
            file,
            directory: directory.into(),
            name,
        })
    }

    /// Starts a file in the directory of its final path.
    pub fn beside(path: &Path) -> Result<AtomicFile> {
        AtomicFile::in_directory(directory_of(path))
    }

    /// Gives it its name, in its directory. A regular file with that name is replaced; the new one gets its
    /// mode, and its owner if the caller may change owners. A symbolic link is replaced too (see
    /// [`Output`]). Errors: something else has that name.
    pub fn keep(self, path: &Path) -> Result<()> {
        let naming = |error: io::Error| {
            Error::system(format!("writing {}", path.display()), error)
                .during(Operation::WriteOutput)
        };
        match std::fs::symlink_metadata(path) {
            Ok(old) if old.is_file() => self.resemble(&old).map_err(naming)?,
            Ok(old) if old.is_symlink() => {}
            Ok(_) => {
                let text = format!("{} is no longer a regular file", path.display());
                return Err(Error::conflict(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(naming(error)),
        }
        self.file.sync_all().map_err(naming)?;
        let AtomicFile {
            file,
            directory,
            name,
        } = self;
        match name {
            Some(name) => name.persist(path).map_err(|error| naming(error.error))?,
            None => link(&file, &directory, path).map_err(naming)?,
        }
        let directory = File::open(directory).map_err(naming)?;
        directory.sync_all().map_err(naming)
    }

    fn resemble(&self, old: &std::fs::Metadata) -> io::Result<()> {
        let new = self.file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            // Only root may change owners, and the mode matters more.
            let _ = std::os::unix::fs::fchown(&self.file, Some(old.uid()), Some(old.gid()));
        }
        let mode = Permissions::from_mode(old.mode() & KEPT_MODE);
        self.file.set_permissions(mode)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file without a name; `None` if the file system has none, or could not name it later.
fn unnamed(directory: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(MODE)) {
        Ok(file) => File::from(file),
        // Errors of file systems without such files, and of kernels without the flag.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    match std::fs::metadata(descriptor(&file)) {
        Ok(seen) if seen.ino() == file.metadata()?.ino() => Ok(Some(file)),
        _ => Ok(None),
    }
}

fn named(directory: &Path) -> io::Result<(File, TempPath)> {
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(directory)?;
    Ok(file.into_parts())
}

/// Names the file. `linkat(2)` does not replace, so over an existing file it is linked beside it first.
fn link(file: &File, directory: &Path, path: &Path) -> io::Result<()> {
    let link = |path: &Path| {
        let flags = AtFlags::SYMLINK_FOLLOW;
        rustix::fs::linkat(CWD, descriptor(file), CWD, path, flags)
    };
    match link(path) {
        Err(Errno::EXIST) => {}
        other => return Ok(other?),
    }
    let beside = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(directory, |path| Ok(link(path)?))?;
    let name = beside.into_temp_path();
    name.persist(path).map_err(|error| error.error)
}

/// The path by which `linkat(2)` finds a file without a name (`open(2)`, "O_TMPFILE").
fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
