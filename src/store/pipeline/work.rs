//! The work on the layers of one image: unpacked side by side, settled one after another from the
//! bottom up. Called by [`super::unpack_image`]; [`super::single`] does the same for one layer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, mpsc};

use crate::chunk::Chunks;
use crate::compress::codec::{Expected, LayerReader, Measured};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::image::{Blob, Image};
use crate::layer::below::Below;
use crate::limits::Limits;
use crate::overlay::merged_view::{LayerRoot, LayersBelow, MergedView};
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::store::{Record, StagedLayer, Sync};
use crate::unpack::settle::settle;
use crate::unpack::{Options, Pending, Report, Tree, unpack};

use super::Run;
use super::stages::staged;
use super::watch::{LowestFailure, Watch};
use super::workers::{self, Arrival};

/// Bytes of a blob that is read on one thread.
const SMALL: u64 = 128 * 1024;

/// The layers that are missing, and what is needed to make them.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    pub image: &'a Image,
    pub chain: &'a [Digest],
    pub staged: &'a BTreeMap<usize, StagedLayer>,
    pub blobs: &'a BTreeMap<usize, &'a Blob>,
    pub options: &'a Options,
    pub failure: &'a LowestFailure,
    pub progress: &'a dyn Progress,
    pub limits: Limits,
    /// On how many threads to read one layer.
    pub threads: NonZero<usize>,
    pub sync: Sync,
}

impl<'a> Work<'a> {
    /// Unpacks the staged layers on threads of their own, and settles them here.
    pub fn side_by_side(
        self,
        lower: BTreeMap<usize, Arc<Dir>>,
        jobs: usize,
    ) -> Result<BTreeMap<usize, Record>> {
        let mut queue: Vec<usize> = self.staged.keys().copied().collect();
        queue.sort_by_key(|index| {
            let blob = self.blobs[index];
            // Little ones, which may be all whiteouts, shall not keep those above from being settled.
            let size = (blob.len() >= SMALL).then_some(Reverse(blob.len()));
            // What is best read in order comes in order.
            (blob.offset_in_compressed(), size)
        });
        let settling = Settling {
            work: self,
            lower,
            ready: BTreeMap::new(),
            records: BTreeMap::new(),
        };
        let unpack = |index| self.unpack(index);
        workers::run(queue.into(), jobs, self.failure, unpack, |arrivals| {
            settling.run(arrivals)
        })?
    }

    fn unpack(self, index: usize) -> Result<(Pending, Measured)> {
        let (layer, blob) = (&self.image.layers[index], self.blobs[&index]);
        self.progress.begins(index, &layer.label(), blob.len());
        let source = self.source(index);
        source.read(self.staged[&index].fs()?, self.options, None)
    }

    fn source(self, index: usize) -> Source<'a> {
        Source {
            blob: self.blobs[&index],
            expected: &self.image.layers[index].expected,
            limits: self.limits,
            threads: self.threads,
            watch: Watch {
                index,
                progress: self.progress,
                failure: self.failure,
            },
        }
    }
}

/// The layers of an image, settled in order as they arrive in any order.
struct Settling<'a> {
    work: Work<'a>,
    /// Finished layer directories.
    lower: BTreeMap<usize, Arc<Dir>>,
    ready: BTreeMap<usize, (Pending, Measured)>,
    records: BTreeMap<usize, Record>,
}

impl Settling<'_> {
    fn run(
        mut self,
        arrivals: mpsc::Receiver<Arrival<(Pending, Measured)>>,
    ) -> Result<BTreeMap<usize, Record>> {
        let mut failed: BTreeMap<usize, Error> = BTreeMap::new();
        for Arrival { index, result } in arrivals {
            let settled = result.map_err(|error| (index, error)).and_then(|arrived| {
                self.ready.insert(index, arrived);
                self.settle_ready()
            });
            if let Err((index, error)) = settled {
                self.work.failure.add(index);
                let label = self.work.image.layers[index].label();
                failed.insert(index, error.in_layer(label));
            }
        }
        match failed.pop_first() {
            Some(_) if self.work.progress.is_cancelled() => Err(Error::cancelled()),
            Some((_, error)) => Err(error),
            None => Ok(self.records),
        }
    }

    /// Settles what can be: a layer above one that is missing, or failed, has to wait.
    fn settle_ready(&mut self) -> std::result::Result<(), (usize, Error)> {
        let count = self.work.chain.len();
        while let Some(index) = (0..count).find(|index| !self.lower.contains_key(index)) {
            let Some((pending, measured)) = self.ready.remove(&index) else {
                return Ok(());
            };
            self.settle_one(index, pending, &measured)
                .map_err(|error| (index, error))?;
        }
        Ok(())
    }

    fn settle_one(&mut self, index: usize, pending: Pending, measured: &Measured) -> Result<()> {
        let Work { chain, options, .. } = self.work;
        let below: Vec<Arc<Dir>> = self
            .lower
            .range(..index)
            .rev()
            .map(|(_, dir)| dir.clone())
            .collect();
        let staged = &self.work.staged[&index];
        let identity = Identity {
            chain_id: &chain[index],
            parent: index.checked_sub(1).map(|below| &chain[below]),
            measured,
        };
        let view = view_of(below, options);
        let source = self.work.source(index);
        let record = finish_staged(
            source,
            staged,
            pending,
            view,
            identity,
            options,
            self.work.sync,
        )?;
        let label = self.work.image.layers[index].label();
        self.work.progress.ends(index, &label, &record.report);
        self.records.insert(index, record);
        self.lower.insert(index, Arc::new(staged.fs()?));
        Ok(())
    }
}

