//! `Directories`: the directories of snapshots that are not in the store, each named by a number that is
//! never reused. A directory with files in it is removed only if the caller knows that its snapshot was
//! removed: one without a record may be all that is left of a container.
//!
//! ```text
//! ROOT/                      0700
//!   format                   the number of its format, see FormatFile
//!   metadata.redb            see Database; metadata.redb.new while it is created
//!   snapshots/<id>/fs        the upperdir
//!   snapshots/<id>/work      the workdir of an active snapshot
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::{self, Dir};
use crate::path::EntryPath;
use crate::store::{FormatFile, Sync, check_outside, sync_directory};

use super::layers::check_spelling;
use super::snapshot::Usage;
use super::usage;

/// Of the root: of the tables in the database, and of what is in directories.
const FORMAT: u32 = 1;
const SNAPSHOTS: &str = "snapshots";
const FS: &str = "fs";
const WORK: &str = "work";

/// The directories of snapshots.
#[derive(Debug)]
pub struct Directories {
    path: PathBuf,
    root: Dir,
    directory: Dir,
    sync: Sync,
}

impl Directories {
    /// Opens them in a root directory that only this user may enter, and creates what is missing. Errors: the
    /// root has another format, or something from before there were formats.
    pub fn open(root: &Path, sync: Sync) -> Result<Directories> {
        check_outside(root, "the root")?;
        let top = open_root(root).map_err(|error| failed(root, error))?;
        check_format(root, &top)?;
        let open = || -> io::Result<Directories> {
            let path = root.join(SNAPSHOTS);
            match top.make_dir(SNAPSHOTS.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let path = path.canonicalize()?;
            check_spelling(&path, "--root")?;
            let directory = Dir::open(&path)?;
            Ok(Directories {
                path,
                root: top,
                directory,
                sync,
            })
        };
        open().map_err(|error| failed(root, error))
    }

    /// Keeps other processes from setting up the root, until it is dropped.
    pub fn lock(&self) -> Result<OwnedFd> {
        let lock = || -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let own = rustix::fs::openat(&self.root, ".", flags, Mode::empty())?;
            rustix::fs::flock(&own, FlockOperation::LockExclusive)?;
            Ok(own)
        };
        lock().map_err(|error| Error::system("locking the root", error))
    }

    /// The directory that holds them.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The upperdir of a snapshot.
    pub fn fs(&self, id: u64) -> PathBuf {
        self.path.join(id.to_string()).join(FS)
    }

    /// Its workdir.
    pub fn work(&self, id: u64) -> PathBuf {
        self.path.join(id.to_string()).join(WORK)
    }

    /// Creates the directory of a snapshot, and lets the caller set up its upperdir. Everything is on disk
    /// before this returns. It may replace a directory whose creation was not committed. Errors: anything
    /// else is in its place.
    pub fn make(
        &self,
        id: u64,
        with_work: bool,
        set_up: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let name = id.to_string();
        let failed = |error| Error::system(format!("making directory {name}"), error);
        let make = || -> io::Result<(Dir, Dir)> {
            self.remove_empty(&name)?;
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

    /// Writes the files of a snapshot to disk.
    pub fn sync(&self, id: u64) -> Result<()> {
        let sync = || -> io::Result<()> {
            match self.sync {
                Sync::Fs => Ok(rustix::fs::syncfs(self.own(id)?)?),
                Sync::None => Ok(()),
            }
        };
        sync().map_err(|error| Error::system("writing the snapshot to disk", error))
    }

    /// The disk usage of a snapshot.
    pub fn usage(&self, id: u64) -> Result<Usage> {
        let fs = EntryPath::parse(FS.as_bytes())?;
        let usage = || -> io::Result<Usage> { usage::of(&self.own(id)?.open_beneath(&fs)?) };
        usage().map_err(|error| Error::system(format!("counting what is in {id}"), error))
    }

    /// Removes the directory of a snapshot. No error if it is absent.
    pub fn remove(&self, id: u64) -> Result<()> {
        self.remove_name(&id.to_string())
    }

    /// The numbers of the existing directories.
    pub fn ids(&self) -> Result<BTreeSet<u64>> {
        Ok(self.names()?.into_values().collect())
    }

    /// Every existing name, with the number of its snapshot.
    pub fn names(&self) -> Result<BTreeMap<String, u64>> {
        let names = self.directory.names();
        let names = names.map_err(|error| Error::system("listing the snapshots", error))?;
        // Other names do not belong to snapshots.
        let ours = |name: &[u8]| {
            let name = std::str::from_utf8(name).ok()?;
            Some((name.to_string(), name.parse().ok()?))
        };
        Ok(names.iter().filter_map(|name| ours(name)).collect())
    }

    /// Whether a snapshot has a directory.
    pub fn has(&self, id: u64) -> Result<bool> {
        Ok(self.names()?.into_values().any(|there| there == id))
    }

    /// Removes a directory that was never used, because it is empty. Returns whether it was one. No error
    /// if it is absent.
    pub fn remove_empty(&self, name: &str) -> io::Result<bool> {
        let path = |path: String| EntryPath::parse(path.as_bytes());
        let Some(own) = self.directory.find_beneath(&path(name.into())?)? else {
            return Ok(true);
        };
        for inside in own.names()? {
            let is_part = [FS.as_bytes(), WORK.as_bytes()].contains(&&*inside);
            let part = format!("{name}/{}", String::from_utf8_lossy(&inside));
            if !is_part
                || !self
                    .directory
                    .open_beneath(&path(part)?)?
                    .names()?
                    .is_empty()
            {
                return Ok(false);
            }
        }
        // A file that appears in it now keeps it.
        for part in [FS, WORK] {
            allow_absent(rustix::fs::unlinkat(&own, part, AtFlags::REMOVEDIR))?;
        }
        allow_absent(rustix::fs::unlinkat(
            &self.directory,
            name,
            AtFlags::REMOVEDIR,
        ))?;
        Ok(true)
    }

    /// Removes a directory by its name.
    pub fn remove_name(&self, name: &str) -> Result<()> {
        self.directory
            .remove_tree(name.as_bytes())
            .map_err(|error| Error::system(format!("removing directory {name}"), error))
    }

    fn own(&self, id: u64) -> io::Result<Dir> {
        let name = id.to_string();
        self.directory
            .open_beneath(&EntryPath::parse(name.as_bytes())?)
    }
}

fn allow_absent(done: rustix::io::Result<()>) -> io::Result<()> {
    match done {
        Err(errno) if errno != Errno::NOENT => Err(errno.into()),
        _ => Ok(()),
    }
}

fn open_root(root: &Path) -> io::Result<Dir> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(root)?;
    let top = Dir::open(root)?;
    root::set_mode(&top, 0o700)?;
    Ok(top)
}

fn check_format(root: &Path, top: &Dir) -> Result<()> {
    let format = FormatFile {
        directory: top,
        what: format!("the root {}", root.display()),
        number: FORMAT,
    };
    let names = top.names().map_err(|error| failed(root, error))?;
    let is_used = names.iter().any(|name| {
        let name = &**name;
        name == SNAPSHOTS.as_bytes() || name.starts_with(b"metadata.redb")
    });
    if !format.is_there()? {
        match is_used {
            true => return Err(format.missing()),
            false => format.write()?,
        }
    }
    format.clean(&names);
    Ok(())
}

fn failed(root: &Path, error: io::Error) -> Error {
    let error = Error::system(format!("opening the root {}", root.display()), error);
    error.hint("--root DIR names another directory")
}
