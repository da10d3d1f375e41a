//! One layer into the store, on a chain that is there: for callers that get layers one at a time,
//! by chain ID, and no image: the module `snapshotter` calls it.

use std::sync::Arc;

use crate::compress::codec::{Expected, Measured};
use crate::digest::{Digest, chain_id};
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::image::Blob;
use crate::overlay::merged_view::MergedView;
use crate::progress::waiting;
use crate::store::{StagedLayer, Store, StoreLock, StoredLayer};
use crate::threads::ThreadBudget;
use crate::unpack::Options;

use super::watch::LowestFailure;
use super::work::{Identity, Source, finish, write_down};
use super::{Run, check_options};

/// Layers of a chain, at most: far above what a mount takes. A damaged store could go in a circle.
const DEPTH_MAX: usize = 4096;

/// A layer, by what its owner says of it.
#[derive(Clone, Copy, Debug)]
pub struct Chained<'a> {
    /// What it and all below it must turn out to be.
    pub chain_id: &'a Digest,
    /// What it stands on, which is in the store; `None` for a lowest layer.
    pub parent: Option<&'a Digest>,
    /// Its bytes.
    pub blob: &'a Blob,
    /// What they must turn out to be.
    pub expected: &'a Expected,
}

/// The layers of a chain, the topmost first, if all of them are in the store. Errors: one is damaged.
pub fn stored_chain(store: &Store, top: &Digest) -> Result<Option<Vec<StoredLayer>>> {
    let mut layers: Vec<StoredLayer> = Vec::new();
    let mut next = Some(top.clone());
    while let Some(chain_id) = next {
        let found = store.layer(&chain_id);
        let Some(layer) = found.map_err(|error| error.in_layer(chain_id.short()))? else {
            return Ok(None);
        };
        let parent = layer.record.parent.as_deref();
        next = parent.map(Digest::parse).transpose()?;
        layers.push(layer);
        if layers.len() > DEPTH_MAX {
            return Err(Error::limit(format!("a chain of over {DEPTH_MAX} layers")));
        }
    }
    Ok(Some(layers))
}

/// Puts a layer into the store, verified and whole, or not at all; one that is there stays. Calls at the
/// same time may share the budget of their threads, which counts in place of [`Run::jobs`].
///
/// Errors: what is below it is not there ([`Kind::NotFound`](crate::Kind::NotFound)), or translated
/// otherwise; the layer is refused, or makes another chain
/// ([`Kind::Mismatch`](crate::Kind::Mismatch)).
pub fn unpack_chained(
    layer: Chained<'_>,
    store: &Store,
    options: &Options,
    run: Run<'_>,
    threads: &ThreadBudget,
    _lock: &StoreLock,
) -> Result<()> {
    let label = layer.chain_id.short();
    let place = |error: Error| error.in_layer(&label);
    let wait = waiting(run.progress, || run.progress.waits(0, &label));
    let _lock = store.lock_layer(layer.chain_id, wait)?;
    if let Some(there) = store.layer(layer.chain_id).map_err(place)? {
        return check_options(&there, options).map_err(place);
    }
    let below = below(layer.parent, store, options).map_err(place)?;
    let staging = store.stage()?;
    let staged = staging.layer(0)?;
    fill(layer, &staged, below, options, run, threads).map_err(place)?;
    run.progress.syncs();
    staging.sync(run.sync)?;
    if run.progress.is_cancelled() {
        return Err(Error::cancelled());
    }
    staging.commit(store, staged, layer.chain_id, false, run.sync)
}

/// The directories of what the layer stands on, the topmost first.
fn below(parent: Option<&Digest>, store: &Store, options: &Options) -> Result<Vec<Arc<Dir>>> {
    let Some(parent) = parent else {
        return Ok(Vec::new());
    };
    let layers = stored_chain(store, parent)?
        .ok_or_else(|| Error::not_found(format!("{} below it is not there", parent.short())))?;
    let open = |layer: StoredLayer| {
        check_options(&layer, options)?;
        Ok(layer.directory)
    };
    layers.into_iter().map(open).collect()
}

fn fill(
    layer: Chained<'_>,
    staged: &StagedLayer,
    below: Vec<Arc<Dir>>,
    options: &Options,
    run: Run<'_>,
    threads: &ThreadBudget,
) -> Result<()> {
    let failure = LowestFailure::none();
    let source = Source::alone(layer.blob, layer.expected, run, threads, &failure);
    let (pending, measured) = source.read(staged.fs()?, options, None)?;
    check_chain(layer, &measured)?;
    let identity = Identity {
        chain_id: layer.chain_id,
        parent: layer.parent,
        measured: &measured,
    };
    let view = MergedView::of_layers(below, options.dialect.namespace).with_labels(options.selinux);
    let finished = finish(source, &staged.fs()?, pending, Some(view), options)?;
    write_down(staged, finished, identity, options, run.sync, threads).map(drop)
}

fn check_chain(layer: Chained<'_>, measured: &Measured) -> Result<()> {
    let is = chain_id(layer.parent, &measured.diff_id);
    match is == *layer.chain_id {
        true => Ok(()),
        false => Err(Error::mismatch(format!("the blob makes chain {is}"))),
    }
}