/// The bytes of one layer, what they must turn out to be, and who watches them.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub blob: &'a Blob,
    pub expected: &'a Expected,
    pub limits: Limits,
    /// On how many threads to read it.
    pub threads: NonZero<usize>,
    pub watch: Watch<'a>,
}

impl<'a> Source<'a> {
    /// Of a layer by itself.
    pub fn alone(
        blob: &'a Blob,
        expected: &'a Expected,
        run: Run<'a>,
        failure: &'a LowestFailure,
    ) -> Source<'a> {
        let (index, progress) = (0, run.progress);
        Source {
            blob,
            expected,
            limits: run.limits,
            threads: run.threads(),
            watch: Watch {
                index,
                progress,
                failure,
            },
        }
    }

    /// Reads the blob to its last byte into a directory, and verifies it.
    pub fn read(
        self,
        directory: Dir,
        options: &Options,
        below: Option<&LayersBelow>,
    ) -> Result<(Pending, Measured)> {
        let blob = self.blob.open();
        let blob = match below {
            None => self.watch.blob(blob),
            // The second pass was counted in the first.
            Some(_) => self.watch.uncounted(blob),
        };
        let unpack = |chunks: Chunks<'_>| {
            let (limits, threads) = (&self.limits, self.threads);
            unpack(chunks, directory, options, limits, below, threads)
        };
        // Threads cost more than they bring where there is little to do.
        if self.threads == NonZero::<usize>::MIN || self.blob.len() < SMALL {
            let mut layer = LayerReader::with_limits(blob, self.expected.clone(), self.limits)?;
            let pending = unpack(Chunks::of_reader(self.watch.uncounted(&mut layer)))?;
            return Ok((pending, layer.finish()?));
        }
        staged(blob, self.expected, self.limits, self.watch, unpack)
    }
}

/// Settles a layer; unpacks it once more before, where it turns out to need what is below. Returns
/// what was done, and what the layer holds.
pub fn finish(
    source: Source<'_>,
    directory: &Dir,
    mut pending: Pending,
    view: Option<MergedView>,
    options: &Options,
) -> Result<(Report, Tree)> {
    let follow = options.keep_dirlinks;
    let below = Below::new(view, &pending.markers, follow)?;
    if pending.layer.needs_second_pass(&below, follow)? {
        directory
            .remove_children()
            .map_err(|error| Error::system("emptying the directory for a second pass", error))?;
        (pending, _) = source.read(again(directory)?, options, Some(&below))?;
    }
    settle(again(directory)?, pending, &below, options, &source.limits)
}

/// What a layer turned out to be.
pub struct Identity<'a> {
    pub chain_id: &'a Digest,
    pub parent: Option<&'a Digest>,
    pub measured: &'a Measured,
}

/// Settles a staged layer, and writes its listing and its record beside it.
pub fn finish_staged(
    source: Source<'_>,
    staged: &StagedLayer,
    pending: Pending,
    view: MergedView,
    identity: Identity<'_>,
    options: &Options,
    sync: Sync,
) -> Result<Record> {
    let (report, tree) = finish(source, &staged.fs()?, pending, Some(view), options)?;
    let tree = staged.list(&tree, options.selinux, source.threads)?;
    let Identity {
        chain_id,
        parent,
        measured,
    } = identity;
    let record = Record {
        chain_id: chain_id.to_string(),
        parent: parent.map(Digest::to_string),
        diff_id: measured.diff_id.to_string(),
        blob: measured.blob.to_string(),
        size: measured.size,
        options: options.clone(),
        synced: sync == Sync::Fs,
        tree: tree.to_string(),
        report,
    };
    staged.record(&record)?;
    Ok(record)
}

/// What layers show, the topmost first, that were unpacked with these options.
pub fn view_of<Layer: Into<LayerRoot>>(layers: Vec<Layer>, options: &Options) -> MergedView {
    MergedView::of_layers(layers, options.dialect.namespace).with_labels(options.selinux)
}

/// The same directory, opened once more.
pub fn again(directory: &Dir) -> Result<Dir> {
    directory
        .open_beneath(&EntryPath::root())
        .map_err(|error| Error::system("opening the layer's directory", error))
}
