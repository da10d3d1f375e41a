//! `Store`: the home of layer directories, each complete or absent.
//!
//! A layer is unpacked and settled in a staging directory, which its owner locks; it is written to disk,
//! and then renamed to its chain ID. That name is the only proof that a layer is complete.
//! `pipeline` fills the store, and the command line looks up layers in it.
//!
//! A [`Store`] may consist of several stores: a layer is looked up in each of them, in order, and at most
//! one of them is written to. The others are only read (see `opening`).
//!
//! ```text
//! STORE/                                 0700
//!   format                               the number of its format, see FormatFile
//!   layers/sha256/<chain ID>/fs/         the lowerdir
//!   layers/sha256/<chain ID>/layer.json  see Record
//!   layers/sha256/<chain ID>/tree.zst    the listing of the lowerdir, see the module `listing`
//!   images/sha256-<digest>/image.json    see ImageRecord; manifest.json and config.json beside it
//!   images/names.json                    see the module `names`
//!   pins/<name>.json                     see Pin
//!   locks/                               locked by users of the store, see StoreLock
//!   locks/<chain ID>                     held while a layer is being unpacked
//!   l/<short>                            a symlink to a layer's fs, see ShortNames
//!   empty/1, empty/2                     the bottom of a stack with fewer than two layers
//!   staging/<random>/<number>/           an unfinished layer
//! ```

mod atomic_dir;
mod contents;
mod format;
mod gc;
mod links;
pub(crate) mod listing;
mod locks;
mod names;
mod opening;
mod outside;
mod pins;
pub(crate) mod pipeline;
mod record;
pub(crate) mod stack;
mod staging;
mod store_lock;
pub(crate) mod unpack;
mod verify;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::canonical;
use crate::digest::Digest;
use crate::error::{Advice, Error, Result};
use crate::fs::root::{self, Dir};
use crate::path::EntryPath;

pub(crate) use atomic_dir::AtomicDir;
pub(crate) use format::{FormatFile, is_unfinished};
pub use gc::{Removal, Removing, prune, remove_image};
pub(crate) use links::NAME_ELSEWHERE;
pub(crate) use outside::check_outside;
pub use pins::Pin;
pub use pipeline::Unpacked;
pub use record::{ImageRecord, Record};
pub(crate) use staging::{StagedLayer, Staging};
pub use store_lock::StoreLock;
pub(crate) use store_lock::{EXCLUSIVE, lock};
pub use verify::{Discrepancy, Verifier, repair};

use record::Sealed;

const FS: &str = "fs";
const EMPTY: [&str; 2] = ["empty/1", "empty/2"];
/// Blobs of a registry that have not all arrived.
const DOWNLOADS: &str = "downloads";
const LAYER_JSON: &str = "layer.json";
const TREE_ZST: &str = "tree.zst";

/// Whether to wait until a layer is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sync {
    /// Wait for the file system: the layer survives a power cut.
    #[default]
    Fs,
    /// Do not wait: for stores that need not survive a power cut.
    None,
}

/// A directory of unpacked layers, perhaps with other stores to read. Calls change this directory alone,
/// unless they say otherwise.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    directory: Dir,
    is_writable: bool,
    /// The stores that come first in lookups.
    before: Vec<Store>,
    /// The stores that come last in lookups.
    after: Vec<Store>,
}

/// A complete layer of the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredLayer {
    /// The lowerdir.
    pub path: PathBuf,
    /// The lowerdir, open.
    pub(crate) directory: Arc<Dir>,
    /// Its record.
    pub record: Record,
}

impl Store {
    fn open_dir(&self, name: &str) -> Result<Dir> {
        self.directory
            .open_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(|error| Error::system(format!("opening {name} in the store"), error))
    }

    /// Opens a directory, if it exists: a copied medium may lack empty directories.
    fn find_dir(&self, name: &str) -> Result<Option<Dir>> {
        self.directory
            .find_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(|error| Error::system(format!("opening {name} in the store"), error))
    }

    /// The absolute path of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the caller may write to it, and it is not on a read-only medium.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// All stores that this one consists of, in the order of lookups; it is one of them.
    pub fn each(&self) -> impl Iterator<Item = &Store> {
        let this = std::iter::once(self);
        self.before.iter().chain(this).chain(&self.after)
    }

    /// Adds to an error that it is about this store's file system.
    pub(crate) fn told(&self, error: Error) -> Error {
        root::told(error, &self.directory)
    }

