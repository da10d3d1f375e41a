//! What an output path leads to, and whether it may be written.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Operation, Result};
use crate::fs::root;

/// As many symbolic links as the kernel follows (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// The destination of an output path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A regular file at this real path, or nothing yet: replaced as a whole.
    File(PathBuf),
    /// A device or a FIFO: opened and written to.
    Stream,
    /// An open descriptor of this process, such as `/dev/stdout`: written to.
    Descriptor(u32),
}

impl Output {
    /// Resolves a path; symbolic links are followed, even dangling ones. Errors: it is a directory or a
    /// socket; the system's.
    pub fn at(path: &Path) -> Result<Output> {
        let looking = |error| {
            Error::system(format!("looking at {}", path.display()), error)
                .during(Operation::WriteOutput)
        };
        if let Some(number) = descriptor(path) {
            return Ok(Output::Descriptor(number));
        }
        let refuse = |what: &str| {
            let text = format!("{} is {what}, and cannot take the output", path.display());
            Err(Error::conflict(text)
                .hint("name a file, a FIFO or a device; `-` is standard output"))
        };
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => refuse("a directory"),
            Ok(found) if found.file_type().is_socket() => refuse("a socket"),
            Ok(found) if !found.is_file() => Ok(Output::Stream),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(looking(error)),
            // Only a directory can have this name.
            Err(_) if path.as_os_str().as_bytes().ends_with(b"/") => refuse("no file"),
            _ => root::real_path(path).map(Output::File).map_err(looking),
        }
    }
}

/// The number of a descriptor of this process that a path is a link to, in `/proc/PID/fd`.
fn descriptor(path: &Path) -> Option<u32> {
    let own = std::fs::canonicalize("/proc/self/fd").ok()?;
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..LINKS_MAX {
        let parent = path.parent()?.canonicalize().ok()?;
        let name = path.file_name()?;
        if parent == own {
            return name.to_str()?.parse().ok();
        }
        path = parent.join(std::fs::read_link(parent.join(name)).ok()?);
    }
    None
}

/// Errors: `what`, to be written to `path`, would be inside a directory that is being read
/// ([`Kind::Conflict`](crate::Kind::Conflict)).
pub fn check_not_within(path: &Path, what: &str, tree: &Path) -> Result<()> {
    if !is_within(path, tree) {
        return Ok(());
    }
    let (path, tree) = (path.display(), tree.display());
    let text = format!("{what} {path} would be inside {tree}, which is being read");
    Err(Error::conflict(text).hint("use a path outside of it"))
}

/// Compared by inode: the same directory may be mounted at two places.
fn is_within(path: &Path, tree: &Path) -> bool {
    let inode = |path: &Path| {
        std::fs::metadata(path)
            .map(|found| (found.dev(), found.ino()))
            .ok()
    };
    let (Some(tree), Ok(real)) = (inode(tree), root::real_path(path)) else {
        // A path that cannot be resolved cannot be read or written either.
        return false;
    };
    real.ancestors().any(|place| inode(place) == Some(tree))
}
