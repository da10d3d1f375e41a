//! A snapshotter with a store and a content store, below one temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lowerdir::options::{Dialect, Namespace};
use lowerdir::snapshotter::{Config, Labels, Snapshotter};
use lowerdir::store::Sync;
use lowerdir::{Image, Options, Owners, Reference, Store};
use tempfile::TempDir;

use crate::oci::{Compression, chain_ids, diff_ids, sha256, write_layout};
use crate::tarball::LayerBuilder;

/// On the Prepare of a layer, its chain ID.
pub const TARGET: &str = "containerd.io/snapshot.ref";
/// On the same, the digest of its blob.
pub const BLOB: &str = "containerd.io/snapshot/cri.layer-digest";

pub struct Place {
    directory: TempDir,
    pub config: Config,
    /// What the snapshotter told of.
    pub told: Arc<Mutex<Vec<String>>>,
}

impl Place {
    pub fn new() -> Place {
        Place::below(TempDir::new().expect("a temporary directory"))
    }

    /// In memory, where there is such a place: a database waits for the disk at each change.
    pub fn in_memory() -> Place {
        TempDir::new_in("/dev/shm").map_or_else(|_| Place::new(), Place::below)
    }

    fn below(directory: TempDir) -> Place {
        let options = Options::default()
            .dialect(Dialect::default().namespace(Namespace::User))
            .owners(Owners::Caller);
        let (root, store) = (
            directory.path().join("root"),
            directory.path().join("store"),
        );
        let config = Config::new(root, store)
            .content_root(Some(directory.path().join("content")))
            .options(options)
            .sync(Sync::None)
            .jobs(Some(1));
        Place {
            directory,
            config,
            told: Arc::default(),
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn open(&self) -> Snapshotter {
        let told = Arc::clone(&self.told);
        let tell = Box::new(move |what: &str| told.lock().unwrap().push(what.into()));
        Snapshotter::open(&self.config, tell).expect("the snapshotter opens")
    }

    pub fn store(&self) -> Store {
        Store::open(&self.config.store).expect("the store opens")
    }

    /// Unpacks an image of some layers into the store; returns its digest.
    pub fn unpack(&self, layers: &[Vec<u8>]) -> String {
        let layout = self.path().join("layout");
        let plain: Vec<_> = layers
            .iter()
            .map(|layer| (layer.clone(), Compression::Plain))
            .collect();
        write_layout(&layout, "image", &plain);
        let reference = Reference::parse(layout.as_os_str()).unwrap();
        let image = Image::open(&reference).unwrap();
        let store = self.store();
        let unpack = store.unpack(&image).options(self.config.options.clone());
        unpack.sync(Sync::None).run().unwrap();
        image.digest.to_string()
    }

    /// Puts a blob into the content store; returns its digest.
    pub fn add_blob(&self, bytes: &[u8]) -> String {
        let blobs = self.path().join("content/blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let hex = sha256(bytes);
        fs::write(blobs.join(&hex), bytes).unwrap();
        format!("sha256:{hex}")
    }

    /// The numbers of the directories that snapshots have.
    pub fn directories(&self) -> Vec<PathBuf> {
        let there = fs::read_dir(self.config.root.join("snapshots")).unwrap();
        let mut there: Vec<_> = there.map(|entry| entry.unwrap().path()).collect();
        there.sort();
        there
    }

    pub fn pins(&self) -> usize {
        fs::read_dir(self.config.store.join("pins")).map_or(0, Iterator::count)
    }
}

pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    let owned = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
    BTreeMap::from(owned)
}

/// Two layers, of which the second deletes what the first has, and their chain IDs.
pub fn two_layers() -> (Vec<Vec<u8>>, Vec<String>) {
    let below = LayerBuilder::new()
        .dir("etc", 0o755)
        .file("etc/motd", 0o644, "hello");
    let above = LayerBuilder::new()
        .whiteout("etc/motd")
        .file("etc/issue", 0o644, "new");
    let layers = vec![below.finish(), above.finish()];
    let chain = chain_ids(&diff_ids(&layers));
    (layers, chain)
}
