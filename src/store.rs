//! `Store`: where layer directories live, and how they get there whole or not at all.
//!
//! A layer is unpacked and settled in a staging directory, which its owner locks; it is made
//! durable, and then renamed to the name of its chain ID. That name is the only proof that a
//! layer is complete. `pipeline` fills the store, the command line looks layers up in it.
//!
//! Several stores may stand behind one [`Store`]: a layer is looked for in each of them, in order,
//! and one of them is written to, at most. The others are only read (see `opening`).
//!
//! ```text
//! STORE/                                 0700
//!   format                               the number of its format, see FormatFile
//!   layers/sha256/<chain ID>/fs/         the lowerdir
//!   layers/sha256/<chain ID>/layer.json  see Record
//!   layers/sha256/<chain ID>/tree.zst    what the lowerdir holds, see the module `listing`
//!   images/sha256-<digest>.json          see ImageRecord
//!   pins/<name>.json                     see Pin
//!   locks/                               shared by who relies on what is there, see Hold
//!   locks/<chain ID>                     held while a layer is being unpacked
//!   l/<short>                            a symlink to a layer's fs, see ShortNames
//!   empty/1, empty/2                     the bottom of a stack of fewer than two layers
//!   staging/<random>/<number>/           the same as a layer's directory, in the making
//! ```

mod beside;
mod collect;
mod contents;
mod format;
mod hold;
mod links;
pub(crate) mod listing;
mod locks;
mod opening;
mod outside;
mod pins;
pub(crate) mod pipeline;
mod record;
pub(crate) mod stack;
mod staging;
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
use crate::error::{Error, Result};
use crate::fs::root::{self, Dir};
use crate::path::EntryPath;

pub(crate) use beside::Beside;
pub use collect::{Removal, Removing, prune, remove_image};
pub(crate) use format::{FormatFile, is_unfinished};
pub use hold::Hold;
pub(crate) use hold::{ALONE, lock};
pub(crate) use links::NAME_ELSEWHERE;
pub(crate) use outside::check_outside;
pub use pins::Pin;
pub use pipeline::Unpacked;
pub use record::{ImageRecord, Record};
pub(crate) use staging::{StagedLayer, Staging};
pub use verify::{Change, Verifier, repair};

use record::Sealed;

const FS: &str = "fs";
const EMPTY: [&str; 2] = ["empty/1", "empty/2"];
const LAYER_JSON: &str = "layer.json";
const TREE_ZST: &str = "tree.zst";

/// When a layer counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sync {
    /// Once the file system has it on disk: it survives a power cut.
    #[default]
    Fs,
    /// At once: for stores that need not survive one.
    None,
}

/// A directory that holds unpacked layers, with others that are read beside it. What a call does, it
/// does to this directory alone, unless it says otherwise.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    directory: Dir,
    is_writable: bool,
    /// Those that are looked into first.
    before: Vec<Store>,
    /// Those that are looked into last.
    after: Vec<Store>,
}

/// A complete layer of the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredLayer {
    /// The lowerdir.
    pub path: PathBuf,
    /// The same, open.
    pub(crate) directory: Arc<Dir>,
    /// What it is.
    pub record: Record,
}

impl Store {
    fn open_dir(&self, name: &str) -> Result<Dir> {
        self.directory
            .open_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(|error| Error::system(format!("opening {name} in the store"), error))
    }

    /// A medium may lack directories that were empty.
    fn find_dir(&self, name: &str) -> Result<Option<Dir>> {
        self.directory
            .find_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(|error| Error::system(format!("opening {name} in the store"), error))
    }

    /// Where the store is: an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be written to: it is on no read-only medium, and the caller may.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// All stores that stand behind this one, in the order in which they are looked into; it is one
    /// of them.
    pub fn each(&self) -> impl Iterator<Item = &Store> {
        let this = std::iter::once(self);
        self.before.iter().chain(this).chain(&self.after)
    }

    /// Says of an error that it was about this store's file system.
    pub(crate) fn told(&self, error: Error) -> Error {
        root::told(error, &self.directory)
    }

    /// Errors: it cannot be written to.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.is_writable {
            true => Ok(()),
            false => {
                let text = format!("the store {} can only be read", self.path.display());
                let hint = "--store DIR before or after it names one that can be written to";
                Err(Error::conflict(text).hint(hint))
            }
        }
    }

    /// Two directories that are always empty, for stacks of too few layers.
    pub(crate) fn empty_directories(&self) -> [PathBuf; 2] {
        // A medium may have come without them.
        let has_them = |store: &&Store| EMPTY.iter().all(|name| store.path.join(name).is_dir());
        let store = self.each().find(has_them).unwrap_or(self);
        EMPTY.map(|name| store.path.join(name))
    }

    /// The layer of a chain ID, from the first store that has it, if one has. Errors: it is damaged,
    /// wherever it is.
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

    /// The layer of a chain ID, if it is in this store itself. Errors: it is damaged.
    pub(crate) fn own_layer(&self, chain_id: &Digest) -> Result<Option<StoredLayer>> {
        let repair = "`lowerdir verify --repair IMAGE` unpacks it again";
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

    /// The file in which a layer that is there is listed: see [`crate::store::listing`].
    pub(crate) fn listing(&self, chain_id: &Digest) -> io::Result<File> {
        let path = format!("{}/{TREE_ZST}", layer_name(chain_id));
        self.directory
            .open_file(&EntryPath::parse(path.as_bytes())?)
    }

    /// Starts unpacking: a place that nobody else looks at. Errors: the store can only be read.
    pub(crate) fn stage(&self) -> Result<Staging> {
        self.check_writable()?;
        staging::stage(self)
    }

    /// Makes layers durable that this process did not write: their names, which another process may
    /// have given them a moment ago, and unless they are `synced` their content. Errors: the store can
    /// only be read.
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
    // A chain ID over a sha512 diff ID is that diff ID: it has a directory of its own kind.
    format!("layers/{}/{}", chain_id.algorithm().name(), chain_id.hex())
}

/// Reads a record. Errors: it is not as it was written.
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

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: impl AsFd, sync: Sync) -> io::Result<()> {
    match sync {
        Sync::Fs => Ok(rustix::fs::fsync(directory)?),
        Sync::None => Ok(()),
    }
}
