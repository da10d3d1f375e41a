//! [`WriterPool`]: makes the regular files of a layer, on the thread that reads the archive or on
//! workers with threads of their own. [`super::unpack`] drives it.
//!
//! Each worker gets its orders in the order of the archive; between workers there is none. So an
//! entry that needs a file on disk, to link or to replace it, waits for it first. Files with xattrs
//! are made by the reading thread, so that warnings come in the archive's order. Of several failures
//! the one that comes first in the archive is returned.
//!
//! Workers are started as the layer's [`ThreadShare`] has threads for them. Without any, the reading
//! thread makes all files.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use crate::chunk::{CHUNK, Piece};
use crate::error::{Error, Result};
use crate::fs::root::{Dir, clear_umask};
use crate::threads::{ThreadShare, died};

use super::writer::{FileOrder, Order, Outcome, Writer};
use super::{Created, Options};
use crate::layer::report::Report;
use crate::layer::tree::{DirId, InodeId, Tree};

/// More workers than this wait for the file system rather than for the processor. The reading thread
/// leaves enough to do for two of them even on two cores.
const WORKERS: usize = 4;
/// The name of their threads.
const NAME: &str = "write";
/// Batches that wait for the workers of a layer, at most: 12 MiB, for each of the layers that are
/// unpacked at once.
const QUEUED: usize = 48;
/// How much more work one worker may get than another, to stay in one directory.
const AHEAD: usize = 4 * CHUNK;
/// The cost of creating a file, in bytes that could be written meanwhile.
const FILE: usize = 8 * 1024;
/// The additional cost of writing a piece, because a hostile layer has pieces of one byte.
const PIECE: usize = 512;

/// The writers of one layer.
pub struct WriterPool<'a> {
    /// Works on the reading thread.
    own: Writer<'a>,
    /// Whether the last opened file is its own.
    is_own: bool,
    workers: Vec<Worker>,
    /// The maximum number of workers.
    most: usize,
    /// Starts another worker, if there is a thread for it.
    hire: Box<dyn Fn() -> Option<Worker> + 'a>,
    batch: Batch,
    /// The worker that got the last batch, and the directory of the last file in it: two workers in
    /// one directory would wait for each other.
    last: Option<(usize, DirId)>,
    /// All inodes with smaller numbers are on disk.
    complete: InodeId,
    /// The number after that of the last file that was opened.
    next: InodeId,
    failed: Option<(InodeId, Error)>,
}

/// The data that the workers complete: the contents in the tree, and warnings.
pub struct Made<'a> {
    /// The layer's names.
    pub tree: &'a mut Tree,
    /// Its report.
    pub report: &'a mut Report,
}

/// Orders for one worker, and what they cost.
#[derive(Default)]
struct Batch {
    orders: Vec<Order>,
    cost: usize,
    /// Whether it begins inside a file, and so goes to the worker that has the file open.
    is_continued: bool,
}

/// A writer on a thread of its own.
struct Worker {
    todo: SyncSender<Batch>,
    done: Receiver<Outcome>,
    /// The cost of its pending work.
    load: Arc<AtomicUsize>,
    /// Batches without an outcome so far.
    unanswered: usize,
}