    /// Errors: it cannot be written to.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.is_writable {
            true => Ok(()),
            false => {
                let text = format!("the store {} can only be read", self.path.display());
                let hint = Advice::WritableStore;
                Err(Error::conflict(text).hint(hint))
            }
        }
    }

    /// Two directories that are always empty, for stacks with too few layers.
    pub(crate) fn empty_directories(&self) -> [PathBuf; 2] {
        // A copied medium may lack them.
        let has_them = |store: &&Store| EMPTY.iter().all(|name| store.path.join(name).is_dir());
        let store = self.each().find(has_them).unwrap_or(self);
        EMPTY.map(|name| store.path.join(name))
    }

    /// The layer with a chain ID, from the first store that has it. Errors: it is damaged in every store
    /// that has it.
    pub fn layer(&self, chain_id: &Digest) -> Result<Option<StoredLayer>> {
        let mut damaged = None;
        for store in self.each() {
            match store.own_layer(chain_id) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// The layer with a chain ID, if it is in this store itself. Errors: it is damaged.
    pub(crate) fn own_layer(&self, chain_id: &Digest) -> Result<Option<StoredLayer>> {
        let repair = Advice::Repair;
        self.open_layer(chain_id)
            .map_err(|error| match error.is_system_fault() {
                true => error,
                false => error.hint(repair),
            })
    }

    fn open_layer(&self, chain_id: &Digest) -> Result<Option<StoredLayer>> {
        let name = layer_name(chain_id);
        let opening = |error| Error::system("opening its directory", error);
        let Some(directory) = self
            .directory
            .find_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(opening)?
        else {
            return Ok(None);
        };
        let record = read_json(&directory, LAYER_JSON)?;
        let fs = directory
            .open_beneath(&EntryPath::parse(FS.as_bytes())?)
            .map_err(opening)?;
        Ok(Some(StoredLayer {
            path: self.path.join(name).join(FS),
            directory: Arc::new(fs),
            record,
        }))
    }

    /// The file with the listing of an existing layer: see [`crate::store::listing`].
    pub(crate) fn listing(&self, chain_id: &Digest) -> io::Result<File> {
        let path = format!("{}/{TREE_ZST}", layer_name(chain_id));
        self.directory
            .open_file(&EntryPath::parse(path.as_bytes())?)
    }

    /// Makes a staging directory, which belongs to this process. Errors: the store can only be read.
    pub(crate) fn stage(&self) -> Result<Staging> {
        self.check_writable()?;
        staging::stage(self)
    }

    /// Writes layers of other processes to disk: their names, and unless they are `synced` their content.
    /// Errors: the store can only be read.
    pub(crate) fn sync(&self, sync: Sync, synced: bool) -> Result<()> {
        self.check_writable()?;
        if sync == Sync::None {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            if !synced {
                rustix::fs::syncfs(&self.directory)?;
            }
            for name in ["layers/sha256", "layers/sha512"] {
                let layers = EntryPath::parse(name.as_bytes())?;
                sync_directory(self.directory.open_beneath(&layers)?, sync)?;
            }
            Ok(())
        };
        write().map_err(|error| Error::system("writing the store to disk", error))
    }
}

fn layer_name(chain_id: &Digest) -> String {
    // The chain ID of a lowest layer is its diff ID, which may be sha512: these have their own directory.
    format!("layers/{}/{}", chain_id.algorithm().name(), chain_id.hex())
}

/// Reads a record. Errors: it was changed since it was written.
fn read_json<T: DeserializeOwned>(directory: &Dir, name: &str) -> Result<T> {
    let read = || -> io::Result<T> {
        let mut file = directory.open_file(&EntryPath::parse(name.as_bytes())?)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(record::unsealed(&text)?)
    };
    read().map_err(|error| {
        let doing = format!("reading {name}");
        match error.raw_os_error() {
            Some(_) => Error::system(doing, error),
            None => Error::conflict(format!("{doing}: {error}")),
        }
    })
}

fn write_json(
    directory: &Dir,
    name: &str,
    record: &impl serde::Serialize,
    sync: Sync,
) -> io::Result<()> {
    let mut file = directory.make_file(name.as_bytes())?;
    file.write_all(&canonical::pretty(&Sealed::new(record)?)?)?;
    match sync {
        Sync::Fs => file.sync_all(),
        Sync::None => Ok(()),
    }
}

/// Writes the names in a directory to disk.
pub(crate) fn sync_directory(directory: impl AsFd, sync: Sync) -> io::Result<()> {
    match sync {
        Sync::Fs => Ok(rustix::fs::fsync(directory)?),
        Sync::None => Ok(()),
    }
}
