//! `Beside`: a directory of the caller's in the making, beside the one that it is to become: whole
//! or absent.
//!
//! [`crate::pipeline`] fills it with one layer, [`crate::flatten`] with a merged tree. It lies in a
//! [`Staging`] directory, so what a dead process left is removed by the next one in that place.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, Operation, Result};
use crate::path::EntryPath;
use crate::root::{self, Dir};
use crate::unpack::system;

use super::{FS, Staging, Sync, check_outside, sync_directory};

/// Removed when it is dropped before it was [published](Beside::publish).
pub struct Beside {
    target: PathBuf,
    staging: Staging,
    /// What it holds, for errors.
    what: &'static str,
}

impl Beside {
    /// Starts one for a directory that is absent or empty.
    pub fn new(target: &Path, what: &'static str) -> Result<Beside> {
        check_outside(target, what)?;
        check_target(target)?;
        let staging = Staging::beside_target(target)?;
        staging
            .directory()
            .make_dir(FS.as_bytes())
            .map_err(opening)?;
        let target = target.into();
        Ok(Beside {
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

    /// Makes what is in it durable.
    pub fn sync(&self, sync: Sync) -> Result<()> {
        self.staging.sync(sync)
    }

    /// Gives it its name: the rename replaces an empty directory and nothing else.
    pub fn publish(self, sync: Sync) -> Result<()> {
        let Beside { target, what, .. } = &self;
        let renaming = |error: io::Error| {
            let text = format!("renaming the {what} to {}", target.display());
            Error::system(text, error).during(Operation::Publish)
        };
        match self.rename() {
            Ok(()) => {}
            Err(Errno::ACCESS) => self.rename_read_only(sync).map_err(renaming)?,
            Err(errno) => return Err(renaming(errno.into())),
        }
        sync_directory(self.staging.parent(), sync)
            .map_err(|error| Error::system(format!("writing the {what}'s name to disk"), error))
    }

    fn rename(&self) -> rustix::io::Result<()> {
        let from = self.staging.directory();
        rustix::fs::renameat(from, FS, rustix::fs::CWD, &self.target)
    }

    /// Without root, a directory that may not be written cannot be moved either, since its `..`
    /// changes: it is made writable for that moment.
    fn rename_read_only(&self, sync: Sync) -> io::Result<()> {
        let directory = self.inner()?;
        let mode = directory.stat_self()?.st_mode & 0o7777;
        root::set_mode(&directory, mode | 0o700)?;
        self.rename()?;
        root::set_mode(&directory, mode)?;
        sync_directory(&directory, sync)
    }
}

fn opening(error: io::Error) -> Error {
    system("opening a directory beside the target", error)
}

fn check_target(target: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let text = format!("{} {why}", target.display());
        Err(Error::in_the_way(text).hint("name a directory that is absent or empty"))
    };
    match std::fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system(
            format!("looking at {}", target.display()),
            error,
        )),
        Ok(metadata) if !metadata.is_dir() => refuse("is no directory"),
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
