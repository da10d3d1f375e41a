//! `Layers`: the store as a snapshotter uses it: chains that are there, chains that can be unpacked from
//! blobs that containerd has, and pins, which keep layers that snapshots use.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::compress::codec::Expected;
use crate::digest::Digest;
use crate::error::{Advice, Error, Result};
use crate::fs::descriptors;
use crate::fs::root::{Dir, is_absent};
use crate::image::Blob;
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::store::pipeline::{Chained, Run, stored_chain, unpack_chained};
use crate::store::stack::escaped;
use crate::store::{Pin, Store, StoreLock, StoredLayer, Sync};
use crate::threads::ThreadBudget;
use crate::unpack::Options;

use super::snapshot::{Snapshot, Usage};
use super::{Config, usage};

/// Label on the Prepare of a layer: the name of its committed snapshot, which is its chain ID.
pub const TARGET: &str = "containerd.io/snapshot.ref";
/// Label on the Prepare of a layer, if containerd is configured to add it: the digest of its blob.
const BLOB: &str = "containerd.io/snapshot/cri.layer-digest";
/// The maximum total length of the layer directories' names, so that the mount options fit one page.
const LONG: usize = 3000;

/// The store, as a snapshotter uses it.
#[derive(Debug)]
pub struct Layers {
    store: Store,
    content: Option<PathBuf>,
    options: Options,
    sync: Sync,
    /// Of all layers that are unpacked at a time.
    threads: ThreadBudget,
    stopping: AtomicBool,
}

/// A layer that can be unpacked: its chain ID, and its blob.
struct Makeable {
    chain_id: Digest,
    digest: Digest,
    blob: Blob,
}

impl Layers {
    /// Opens the store. Errors: its path cannot be written in mount options.
    pub fn open(config: &Config) -> Result<Layers> {
        let store = Store::open(&config.store)?;
        check_spelling(store.path(), "--store")?;
        let jobs = config.jobs.unwrap_or(Run::default().jobs);
        Ok(Layers {
            store,
            content: config.content_root.clone(),
            options: config.options.clone(),
            sync: config.sync,
            threads: ThreadBudget::new(descriptors::jobs(jobs)),
            stopping: AtomicBool::new(false),
        })
    }

    /// Cancels layers that are being unpacked.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Keeps layers in the store while they are examined.
    pub fn hold(&self) -> Result<StoreLock> {
        self.store.lock_shared(self)
    }

    /// The layers of a chain, topmost first, if the store has them with this snapshotter's options.
    pub fn find(&self, chain_id: &Digest) -> Result<Option<Vec<StoredLayer>>> {
        let layers = stored_chain(&self.store, chain_id)?;
        let is_ours = |layer: &StoredLayer| layer.record.options == self.options;
        Ok(layers.filter(|layers| layers.iter().all(is_ours)))
    }

    /// Unpacks the missing layers of a chain from blobs that containerd has. The labels are those of the
    /// requested layer and of the snapshots below it, topmost first. Returns whether it was possible;
    /// nothing is unpacked unless all blobs are there.
    pub fn make(
        &self,
        chain_id: &Digest,
        labels: &super::Labels,
        line: &[Snapshot],
        hold: &StoreLock,
    ) -> Result<bool> {
        let Some(top) = self.makeable(chain_id.clone(), labels)? else {
            return Ok(false);
        };
        let mut missing = vec![top];
        let mut base = None;
        for snapshot in line {
            let Some(chain_id) = chain_of(snapshot) else {
                return Ok(false);
            };
            if self.find(&chain_id)?.is_some() {
                base = Some(chain_id);
                break;
            }
            match self.makeable(chain_id, &snapshot.labels)? {
                Some(layer) => missing.push(layer),
                None => return Ok(false),
            }
        }
        for layer in missing.into_iter().rev() {
            self.unpack(&layer, base.as_ref(), hold)?;
            base = Some(layer.chain_id);
        }
        Ok(true)
    }

    fn makeable(&self, chain_id: Digest, labels: &super::Labels) -> Result<Option<Makeable>> {
        let digest = labels.get(BLOB).and_then(|text| Digest::parse(text).ok());
        let (Some(content), Some(digest)) = (&self.content, digest) else {
            return Ok(None);
        };
        let blob = open_blob(content, &digest)?;
        Ok(blob.map(|blob| Makeable {
            chain_id,
            digest,
            blob,
        }))
    }

