//! The work on the layers of one image: unpacked side by side, settled one after another from the
//! bottom up. Called by [`super::unpack_image`]; [`super::single`] does the same for one layer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compress::codec::{Expected, Measured};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::image::{Blob, Image};
use crate::layer::below::Below;
use crate::limits::Limits;
use crate::overlay::merged_view::{LayersBelow, MergedView};
use crate::path::EntryPath;
use crate::progress::Progress;
#[cfg(feature = "registry")]
use crate::registry::Spool;
use crate::store::{Record, StagedLayer, Sync};
use crate::threads::{ThreadBudget, caught};
use crate::unpack::settle::settle;
use crate::unpack::{Options, Pending, Report, Tree, unpack};

use super::Run;
use super::stages::{is_worth_stages, staged};
use super::watch::{LowestFailure, Watch};
use super::workers::{Workers, with_workers};

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
    pub threads: &'a ThreadBudget,
    pub sync: Sync,
    /// For blobs of a registry.
    #[cfg(feature = "registry")]
    pub downloads: Option<&'a Spool>,
}

/// What is to be done with one layer.
enum Task {
    /// Read it, knowing nothing of the layers below.
    Read(usize),
    /// Finish it over these layers, the topmost first. For a layer that is to be read once more.
    Finish(usize, Box<(Pending, Measured)>, Vec<Arc<Dir>>),
}

/// What became of it.
struct Arrival {
    index: usize,
    result: Result<Done>,
}

enum Done {
    Read(Box<(Pending, Measured)>),
    Finished(Box<Record>),
}

impl<'a> Work<'a> {
    /// Unpacks the staged layers side by side, and settles them here, bottom to top.
    pub fn side_by_side(self, lower: BTreeMap<usize, Arc<Dir>>) -> Result<BTreeMap<usize, Record>> {
        let mut queue: Vec<usize> = self.staged.keys().copied().collect();
        queue.sort_by_key(|index| {
            let blob = self.blobs[index];
            // Little ones, which may be all whiteouts, shall not keep those above from being settled.
            let size = is_worth_stages(blob).then_some(Reverse(blob.len()));
            // What is best read in order comes in order.
            (blob.offset_in_compressed(), size)
        });
        #[cfg(feature = "registry")]
        if let Some(spool) = self.downloads {
            for index in &queue {
                self.blobs[index].prefetch(spool);
            }
        }
        let tasks = queue.into_iter().map(Task::Read).collect();
        let settling = Settling {
            work: self,
            lower,
            view: None,
            ready: BTreeMap::new(),
            records: BTreeMap::new(),
        };
        with_workers(self.threads, tasks, &|task| self.run(task), |workers| {
            settling.run(workers)
        })
    }

    /// `None` for a layer that is given up, because one below it failed.
    fn run(self, task: Task) -> Option<Arrival> {
        let index = match &task {
            Task::Read(index) | Task::Finish(index, ..) => *index,
        };
        if self.failure.is_below(index) {
            return None;
        }
        let result = caught("unpack", || match task {
            Task::Read(_) => self.read(index).map(Box::new).map(Done::Read),
            Task::Finish(_, read, below) => self
                .finish(index, *read, below)
                .map(Box::new)
                .map(Done::Finished),
        });
        #[cfg(feature = "registry")]
        let result = result
            .map_err(|error| self.blobs[&index].blame(error, &|| self.progress.is_cancelled()));
        if result.is_err() {
            self.failure.add(index);
        }
        Some(Arrival { index, result })
    }

    fn read(self, index: usize) -> Result<(Pending, Measured)> {
        let (layer, blob) = (&self.image.layers[index], self.blobs[&index]);
        self.progress.begins(index, &layer.label(), blob.len());
        let source = self.source(index);
        source.read(self.staged[&index].fs()?, self.options, None)
    }

    fn finish(
        self,
        index: usize,
        (pending, measured): (Pending, Measured),
        below: Vec<Arc<Dir>>,
    ) -> Result<Record> {
        let staged = &self.staged[&index];
        let view = view_of(below, self.options);
        let source = self.source(index);
        let finished = finish(source, &staged.fs()?, pending, Some(view), self.options)?;
        self.write_down(index, finished, &measured)
    }

    fn write_down(
        self,
        index: usize,
        finished: (Report, Tree),
        measured: &Measured,
    ) -> Result<Record> {
        let identity = Identity {
            chain_id: &self.chain[index],
            parent: index.checked_sub(1).map(|below| &self.chain[below]),
            measured,
        };
        let staged = &self.staged[&index];
        write_down(
            staged,
            finished,
            identity,
            self.options,
            self.sync,
            self.threads,
        )
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
    /// What they show, those from the lowest on that were asked for.
    view: Option<MergedView>,
    ready: BTreeMap<usize, Box<(Pending, Measured)>>,
    records: BTreeMap<usize, Record>,
}

type Failure = (usize, Error);

impl Settling<'_> {
    fn run(mut self, workers: &Workers<'_, '_, Task, Arrival>) -> Result<BTreeMap<usize, Record>> {
        let mut failed: BTreeMap<usize, Error> = BTreeMap::new();
        while let Some(arrival) = workers.next() {
            if let Err((index, error)) = self.take(arrival, workers) {
                self.work.failure.add(index);
                let label = self.work.image.layers[index].label();
                failed.insert(index, error.in_layer(label));
            }
        }
        match failed.pop_first() {
            Some(_) if self.work.progress.is_cancelled() => Err(Error::cancelled()),
            Some((_, error)) => Err(error),
            None if self.records.len() < self.work.staged.len() => {
                Err(Error::internal("a layer was not unpacked"))
            }
            None => Ok(self.records),
        }
    }

