//! The pipeline: which thread unpacks which layer, and when a layer is settled.
//!
//! [`unpack_image`] unpacks the missing layers of an image side by side, the large ones first, and
//! settles them bottom to top as they become ready: a layer is settled when all below it are. One
//! layer is spread over several threads too (`stages`), as far as the run's [`ThreadBudget`] has
//! them. The result is the same for every number of threads. [`unpack_layer`] does one layer into one directory. Both are called by the command line;
//! neither knows tar or overlayfs.

#[cfg(feature = "containerd")]
mod chained;
mod single;
mod stages;
mod watch;
mod work;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;
use crate::error::{Advice, Error, Result};
use crate::fs::descriptors;
use crate::image::{Image, Layer};
use crate::limits::{Limits, check_layers};
use crate::progress::{Progress, Silent, waiting};
#[cfg(feature = "registry")]
use crate::registry::CONNECTIONS;
use crate::setters::setters;
use crate::store::{ImageRecord, Record, Store, StoreLock, StoredLayer, Sync};
use crate::threads::ThreadBudget;
use crate::unpack::Options;

#[cfg(feature = "containerd")]
pub use chained::{Chained, stored_chain, unpack_chained};
pub use single::{Parents, unpack_layer};
pub(crate) use stages::{is_worth_stages, staged};
pub(crate) use watch::{LowestFailure, Watch};
pub(crate) use workers::with_workers;

use work::Work;

/// A layer of an unpacked image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unpacked {
    /// The lowerdir.
    pub path: PathBuf,
    /// What it is, and what was done when it was unpacked.
    pub record: Record,
    /// Whether it was in the store before.
    pub was_there: bool,
}

impl Store {
    /// The layers of an image, the lowest first, each from the first of several stores that has it.
    /// Errors: one is missing ([`Kind::NotFound`](crate::Kind::NotFound)), or is no tar archive, by
    /// its media type ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn layers_of(&self, image: &Image) -> Result<Vec<StoredLayer>> {
        image.check_media_types()?;
        let find = |(layer, chain_id): (&Layer, &Digest)| {
            let found = self
                .layer(chain_id)
                .map_err(|error| error.in_layer(layer.label()))?;
            found.ok_or_else(|| {
                Error::not_found("not in the store")
                    .in_layer(layer.label())
                    .hint(Advice::Unpack)
            })
        };
        image
            .layers
            .iter()
            .zip(&image.chain_ids())
            .map(find)
            .collect()
    }
}

/// How the work is done; the result does not depend on it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Run<'a> {
    /// Cores to use, at least 1: so many layers are unpacked at once. It bounds the threads of the
    /// run (see [`ThreadBudget`]).
    pub jobs: usize,
    /// Whether to wait until a layer is on disk.
    pub sync: Sync,
    /// Shows the progress, and may cancel.
    pub progress: &'a dyn Progress,
    /// The limits of a layer.
    pub limits: Limits,
}

impl<'a> Run<'a> {
    setters! {
        jobs: usize,
        sync: Sync,
        progress: &'a dyn Progress,
        limits: Limits,
    }
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("jobs", &self.jobs)
            .field("sync", &self.sync)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Default for Run<'_> {
    /// All cores; waits for the disk; shows nothing.
    fn default() -> Self {
        Run {
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            sync: Sync::Fs,
            progress: &Silent,
            limits: Limits::default(),
        }
    }
}

/// What [`Store::unpack`] does. What another store behind this one has is not unpacked again.
pub fn unpack_image(
    image: &Image,
    store: &Store,
    options: &Options,
    run: Run<'_>,
) -> Result<Vec<Unpacked>> {
    let hold = store.lock_shared(run.progress)?;
    let unpack = || unpack_missing(image, store, options, run, &BTreeSet::new(), &hold);
    let unpacked = match unpack() {
        #[cfg(feature = "registry")]
        Err(_) if fetches_again(image) => unpack(),
        unpacked => unpacked,
    };
    unpacked.map_err(|error| store.told(error))
}

/// Whether a layer that did not have its digest is fetched once more.
#[cfg(feature = "registry")]
fn fetches_again(image: &Image) -> bool {
    let blobs = image
        .layers
        .iter()
        .filter_map(|layer| layer.blob.get().ok());
    blobs.filter(|blob| blob.fetch_again()).count() > 0
}

