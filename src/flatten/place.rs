//! `Place`: a directory in the making, beside the one that it is to become: whole or absent.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::path::EntryPath;
use crate::root::{self, Dir};
use crate::store::Sync;
use crate::unpack::system;

const TREE: &str = "tree";

/// Removed when it is dropped before it was [published](Place::publish).
pub struct Place {
    target: PathBuf,
    beside: PathBuf,
    outer: Dir,
    _staging: TempDir,
}

impl Place {
    /// Starts one for a directory that is absent or empty.
    pub fn new(target: &Path) -> Result<Place> {
        check_target(target)?;
        let beside = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let making = |error| {
            system(
                &format!("making a directory in {}", beside.display()),
                error,
            )
        };
        let staging = tempfile::Builder::new()
            .prefix(".lowerdir-")
            .tempdir_in(beside)
            .map_err(making)?;
        let outer = Dir::open(staging.path()).map_err(making)?;
        remove_inherited_acls(&outer).map_err(making)?;
        outer.make_dir(TREE.as_bytes()).map_err(making)?;
        Ok(Place {
            target: target.into(),
            beside: beside.into(),
            outer,
            _staging: staging,
        })
    }

    /// The directory to fill.
    pub fn directory(&self) -> Result<Dir> {
        self.outer
            .open_beneath(&EntryPath::parse(TREE.as_bytes())?)
            .map_err(|error| system("opening a directory beside the target", error))
    }

    /// Gives it its name: the rename replaces an empty directory and nothing else.
    pub fn publish(self, sync: Sync) -> Result<()> {
        if sync == Sync::Fs {
            rustix::fs::syncfs(&self.outer)
                .map_err(|errno| Error::system("writing the tree to disk", errno))?;
        }
        let renaming = |error: io::Error| {
            let text = format!("renaming the tree to {}", self.target.display());
            Error::system(text, error)
                .hint("the directory must be absent or empty, and no mount point")
        };
        let rename = || rustix::fs::renameat(&self.outer, TREE, rustix::fs::CWD, &self.target);
        match rename() {
            Err(Errno::ACCESS) => {
                // Without root, a directory that may not be written cannot be moved either.
                let tree = self.directory()?;
                let mode = tree.stat_self().map_err(renaming)?.st_mode & 0o7777;
                root::set_mode(&tree, mode | 0o700).map_err(renaming)?;
                rename().map_err(|errno| renaming(errno.into()))?;
                root::set_mode(&tree, mode).map_err(renaming)?;
            }
            done => done.map_err(|errno| renaming(errno.into()))?,
        }
        if sync == Sync::Fs {
            let parent = Dir::open(&self.beside).map_err(renaming)?;
            rustix::fs::fsync(&parent).map_err(|errno| renaming(errno.into()))?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // tempfile removes by path; this removes what an image may have made, by descriptor.
        let _ = self.outer.remove_children();
    }
}

/// ACLs of the directory around it would go on to everything made in it.
fn remove_inherited_acls(directory: &Dir) -> io::Result<()> {
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        match rustix::fs::fremovexattr(directory, acl) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn check_target(target: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("{} {why}", target.display());
        Err(Error::in_the_way(text).hint("name a directory that is absent or empty"))
    };
    let looking = |error| Error::system(format!("looking at {}", target.display()), error);
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(looking(error)),
        Ok(metadata) if !metadata.is_dir() => refuse("is no directory"),
        Ok(_) => match std::fs::read_dir(target).map_err(looking)?.next() {
            None => Ok(()),
            Some(_) => refuse("is not empty"),
        },
    }
}
