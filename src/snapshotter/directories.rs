//! `Directories`: what snapshots that have a directory keep in it. Named by a number that only one
//! snapshot ever has. What is in a directory is removed only for a snapshot that the caller knows to
//! be removed: one that no record explains may be all that is left of a container.
//!
//! ```text
//! ROOT/                      0700
//!   format                   the number of its format, see FormatFile
//!   metadata.redb            see Database; metadata.redb.new in the making
//!   snapshots/<id>/fs        what was written to the snapshot
//!   snapshots/<id>/work      overlayfs's own, of an active one
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
use super::{removal, usage};

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
    /// Opens them beneath a root that only this user may enter, and makes what is not there. Errors: the
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

    /// Keeps other processes from setting the root up, until it is dropped.
    pub fn lock(&self) -> Result<OwnedFd> {
        let lock = || -> io::Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let own = rustix::fs::openat(&self.root, ".", flags, Mode::empty())?;
            rustix::fs::flock(&own, FlockOperation::LockExclusive)?;
            Ok(own)
        };
        lock().map_err(|error| Error::system("locking the root", error))
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
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
    /// it is on disk before this returns. One of a change that was not committed may be in its place;
    /// errors: something else is.
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

    /// Every name that is there, with the number of the snapshot that it belongs to.
    pub fn names(&self) -> Result<BTreeMap<String, u64>> {
        let names = self.directory.names();
        let names = names.map_err(|error| Error::system("listing the snapshots", error))?;
        // What has another name is not ours.
        let ours = |name: &[u8]| {
            let id = removal::id_of(name)?;
            Some((String::from_utf8_lossy(name).into_owned(), id))
        };
        Ok(names.iter().filter_map(|name| ours(name)).collect())
    }

    /// Whether anything of a snapshot is there.
    pub fn has(&self, id: u64) -> Result<bool> {
        Ok(self.names()?.into_values().any(|there| there == id))
    }

    /// Removes the directory of a snapshot that nobody has used yet, and says whether it was one:
    /// nothing is in it. Absent is fine.
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
        // What comes into it from now on keeps it.
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

    /// Removes something by its name.
    pub fn remove_name(&self, name: &str) -> Result<()> {
        removal::remove(&self.directory, name)
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