/// The same, for a caller that holds the store. `damaged` layers (counted from 0) are unpacked again
/// and put in the place of those that are there: then nobody else may use the store.
pub(crate) fn unpack_missing(
    image: &Image,
    store: &Store,
    options: &Options,
    run: Run<'_>,
    damaged: &BTreeSet<usize>,
    _lock: &StoreLock,
) -> Result<Vec<Unpacked>> {
    // Refuses an image that could not be mounted.
    check_layers(image.layers.len())?;
    image.check_media_types()?;
    let chain = image.chain_ids();
    let mut unpacked = BTreeMap::new();
    let mut lower = BTreeMap::new();
    let (mut missing, mut lock) = (Vec::new(), None);
    for (index, layer) in image.layers.iter().enumerate() {
        let find = || match damaged.contains(&index) {
            true => Ok(None),
            false => store
                .layer(&chain[index])
                .map_err(|error| error.in_layer(layer.label())),
        };
        let mut found = find()?;
        // Another process that unpacks a layer above this one unpacks this one too: it has this lock.
        if found.is_none() && lock.is_none() {
            let tell = || run.progress.waits(index, &layer.label());
            let taken = store.lock_layer(&chain[index], waiting(run.progress, tell))?;
            // The process that had it may have finished the layer.
            found = find()?;
            lock = found.is_none().then_some(taken);
        }
        match found {
            None => missing.push(index),
            Some(stored) => {
                check_options(&stored, options).map_err(|error| error.in_layer(layer.label()))?;
                run.progress.was_there(index, &layer.label());
                lower.insert(index, Arc::clone(&stored.directory));
                unpacked.insert(index, was_there(stored));
            }
        }
    }
    if !missing.is_empty() {
        let staging = store.stage()?;
        let mut staged = BTreeMap::new();
        let mut blobs = BTreeMap::new();
        for &index in &missing {
            let layer = &image.layers[index];
            let blob = layer.blob.get();
            blobs.insert(index, blob.map_err(|error| error.in_layer(layer.label()))?);
            staged.insert(index, staging.layer(index)?);
        }
        #[cfg(feature = "registry")]
        let is_remote = blobs.values().any(|blob| blob.is_remote());
        #[cfg(feature = "registry")]
        let downloads = is_remote.then(|| store.downloads()).transpose()?;
        // A layer that is arriving mostly waits: as many are unpacked as arrive.
        #[cfg(feature = "registry")]
        let run = match is_remote {
            true => Run {
                jobs: run.jobs.max(CONNECTIONS),
                ..run
            },
            false => run,
        };
        let threads = ThreadBudget::new(descriptors::jobs(run.jobs));
        let work = Work {
            image,
            chain: &chain,
            staged: &staged,
            blobs: &blobs,
            options,
            failure: &LowestFailure::none(),
            progress: run.progress,
            limits: run.limits,
            threads: &threads,
            sync: run.sync,
            #[cfg(feature = "registry")]
            downloads: downloads.as_ref(),
        };
        #[cfg(feature = "registry")]
        let records = match is_remote {
            true => staging.written_meanwhile(run.sync, || work.side_by_side(lower))?,
            false => work.side_by_side(lower)?,
        };
        #[cfg(not(feature = "registry"))]
        let records = work.side_by_side(lower)?;
        run.progress.syncs();
        staging.sync(run.sync)?;
        if run.progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        for (index, record) in records {
            let layer = staged.remove(&index).expect("it was staged above");
            let replaces = damaged.contains(&index);
            staging.commit(store, layer, &chain[index], replaces, run.sync)?;
            let stored = store.own_layer(&chain[index])?.ok_or_else(|| {
                Error::conflict("another process removed it").in_layer(chain[index].short())
            })?;
            let (path, was_there) = (stored.path, false);
            unpacked.insert(
                index,
                Unpacked {
                    path,
                    record,
                    was_there,
                },
            );
        }
    }
    let config = image.documents.config_by_specification()?;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    let record = ImageRecord {
        digest: image.digest.clone(),
        platform: image.platform.as_ref().map(ToString::to_string),
        created: config["created"].as_str().map(String::from),
        layers: chain,
        options: options.clone(),
    };
    if !store.is_writable() && is_recorded(image, store) {
        return Ok(unpacked.into_values().collect());
    }
    // Status 0 promises durability, also of layers that others wrote. For an image without layers that
    // is the store itself.
    let synced = !unpacked.is_empty() && unpacked.values().all(|layer| layer.record.synced);
    if missing.is_empty() || unpacked.values().any(|layer| layer.was_there) {
        store.sync(run.sync, synced)?;
    }
    store.record_image(&record, &image.documents, run.sync)?;
    // A repair gives no names.
    if damaged.is_empty() && !image.names.is_empty() {
        store.tag(&image.digest, &image.names, run.sync)?;
    }
    Ok(unpacked.into_values().collect())
}

/// Whether an image is recorded with all its names.
fn is_recorded(image: &Image, store: &Store) -> bool {
    store.each().any(|store| {
        let names = store
            .image(&image.digest)
            .and_then(|_| store.names_of(&image.digest));
        names.is_ok_and(|names| image.names.iter().all(|name| names.contains(name)))
    })
}

fn was_there(stored: StoredLayer) -> Unpacked {
    Unpacked {
        path: stored.path,
        record: stored.record,
        was_there: true,
    }
}

/// Errors: the layer was unpacked with other options.
fn check_options(stored: &StoredLayer, options: &Options) -> Result<()> {
    let known = &stored.record.options;
    if known == options {
        return Ok(());
    }
    let what = match known.ids == options.ids {
        true => "options",
        false => "id maps",
    };
    let text = format!("it is in the store already, unpacked with other {what}");
    Err(Error::conflict(text).hint(Advice::SameOptions.with(what)))
}
