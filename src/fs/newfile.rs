//! `NewFile`: a file that appears complete and durable under its name, or not at all; and `Output`:
//! what a path that the user named for output leads to.
//!
//! [`crate::repack::layout`] writes blobs and documents through it, the command line whatever `-o` names.
//! The file has no name while it is being written, where the file system can do that (`O_TMPFILE`),
//! so a killed process leaves nothing; elsewhere it is called `.lowerdir-` and something.

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
/// As other programs make theirs: the umask takes away from it.
const MODE: u32 = 0o666;
/// What an output keeps of the mode of the file that it replaces: all but set-ID bits.
const KEPT_MODE: u32 = 0o777;

/// A file in the making; dropped, it is gone.
pub struct NewFile {
    file: File,
    directory: PathBuf,
    /// Where it could not be made without one.
    name: Option<TempPath>,
}

impl NewFile {
    /// Starts one in a directory.
    pub fn in_directory(directory: &Path) -> Result<NewFile> {
        let make = || match unnamed(directory)? {
            Some(file) => Ok((file, None)),
            None => named(directory).map(|(file, name)| (file, Some(name))),
        };
        let (file, name) = make().map_err(|error: io::Error| {
            Error::system(format!("making a file in {}", directory.display()), error)
                .during(Operation::WriteOutput)
        })?;
        Ok(NewFile {
            file,
            directory: directory.into(),
            name,
        })
    }

    /// Starts one in the directory of the path that it is to have.
    pub fn beside(path: &Path) -> Result<NewFile> {
        NewFile::in_directory(directory_of(path))
    }

    /// Gives it its name, which is in its directory. A regular file of that name is replaced, and the
    /// new one has its mode, and its owner where the caller may give files away; a symbolic link is
    /// replaced too (see [`Output`]). Errors: something else has that name.
    pub fn keep(self, path: &Path) -> Result<()> {
        let naming = |error: io::Error| {
            Error::system(format!("writing {}", path.display()), error)
                .during(Operation::WriteOutput)
        };
        match std::fs::symlink_metadata(path) {
            Ok(old) if old.is_file() => self.resemble(&old).map_err(naming)?,
            Ok(old) if old.is_symlink() => {}
            Ok(_) => {
                let text = format!("{} is no regular file any more", path.display());
                return Err(Error::conflict(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(naming(error)),
        }
        self.file.sync_all().map_err(naming)?;
        let NewFile {
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
            // Only root may, and the mode matters more.
            let _ = std::os::unix::fs::fchown(&self.file, Some(old.uid()), Some(old.gid()));
        }
        let mode = Permissions::from_mode(old.mode() & KEPT_MODE);
        self.file.set_permissions(mode)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// `None` where the file system has no such files, or none could be named later.
fn unnamed(directory: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(MODE)) {
        Ok(file) => File::from(file),
        // What file systems without them say, and kernels that do not know the flag.
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

/// `linkat(2)` replaces nothing: over a file that is there, the new one is linked beside it first.
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

/// What `linkat(2)` follows to a file without a name (`open(2)`, "O_TMPFILE").
fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
