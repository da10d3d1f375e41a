//! `AtomicDir`: a directory that is built beside its target, and appears there complete or not at all.
//!
//! [`crate::store::pipeline`] fills it with one layer, [`crate::view::flatten`] with a merged tree, and
//! [`crate::repack::convert`] with the tree that replaces another. It is in a [`Staging`] directory, so
//! the next process that works there removes what a dead one left.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Operation, Result};
use crate::fs::root::{self, Dir};
use crate::path::EntryPath;
use crate::unpack::system;

use super::{FS, Staging, Sync, check_outside, sync_directory};

/// An unfinished directory, removed if it is dropped before it is [published](AtomicDir::publish).
pub struct AtomicDir {
    target: PathBuf,
    staging: Staging,
    /// Its content, for errors.
    what: &'static str,
}

impl AtomicDir {
    /// Starts a directory whose target is absent or empty.
    pub fn new(target: &Path, what: &'static str) -> Result<AtomicDir> {
        check_outside(target, what)?;
        check_target(target)?;
        AtomicDir::replacing(target, what)
    }

    /// Starts a directory to [exchange](AtomicDir::exchange) with an existing one.
    pub fn replacing(target: &Path, what: &'static str) -> Result<AtomicDir> {
        let staging = Staging::beside_target(target)?;
        staging
            .directory()
            .make_dir(FS.as_bytes())
            .map_err(opening)?;
        let target = target.into();
        Ok(AtomicDir {
            target,
            staging,
            what,
        })
    }

    /// The directory to fill.
    pub fn directory(&self) -> Result<Dir> {
        self.inner().map_err(opening)
    }

    fn inner(&self) -> io::Result<Dir> {
        let name = EntryPath::parse(FS.as_bytes())?;
        self.staging.directory().open_beneath(&name)
    }

    /// Writes its content to disk.
    pub fn sync(&self, sync: Sync) -> Result<()> {
        self.staging.sync(sync)
    }

    /// Renames it to its target; the rename replaces an empty directory and nothing else.
    pub fn publish(self, sync: Sync) -> Result<()> {
        let AtomicDir { target, what, .. } = &self;
        let renaming = |error: io::Error| {
            let text = format!("renaming the {what} to {}", target.display());
            Error::system(text, error).during(Operation::Publish)
        };
        self.rename(RenameFlags::empty(), sync).map_err(renaming)?;
        sync_directory(self.staging.parent(), sync)
            .map_err(|error| Error::system(format!("writing the {what}'s name to disk"), error))
    }

    /// Exchanges it with its target in one step, and removes the old directory, which must be the inode
    /// `old`. On an error the old tree still exists, under its name or in the staging directory, unless
    /// its removal failed.
    pub fn exchange(self, old: &Stat, sync: Sync) -> Result<()> {
        let target = self.target.display();
        self.swap(sync)?;
        match self.settle_exchange(old, sync) {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("{target} was replaced while it was read");
                return Err(Error::conflict(what).hint("run it again"));
            }
            Err(error) => {
                // The tree in the staging directory may be the only one on disk.
                std::mem::forget(self.staging);
                return Err(error);
            }
        }
        let removing = format!("{target} is complete; removing the old one");
        self.staging.remove().map_err(|error| {
            Error::system(removing, error)
                .hint("the next conversion beside it removes what is left in .lowerdir-*")
        })
    }

    fn swap(&self, sync: Sync) -> Result<()> {
        self.rename(RenameFlags::EXCHANGE, sync).map_err(|error| {
            let (target, what) = (self.target.display(), self.what);
            let text = format!("exchanging {target} with the {what} made beside it");
            Error::system(text, error).hint(
                "this needs a local file system (ext4, xfs, btrfs, tmpfs), and DIR must not be a mount point",
            )
        })
    }

    /// Writes the exchange to disk; false if the name belonged to another directory, which has it again.
    fn settle_exchange(&self, old: &Stat, sync: Sync) -> Result<bool> {
        let what = format!("writing the {}'s name to disk", self.what);
        let syncing = |error| Error::system(&what, error);
        let found = self.staging.directory().stat(FS.as_bytes());
        if found.map_err(syncing)?.map(|stat| stat.st_ino) != Some(old.st_ino) {
            return self.swap(sync).map(|()| false);
        }
        [self.staging.directory(), self.staging.parent()]
            .iter()
            .try_for_each(|directory| sync_directory(directory, sync))
            .map_err(syncing)?;
        Ok(true)
    }

    fn rename(&self, flags: RenameFlags, sync: Sync) -> io::Result<()> {
        let from = self.staging.directory();
        match rustix::fs::renameat_with(from, FS, CWD, &self.target, flags) {
            Err(Errno::ACCESS) => self.rename_read_only(flags, sync),
            other => Ok(other?),
        }
    }

    /// Without root, a read-only directory cannot be moved, because its `..` changes: it is made writable
    /// for a moment, and so is the one that it is exchanged with.
    fn rename_read_only(&self, flags: RenameFlags, sync: Sync) -> io::Result<()> {
        let mut moved = vec![self.inner()?];
        if flags.contains(RenameFlags::EXCHANGE) {
            moved.push(Dir::open(&self.target)?);
        }
        let mut modes = Vec::new();
        for directory in &moved {
            let mode = directory.stat_self()?.st_mode & 0o7777;
            root::set_mode(directory, mode | 0o700)?;
            modes.push(mode);
        }
        let from = self.staging.directory();
        let renamed = rustix::fs::renameat_with(from, FS, CWD, &self.target, flags);
        for (directory, mode) in moved.iter().zip(modes) {
            root::set_mode(directory, mode)?;
        }
        renamed?;
        sync_directory(&moved[0], sync)
    }
}

fn opening(error: io::Error) -> Error {
    system("opening a directory beside the target", error)
}

fn check_target(target: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("{} {why}", target.display());
        Err(Error::conflict(text).hint("use a directory that is absent or empty"))
    };
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system(
            format!("looking at {}", target.display()),
            error,
        )),
        Ok(metadata) if !metadata.is_dir() => refuse("is not a directory"),
        Ok(_) => match std::fs::read_dir(target).map(|mut names| names.next().is_none()) {
            Ok(true) => Ok(()),
            Ok(false) => refuse("is not empty"),
            Err(error) => Err(Error::system(
                format!("reading {}", target.display()),
                error,
            )),
        },
    }
}
