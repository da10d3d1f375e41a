//! `Store`: where layer directories live, and how they get there whole or not at all.
//!
//! A layer is unpacked and settled in a staging directory, which its owner locks; it is made
//! durable, and then renamed to the name of its chain ID. That name is the only proof that a
//! layer is complete. [`crate::pipeline`] fills the store, the command line looks layers up in it.
//!
//! ```text
//! STORE/                                 0700
//!   layers/sha256/<chain ID>/fs/         the lowerdir
//!   layers/sha256/<chain ID>/layer.json  see Record
//!   layers/sha256/<chain ID>/tree.zst    what the lowerdir holds, see the module `listing`
//!   images/sha256-<digest>.json          see ImageRecord
//!   locks/                               shared by who relies on what is there, see Hold
//!   locks/<chain ID>                     held while a layer is being unpacked
//!   l/<short>                            a symlink to a layer's fs, see ShortNames
//!   empty/1, empty/2                     the bottom of a stack of fewer than two layers
//!   staging/<random>/<number>/           the same as a layer's directory, in the making
//! ```

mod beside;
mod contents;
mod hold;
mod links;
mod locks;
mod record;
mod staging;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::meta::Time;
use crate::path::EntryPath;
use crate::root::{self, Dir};

pub use beside::Beside;
pub use hold::Hold;
pub use links::{NAME_ELSEWHERE, ShortNames};
pub use locks::LayerLock;
pub use record::{ImageRecord, Record};
pub use staging::{StagedLayer, Staging};

use record::Sealed;

const FS: &str = "fs";
const EMPTY: [&str; 2] = ["empty/1", "empty/2"];
const LAYER_JSON: &str = "layer.json";
const TREE_ZST: &str = "tree.zst";

/// When a layer counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Once the file system has it on disk: it survives a power cut.
    #[default]
    Fs,
    /// At once: for stores that need not survive one.
    None,
}

/// A directory that holds unpacked layers.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    directory: Dir,
}

/// A complete layer of the store.
#[derive(Clone, Debug)]
pub struct StoredLayer {
    /// The lowerdir.
    pub path: PathBuf,
    /// The same, open.
    pub directory: Arc<Dir>,
    /// What it is.
    pub record: Record,
}

impl Store {
    /// Opens a store, and makes it if it is not there. What dead processes left in it is removed:
    /// their staging directories, and the files of their locks.
    ///
    /// Errors: a directory that other users may enter, where they could change layers or run
    /// setuid files of images ([`Kind::System`](crate::Kind::System)).
    pub fn open(path: &Path) -> Result<Store> {
        let fail = |doing: &str, error| {
            let text = format!("{doing} the store {}", path.display());
            Error::system(text, error).hint("--store DIR or LOWERDIR_STORE names another directory")
        };
        if let Err(error) = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
        {
            return Err(fail("making", error));
        }
        let path = path
            .canonicalize()
            .map_err(|error| fail("opening", error))?;
        let directory = Dir::open(&path).map_err(|error| fail("opening", error))?;
        let store = Store { path, directory };
        store.check_mode()?;
        for name in [
            "layers",
            "layers/sha256",
            "layers/sha512",
            "images",
            "staging",
            "l",
            "locks",
            "empty",
            EMPTY[0],
            EMPTY[1],
        ] {
            store.make_dir(name)?;
        }
        for name in EMPTY {
            // Like the root that no layer describes (rules N2, I2).
            let directory = store.open_dir(name)?;
            let names = directory
                .names()
                .map_err(|error| fail("looking into", error))?;
            if !names.is_empty() {
                let text = format!("{} is not empty", store.path.join(name).display());
                let hint = "stacks of few layers would show what is in it: remove that";
                return Err(Error::in_the_way(text).hint(hint));
            }
            root::set_mode(&directory, 0o755)
                .and_then(|()| root::set_times(&directory, Time::default()))
                .map_err(|error| fail("setting up", error))?;
        }
        staging::remove_dead(&store.open_dir("staging")?)
            .and_then(|()| locks::remove_dead(&store.open_dir("locks")?))
            .map_err(|error| fail("cleaning", error))?;
        Ok(store)
    }

    fn check_mode(&self) -> Result<()> {
        let stat = self
            .directory
            .stat_self()
            .map_err(|error| Error::system("looking at the store", error))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            let text = format!("the store {} belongs to another user", self.path.display());
            return Err(Error::in_the_way(text)
                .hint("--store DIR or LOWERDIR_STORE names another directory"));
        }
        if stat.st_mode & 0o077 == 0 {
            return Ok(());
        }
        let is_empty = self.directory.names().is_ok_and(|names| names.is_empty());
        if is_empty && root::set_mode(&self.directory, 0o700).is_ok() {
            return Ok(());
        }
        let text = format!("other users may enter the store {}", self.path.display());
        Err(Error::in_the_way(text).hint(format!("chmod 700 {}", self.path.display())))
    }

    fn make_dir(&self, name: &str) -> Result<()> {
        let path = EntryPath::parse(name.as_bytes())?;
        let (parent, last) = path.split().expect("it has a name");
        let parent = self.directory.open_beneath(&parent);
        match parent.and_then(|parent| parent.make_dir(last)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::system(format!("making {name} in the store"), error))
            }
            _ => Ok(()),
        }
    }

    fn open_dir(&self, name: &str) -> Result<Dir> {
        self.directory
            .open_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(|error| Error::system(format!("opening {name} in the store"), error))
    }

    /// Where the store is: an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Two directories that are always empty, for stacks of too few layers.
    pub fn empty_directories(&self) -> [PathBuf; 2] {
        EMPTY.map(|name| self.path.join(name))
    }

    /// The layer of a chain ID, if it is there. Errors: it is damaged.
    pub fn layer(&self, chain_id: &Digest) -> Result<Option<StoredLayer>> {
        let repair = "`lowerdir verify --repair IMAGE` unpacks it again";
        self.open_layer(chain_id)
            .map_err(|error| error.hint(repair))
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

    /// The file in which a layer that is there is listed: see [`crate::listing`].
    pub fn listing(&self, chain_id: &Digest) -> io::Result<File> {
        let path = format!("{}/{TREE_ZST}", layer_name(chain_id));
        self.directory
            .open_file(&EntryPath::parse(path.as_bytes())?)
    }

    /// Starts unpacking: a place that nobody else looks at.
    pub fn stage(&self) -> Result<Staging> {
        staging::stage(self)
    }

    /// Makes layers durable that this process did not write: their names, which another process may
    /// have given them a moment ago, and unless they are `synced` their content.
    pub fn sync(&self, sync: Sync, synced: bool) -> Result<()> {
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
    read().map_err(|error| Error::system(format!("reading {name}"), error))
}

fn write_json(
    directory: &Dir,
    name: &str,
    record: &impl serde::Serialize,
    sync: Sync,
) -> io::Result<()> {
    let mut file = directory.make_file(name.as_bytes())?;
    file.write_all(&serde_json::to_vec_pretty(&Sealed::new(record)?)?)?;
    file.write_all(b"\n")?;
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