impl<'a> WriterPool<'a> {
    /// A pool without workers, which are started in `scope` when there are files for them.
    pub fn new(
        scope: &'a Scope<'a, '_>,
        share: &'a ThreadShare<'_>,
        options: &'a Options,
        created: Created,
        top: &Arc<Dir>,
    ) -> WriterPool<'a> {
        let most = match share.jobs() {
            1 => 0,
            jobs => jobs.min(WORKERS),
        };
        let shared_top = Arc::clone(top);
        let hire = move || {
            let (todo, orders) = sync_channel(QUEUED / most);
            let (outcomes, done) = channel();
            let load = Arc::new(AtomicUsize::new(0));
            let state = (Arc::clone(&load), Arc::clone(&shared_top));
            let started = share.start(scope, NAME, state, move |(load, top)| {
                let writer = Writer::new(options, created, top, clear_umask());
                work(writer, &orders, &outcomes, &load);
            });
            let unanswered = 0;
            started.is_ok().then_some(Worker {
                todo,
                done,
                load,
                unanswered,
            })
        };
        WriterPool {
            own: Writer::new(options, created, Arc::clone(top), created.umask_is_clear),
            is_own: true,
            workers: Vec::new(),
            most,
            hire: Box::new(hire),
            batch: Batch::default(),
            last: None,
            complete: InodeId::FIRST,
            next: InodeId::FIRST,
            failed: None,
        }
    }

    /// Begins a file.
    pub fn open(&mut self, file: FileOrder, made: &mut Made<'_>) -> Result<()> {
        self.next = file.inode.next();
        if self.workers.len() < self.most {
            self.workers.extend((self.hire)());
        }
        self.is_own = self.workers.is_empty() || !file.meta.xattrs.is_empty();
        self.give(Order::Open(file), FILE, made)
    }

    /// Writes into it.
    pub fn write(&mut self, offset: u64, piece: Piece, made: &mut Made<'_>) -> Result<()> {
        // A batch ends where a file does, unless the file is larger.
        if self.batch.cost >= CHUNK {
            self.hand_out(made.tree)?;
        }
        let cost = PIECE + piece.len();
        self.give(Order::Write(offset, piece), cost, made)
    }

    /// Ends it.
    pub fn close(&mut self, made: &mut Made<'_>) -> Result<()> {
        self.give(Order::Close, 0, made)?;
        match self.batch.is_continued || self.batch.cost >= CHUNK {
            true => self.hand_out(made.tree),
            false => Ok(()),
        }
    }

    /// Waits until an inode is on disk.
    pub fn wait_for(&mut self, inode: InodeId, made: &mut Made<'_>) -> Result<()> {
        match inode < self.complete {
            true => Ok(()),
            false => self.wait(made),
        }
    }

    /// Waits until all files are on disk. Errors: the first failure since the last call.
    pub fn wait(&mut self, made: &mut Made<'_>) -> Result<()> {
        self.hand_out(made.tree)?;
        for index in 0..self.workers.len() {
            while self.workers[index].unanswered > 0 {
                let outcome = self.workers[index].done.recv().map_err(|_| died(NAME))?;
                self.take(index, outcome, made.tree);
            }
        }
        self.complete = self.next;
        match self.failed.take() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits, and keeps no directory open. The kernel keeps a removed directory as long as it is open, with
    /// all above it, and the removal of each of those passes over all below it: a deep tree with one open
    /// directory is removed in quadratic time. Errors: as for [`wait`](WriterPool::wait).
    pub fn close_directories(&mut self, made: &mut Made<'_>) -> Result<()> {
        self.wait(made)?;
        self.own.run(Order::CloseDirectory);
        for worker in &mut self.workers {
            let orders = vec![Order::CloseDirectory];
            let batch = Batch {
                orders,
                ..Batch::default()
            };
            worker.unanswered += 1;
            worker.todo.send(batch).map_err(|_| died(NAME))?;
        }
        self.wait(made)
    }

    fn give(&mut self, order: Order, cost: usize, made: &mut Made<'_>) -> Result<()> {
        if self.is_own {
            self.own.run(order);
            let outcome = self.own.outcome();
            made.report.add_warnings(&outcome.report);
            self.absorb(outcome, made.tree);
        } else {
            self.batch.orders.push(order);
            self.batch.cost += cost;
        }
        match self.failed {
            Some(_) => self.wait(made),
            None => Ok(()),
        }
    }

    /// Gives the batch to a worker, and takes the outcomes that are there.
    fn hand_out(&mut self, tree: &mut Tree) -> Result<()> {
        if self.batch.orders.is_empty() {
            return Ok(());
        }
        let index = self.choose();
        let batch = std::mem::take(&mut self.batch);
        self.batch.is_continued = !matches!(batch.orders.last(), Some(Order::Close));
        if let Some(directory) = batch.orders.iter().rev().find_map(directory_of) {
            self.last = Some((index, directory));
        }
        let worker = &mut self.workers[index];
        worker.load.fetch_add(batch.cost, Ordering::Relaxed);
        worker.unanswered += 1;
        worker.todo.send(batch).map_err(|_| died(NAME))?;
        for index in 0..self.workers.len() {
            while let Ok(outcome) = self.workers[index].done.try_recv() {
                self.take(index, outcome, tree);
            }
        }
        Ok(())
    }

    /// The worker that had the last batch, if this one goes on in its file or its directory, and it
    /// is not far behind; else the one with the least to do.
    fn choose(&self) -> usize {
        let load = |index: usize| self.workers[index].load.load(Ordering::Relaxed);
        let all = 0..self.workers.len();
        let idlest = all.min_by_key(|&index| load(index));
        let idlest = idlest.expect("there are workers if it is not its own");
        match self.last {
            Some((last, _)) if self.batch.is_continued => last,
            Some((last, directory))
                if self.batch.orders.first().and_then(directory_of) == Some(directory)
                    && load(last) < load(idlest) + AHEAD =>
            {
                last
            }
            _ => idlest,
        }
    }

    fn take(&mut self, index: usize, outcome: Outcome, tree: &mut Tree) {
        self.workers[index].unanswered -= 1;
        self.absorb(outcome, tree);
    }

    fn absorb(&mut self, outcome: Outcome, tree: &mut Tree) {
        for (inode, content) in outcome.contents {
            tree.inode_mut(inode).set_content(content);
        }
        if let Some((inode, error)) = outcome.failed
            && self.failed.as_ref().is_none_or(|(first, _)| inode < *first)
        {
            self.failed = Some((inode, error));
        }
    }
}

fn directory_of(order: &Order) -> Option<DirId> {
    match order {
        Order::Open(file) => Some(file.directory),
        Order::Write(..) | Order::Close | Order::CloseDirectory => None,
    }
}

/// What the thread of a worker does, until it gets no more orders.
fn work(
    mut writer: Writer<'_>,
    orders: &Receiver<Batch>,
    outcomes: &Sender<Outcome>,
    load: &AtomicUsize,
) {
    for batch in orders {
        for order in batch.orders {
            writer.run(order);
        }
        load.fetch_sub(batch.cost, Ordering::Relaxed);
        // If the receiver is gone, something else has failed.
        let _ = outcomes.send(writer.outcome());
    }
}
