//! `Target`: the directory to convert, and its parent: the checks before a tree beside it can replace it.

use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;

/// A directory, locked against other conversions for as long as this lives.
pub struct Target {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    /// The directory itself.
    pub top: Dir,
    pub stat: Stat,
    /// The ID of its mount.
    pub mount: Option<u64>,
}

impl Target {
    /// Opens and locks a directory. Errors: it cannot be exchanged with another; another conversion holds
    /// the lock.
    pub fn open(directory: &Path) -> Result<Target> {
        let opening = |error: std::io::Error| {
            Error::system(format!("opening {}", directory.display()), error)
        };
        let path = directory.canonicalize().map_err(opening)?;
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return refuse("/ is the root directory");
        };
        let above = Dir::open(above).map_err(opening)?;
        let name = name.as_encoded_bytes();
        let top = above
            .open_beneath(&EntryPath::root().join(name)?)
            .map_err(opening)?;
        lock(&top)?;
        let stat = top.stat_self().map_err(opening)?;
        let around = above.stat_self().map_err(opening)?;
        let mount = above.details(name).map_err(opening)?.mount;
        if mount != above.details(b".").map_err(opening)?.mount {
            return refuse(&format!("{} is a mount point", directory.display()));
        }
        if stat.st_dev != around.st_dev {
            let what = "is the root of a file system or of a subvolume";
            return refuse(&format!("{} {what}", directory.display()));
        }
        // Another conversion may have ended between the opening and the lock.
        let now = above.stat(name).map_err(opening)?;
        if now.is_none_or(|now| now.st_ino != stat.st_ino) {
            let what = format!("{} was replaced while it was opened", directory.display());
            return Err(Error::conflict(what).hint("run it again"));
        }
        Ok(Target {
            path,
            top,
            stat,
            mount,
        })
    }
}

fn refuse<T>(what: &str) -> Result<T> {
    let what = format!("{what}: the converted tree is built beside it, and exchanged with it");
    Err(Error::unsupported(what)
        .hint("move the tree into a directory of its own on that file system, and convert that"))
}

fn lock(top: &Dir) -> Result<()> {
    match rustix::fs::flock(top, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(Error::conflict("another conversion holds the lock on it")),
        Err(errno) => Err(Error::system("locking it", errno)),
    }
}