    fn take(
        &mut self,
        Arrival { index, result }: Arrival,
        workers: &Workers<'_, '_, Task, Arrival>,
    ) -> std::result::Result<(), Failure> {
        match result.map_err(|error| (index, error))? {
            Done::Read(read) => drop(self.ready.insert(index, read)),
            Done::Finished(record) => {
                let ended = self.end(index, *record);
                ended.map_err(|error| (index, error))?;
            }
        }
        self.settle_ready(workers)
    }

    /// Settles what can be: a layer above one that is missing, or failed, has to wait.
    fn settle_ready(
        &mut self,
        workers: &Workers<'_, '_, Task, Arrival>,
    ) -> std::result::Result<(), Failure> {
        let count = self.work.chain.len();
        while let Some(index) = (0..count).find(|index| !self.lower.contains_key(index)) {
            let Some(read) = self.ready.remove(&index) else {
                return Ok(());
            };
            self.settle(index, read, workers)
                .map_err(|error| (index, error))?;
        }
        Ok(())
    }

    /// A layer that must be read once more is left to a worker: others can be read and settled
    /// meanwhile, but for those above it.
    fn settle(
        &mut self,
        index: usize,
        read: Box<(Pending, Measured)>,
        workers: &Workers<'_, '_, Task, Arrival>,
    ) -> Result<()> {
        let options = self.work.options;
        let view = self.view_below(index);
        let follow = options.keep_dirlinks;
        let below = Below::new(Some(view), &read.0.markers, follow)?;
        if read.0.layer.needs_second_pass(&below, follow)? {
            // The worker takes a view of its own.
            let lower = self.lower.range(..index).rev();
            let lower = lower.map(|(_, dir)| Arc::clone(dir)).collect();
            workers.add_first(Task::Finish(index, read, lower));
            self.view = below.into_lower();
            return Ok(());
        }
        let (pending, measured) = *read;
        let directory = self.work.staged[&index].fs()?;
        let finished = settle(directory, pending, &below, options, &self.work.limits)?;
        self.view = below.into_lower();
        let record = self.work.write_down(index, finished, &measured)?;
        self.end(index, record)
    }

    /// What the layers below one show: it grows with each layer, and keeps what it knows of the others.
    fn view_below(&mut self, index: usize) -> MergedView {
        let view = self.view.take();
        let mut view = view.unwrap_or_else(|| view_of(Vec::new(), self.work.options));
        for (_, layer) in self.lower.range(view.layer_count()..index) {
            view.push(Arc::clone(layer).into());
        }
        view
    }

    fn end(&mut self, index: usize, record: Record) -> Result<()> {
        let label = self.work.image.layers[index].label();
        self.work.progress.ends(index, &label, &record.report);
        #[cfg(feature = "registry")]
        self.work.blobs[&index].release();
        self.records.insert(index, record);
        let directory = self.work.staged[&index].fs()?;
        self.lower.insert(index, Arc::new(directory));
        Ok(())
    }
}

/// What these layers show, the topmost first.
fn view_of(layers: Vec<Arc<Dir>>, options: &Options) -> MergedView {
    MergedView::of_layers(layers, options.dialect.namespace).with_labels(options.selinux)
}

/// The bytes of one layer, what they must turn out to be, and who watches them.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub blob: &'a Blob,
    pub expected: &'a Expected,
    pub limits: Limits,
    /// Of the run.
    pub threads: &'a ThreadBudget,
    pub watch: Watch<'a>,
}

impl<'a> Source<'a> {
    /// Of a layer by itself.
    pub fn alone(
        blob: &'a Blob,
        expected: &'a Expected,
        run: Run<'a>,
        threads: &'a ThreadBudget,
        failure: &'a LowestFailure,
    ) -> Source<'a> {
        let (index, progress) = (0, run.progress);
        Source {
            blob,
            expected,
            limits: run.limits,
            threads,
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
        #[cfg(feature = "registry")]
        let blob = self.watch.told(blob, self.blob);
        let share = self.threads.share();
        let of_stages = is_worth_stages(self.blob).then_some(&share);
        let limits = self.limits;
        staged(
            blob,
            self.expected,
            limits,
            self.watch,
            of_stages,
            |chunks| unpack(chunks, directory, options, &limits, below, &share),
        )
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

/// Writes the listing and the record of a staged layer beside it, which has been settled.
pub fn write_down(
    staged: &StagedLayer,
    (report, tree): (Report, Tree),
    identity: Identity<'_>,
    options: &Options,
    sync: Sync,
    threads: &ThreadBudget,
) -> Result<Record> {
    let tree = staged.list(&tree, options.selinux, &threads.share())?;
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

/// The same directory, opened once more.
pub fn again(directory: &Dir) -> Result<Dir> {
    directory
        .open_beneath(&EntryPath::root())
        .map_err(|error| Error::system("opening the layer's directory", error))
}
