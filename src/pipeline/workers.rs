//! The threads that unpack layers: one layer a thread, the largest first, until one fails.
//!
//! Once a layer has failed, those above it are given up, and those below it go on: so of several
//! bad layers the lowest is the one that is told of, whatever the threads do.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use crate::error::Result;

/// The index of the lowest layer that failed so far.
#[derive(Debug)]
pub struct LowestFailure(AtomicUsize);

impl LowestFailure {
    /// None yet.
    pub fn none() -> LowestFailure {
        LowestFailure(AtomicUsize::new(usize::MAX))
    }

    /// A layer failed.
    pub fn add(&self, index: usize) {
        self.0.fetch_min(index, Ordering::Relaxed);
    }

    fn is_below(&self, index: usize) -> bool {
        self.0.load(Ordering::Relaxed) < index
    }

    /// A reader of a layer's blob that fails once the layer need not be finished.
    pub fn watch<R: Read>(&self, index: usize, inner: R) -> Watched<'_, R> {
        Watched {
            inner,
            index,
            failure: self,
        }
    }
}

/// See [`LowestFailure::watch`].
pub struct Watched<'a, R> {
    inner: R,
    index: usize,
    failure: &'a LowestFailure,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.failure.is_below(self.index) {
            true => Err(io::Error::other("a layer below failed")),
            false => self.inner.read(buffer),
        }
    }
}

/// What a thread brings back of one layer.
pub struct Arrival<T> {
    /// Which layer.
    pub index: usize,
    /// What became of it.
    pub result: Result<T>,
}

/// Does `work` for each index in the queue, in its order, on so many threads, while `collect`
/// takes what they bring back on this one.
pub fn run<T: Send, O>(
    queue: VecDeque<usize>,
    threads: usize,
    failure: &LowestFailure,
    work: impl Fn(usize) -> Result<T> + Sync,
    collect: impl FnOnce(mpsc::Receiver<Arrival<T>>) -> O,
) -> O {
    let threads = threads.clamp(1, queue.len().max(1));
    let queue = Mutex::new(queue);
    let next = || queue.lock().expect("nobody panics with it").pop_front();
    let (sender, arrivals) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(index) = next() {
                    if failure.is_below(index) {
                        continue;
                    }
                    let result = work(index);
                    if result.is_err() {
                        failure.add(index);
                    }
                    if sender.send(Arrival { index, result }).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        collect(arrivals)
    })
}
