//! `Directories`: what snapshots that have a directory keep in it. Named by a number that only one
//! snapshot ever has: what the database does not know of is rubbish.
//!
//! ```text
//! ROOT/                      0700
//!   metadata.redb            see Database
//!   snapshots/<id>/fs        what was written to the snapshot
//!   snapshots/<id>/work      overlayfs's own, of an active one
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::path::EntryPath;
use crate::root::{self, Dir};
use crate::store::{Sync, check_outside, sync_directory};

use super::layers::check_spelling;
use super::snapshot::Usage;
use super::{removal, usage};

const SNAPSHOTS: &str = "snapshots";
const FS: &str = "fs";
const WORK: &str = "work";

/// The directories of snapshots.
#[derive(Debug)]
pub struct Directories {
    path: PathBuf,
    directory: Dir,
    sync: Sync,
}

impl Directories {
    /// Opens them beneath a root that only this user may enter, and makes what is not there.
    pub fn open(root: &Path, sync: Sync) -> Result<Directories> {
        check_outside(root, "the root")?;
        let open = || -> io::Result<Directories> {
            let path = root.join(SNAPSHOTS);
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)?;
            let top = Dir::open(root)?;
            root::set_mode(&top, 0o700)?;
            let path = path.canonicalize()?;
            check_spelling(&path, "--root")?;
            let directory = Dir::open(&path)?;
            Ok(Directories {
                path,
                directory,
                sync,
            })
        };
        open().map_err(|error| {
            let error = Error::system(format!("opening the root {}", root.display()), error);
            error.hint("--root DIR names another directory")
        })
    }

    /// The directory that takes what is written to a snapshot.
    pub fn fs(&self, id: u64) -> PathBuf {
        self.path.join(id.to_string()).join(FS)
    }

    /// Its workdir.
    pub fn work(&self, id: u64) -> PathBuf {
        self.path.join(id.to_string()).join(WORK)
    }

    /// Makes the directory of a snapshot, and has the part for what is written to it set up. All of
    /// it is on disk before this returns. One of a change that was not committed may be in its place.
    pub fn make(
        &self,
        id: u64,
        with_work: bool,
        set_up: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let name = id.to_string();
        let failed = |error| Error::system(format!("making directory {name}"), error);
        let make = || -> io::Result<(Dir, Dir)> {
            removal::remove(&self.directory, &name)?;
            self.directory.make_dir(name.as_bytes())?;
            let own = self.own(id)?;
            own.make_dir(FS.as_bytes())?;
            let fs = own.open_beneath(&EntryPath::parse(FS.as_bytes())?)?;
            root::set_mode(&fs, 0o755)?;
            if with_work {
                own.make_dir(WORK.as_bytes())?;
            }
            Ok((own, fs))
        };
        let (own, fs) = make().map_err(failed)?;
        set_up(&self.fs(id))?;
        for directory in [&fs, &own, &self.directory] {
            sync_directory(directory, self.sync).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes what was written to a snapshot durable.
    pub fn sync(&self, id: u64) -> Result<()> {
        let sync = || -> io::Result<()> {
            match self.sync {
                Sync::Fs => Ok(rustix::fs::syncfs(self.own(id)?)?),
                Sync::None => Ok(()),
            }
        };
        sync().map_err(|error| Error::system("writing the snapshot to disk", error))
    }

    /// What a snapshot takes of the disk.
    pub fn usage(&self, id: u64) -> Result<Usage> {
        let fs = EntryPath::parse(FS.as_bytes())?;
        let usage = || -> io::Result<Usage> { usage::of(&self.own(id)?.open_beneath(&fs)?) };
        usage().map_err(|error| Error::system(format!("counting what is in {id}"), error))
    }

    /// Removes the directory of a snapshot. Absent is fine.
    pub fn remove(&self, id: u64) -> Result<()> {
        self.remove_name(&id.to_string())
    }

    /// The numbers of the directories that are there.
    pub fn ids(&self) -> Result<BTreeSet<u64>> {
        Ok(self.names()?.into_values().collect())
    }

    /// The names that belong to other snapshots than these.
    pub fn orphans(&self, known: &BTreeSet<u64>) -> Result<Vec<String>> {
        let names = self.names()?.into_iter();
        let orphans = names.filter(|(name, id)| !known.contains(id) || name.contains('.'));
        Ok(orphans.map(|(name, _)| name).collect())
    }

    /// Removes something by its name.
    pub fn remove_name(&self, name: &str) -> Result<()> {
        removal::remove(&self.directory, name)
            .map_err(|error| Error::system(format!("removing directory {name}"), error))
    }

    fn names(&self) -> Result<BTreeMap<String, u64>> {
        let names = self.directory.names();
        let names = names.map_err(|error| Error::system("listing the snapshots", error))?;
        // What has another name is not ours.
        let ours = |name: &[u8]| {
            let id = removal::id_of(name)?;
            Some((String::from_utf8_lossy(name).into_owned(), id))
        };
        Ok(names.iter().filter_map(|name| ours(name)).collect())
    }

    fn own(&self, id: u64) -> io::Result<Dir> {
        let name = id.to_string();
        self.directory
            .open_beneath(&EntryPath::parse(name.as_bytes())?)
    }
}
