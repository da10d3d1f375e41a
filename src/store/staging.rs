//! `Staging`: layers in the making. The directory is locked as long as its owner lives, so what
//! nobody locks is rubbish, and goes when the store is opened next.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::listing;
use crate::path::EntryPath;
use crate::root::Dir;
use crate::unpack::Tree;

use super::{
    FS, LAYER_JSON, Record, Store, Sync, TREE_ZST, layer_name, sync_directory, write_json,
};

/// A locked directory in the store's `staging`; removed when dropped.
#[derive(Debug)]
pub struct Staging {
    parent: Dir,
    name: String,
    pub(super) directory: Dir,
}

/// One layer in it.
#[derive(Debug)]
pub struct StagedLayer {
    name: String,
    directory: Dir,
}

/// Makes a staging directory and locks it.
pub(super) fn stage(store: &Store) -> Result<Staging> {
    let parent = store.open_dir("staging")?;
    let making = |error| Error::system("making a staging directory", error);
    loop {
        let name = random_name().map_err(making)?;
        match parent.make_dir(name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other.map_err(making)?,
        }
        let path = EntryPath::parse(name.as_bytes())?;
        let Some(directory) = parent.find_beneath(&path).map_err(making)? else {
            continue;
        };
        // Who opens the store right now may take it for a dead one: then that one wins.
        if lock(&directory).map_err(making)? && is_there(&parent, &name).map_err(making)? {
            return Ok(Staging {
                parent,
                name,
                directory,
            });
        }
    }
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock(directory: &Dir) -> io::Result<bool> {
    match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_there(parent: &Dir, name: &str) -> io::Result<bool> {
    Ok(parent.stat(name.as_bytes())?.is_some())
}

/// Removes the staging directories that nobody holds a lock on.
pub(super) fn remove_dead(staging: &Dir) -> io::Result<()> {
    for name in staging.names()? {
        let path = EntryPath::parse(&name)?;
        if let Some(directory) = staging.find_beneath(&path)?
            && lock(&directory)?
        {
            staging.remove_tree(&name)?;
        }
    }
    Ok(())
}

impl Staging {
    /// A new place for a layer.
    pub fn layer(&self, number: usize) -> Result<StagedLayer> {
        let name = number.to_string();
        let make = || -> io::Result<Dir> {
            self.directory.make_dir(name.as_bytes())?;
            let layer = self
                .directory
                .open_beneath(&EntryPath::parse(name.as_bytes())?)?;
            layer.make_dir(FS.as_bytes())?;
            Ok(layer)
        };
        let directory =
            make().map_err(|error| Error::system("making a directory for it", error))?;
        Ok(StagedLayer { name, directory })
    }

    /// Removes it now, and says whether that went well.
    pub(super) fn remove(self) -> io::Result<()> {
        self.parent.remove_tree(self.name.as_bytes())
    }

    /// Makes all that was staged durable. The descriptor is older than the first write, so it
    /// reports every write that failed (`syncfs(2)`).
    pub fn sync(&self, sync: Sync) -> Result<()> {
        match sync {
            Sync::None => Ok(()),
            Sync::Fs => rustix::fs::syncfs(&self.directory)
                .map_err(|errno| Error::system("writing the layers to disk", errno)),
        }
    }

    /// Gives a layer its final name. If another process was first, its layer stands: it is the
    /// same by name, and this one goes with the staging directory. A layer that `replaces` a
    /// damaged one stands instead, and that one goes.
    pub fn commit(
        &self,
        store: &Store,
        layer: StagedLayer,
        chain_id: &Digest,
        replaces: bool,
        sync: Sync,
    ) -> Result<()> {
        let name = layer_name(chain_id);
        let rename = |flags| {
            let (staging, store) = (&self.directory, &store.directory);
            rustix::fs::renameat_with(staging, &*layer.name, store, &*name, flags)
        };
        let exchanged = match replaces {
            true => rename(RenameFlags::EXCHANGE),
            false => Err(Errno::NOENT),
        };
        let renamed = match exchanged {
            Err(Errno::NOENT) => match rename(RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => Ok(()),
                other => other,
            },
            other => other,
        };
        renamed.map_err(|errno| Error::system("giving the layer its final name", errno))?;
        let directory = store.open_dir(name.rsplit_once('/').expect("it has three parts").0)?;
        sync_directory(directory.as_fd(), sync)
            .map_err(|error| Error::system("writing the layer's name to disk", error))
    }
}

impl StagedLayer {
    /// The layer's own directory, opened once more.
    pub fn fs(&self) -> Result<Dir> {
        self.directory
            .open_beneath(&EntryPath::parse(FS.as_bytes())?)
            .map_err(|error| Error::system("opening the layer's directory", error))
    }

    /// Writes its listing beside it, and returns the tree digest.
    pub fn list(&self, tree: &Tree, selinux: bool) -> Result<Digest> {
        let file = self
            .directory
            .make_file(TREE_ZST.as_bytes())
            .map_err(|error| Error::system("making its listing", error))?;
        listing::write(self.fs()?, tree, selinux, file)
    }

    /// Writes down what it is; [`Staging::sync`] makes it durable with the rest.
    pub fn record(&self, record: &Record) -> Result<()> {
        write_json(&self.directory, LAYER_JSON, record, Sync::None)
            .map_err(|error| Error::system("writing layer.json", error))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now, the next one to open the store removes.
        let _ = self.parent.remove_tree(self.name.as_bytes());
    }
}