    fn unpack(&self, layer: &Makeable, parent: Option<&Digest>, hold: &StoreLock) -> Result<()> {
        let expected = Expected {
            blob: Some(layer.digest.clone()),
            ..Expected::default()
        };
        let chained = Chained {
            chain_id: &layer.chain_id,
            parent,
            blob: &layer.blob,
            expected: &expected,
        };
        let run = Run {
            sync: self.sync,
            progress: self,
            ..Run::default()
        };
        let (store, options) = (&self.store, &self.options);
        unpack_chained(chained, store, options, run, &self.threads, hold)
    }

    /// The directories of a chain, topmost first, by names that fit a mount. Errors: they are gone.
    pub fn directories(&self, chain_id: &Digest) -> Result<Vec<PathBuf>> {
        let layers = self.find(chain_id)?.ok_or_else(|| {
            let text = format!("chain {} is no longer in the store", chain_id.short());
            Error::not_found(text).hint(Advice::Unpack)
        })?;
        let paths: Vec<PathBuf> = layers.into_iter().map(|layer| layer.path).collect();
        let bytes: usize = paths.iter().map(|path| path.as_os_str().len() + 1).sum();
        if bytes <= LONG {
            return Ok(paths);
        }
        let short = self.store.short_names(&paths)?;
        let path = |name| short.directory.join(name);
        Ok(short.names.iter().map(path).collect())
    }

    /// A directory that is always empty.
    pub fn empty(&self) -> PathBuf {
        let [empty, _] = self.store.empty_directories();
        empty
    }

    /// The disk usage of the topmost layer of a chain.
    pub fn usage(&self, chain_id: &Digest) -> Result<Usage> {
        let counting = |error| Error::system(format!("counting {}", chain_id.short()), error);
        match self.store.layer(chain_id)? {
            Some(layer) => usage::of(&layer.directory).map_err(counting),
            None => Ok(Usage::default()),
        }
    }

    /// Pins the layers of a snapshot in the store. The pin is on disk before this returns.
    pub fn pin(
        &self,
        pin: &str,
        snapshot: &str,
        layers: &[StoredLayer],
        hold: &StoreLock,
    ) -> Result<()> {
        let ids = layers
            .iter()
            .map(|layer| Digest::parse(&layer.record.chain_id));
        let pinned = Pin {
            layers: ids.collect::<Result<_>>()?,
            owner: format!("snapshot {snapshot}"),
        };
        // Another process may have just unpacked them without waiting for the disk.
        let synced = layers.iter().all(|layer| layer.record.synced);
        self.store.sync(self.sync, synced)?;
        self.store.pin(pin, &pinned, self.sync, hold)
    }

    /// Removes a pin.
    pub fn unpin(&self, pin: &str) -> Result<()> {
        self.store.unpin(pin)
    }

    /// The store, to read pins from.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Shows no progress, and cancels when the program stops.
impl Progress for Layers {
    fn is_cancelled(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The chain ID of a snapshot, if it is known: from its label, or from its name, which is
/// NAMESPACE/NUMBER/CHAIN-ID if containerd committed it as a layer.
pub fn chain_of(snapshot: &Snapshot) -> Option<Digest> {
    if let Some(chain_id) = &snapshot.chain {
        return Some(chain_id.clone());
    }
    let last = || snapshot.name.rsplit('/').next();
    let text = snapshot
        .labels
        .get(TARGET)
        .map(String::as_str)
        .or_else(last);
    text.and_then(|text| Digest::parse(text).ok())
}

/// Errors: a path would need escaping. containerd splits options at commas, and directories at colons.
pub fn check_spelling(path: &Path, option: &str) -> Result<()> {
    let is_plain = path.to_str().is_some() && escaped(path.as_os_str()) == path.as_os_str();
    match is_plain {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "{option} {} cannot be passed to containerd",
            path.display()
        ))
        .hint("use a path in UTF-8 without commas, colons and backslashes")),
    }
}

fn open_blob(content: &Path, digest: &Digest) -> Result<Option<Blob>> {
    let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
    let path = EntryPath::parse(name.as_bytes())?;
    let opened = Dir::open(content).and_then(|content| content.open_file(&path));
    match opened {
        Ok(file) => Blob::from_file(file).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(Error::system(format!("opening blob {digest}"), error)),
    }
}
