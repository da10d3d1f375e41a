//! The threads that unpack layers: one layer a thread, in the order of the queue, until one fails.

use std::collections::VecDeque;
use std::sync::{Mutex, mpsc};

use crate::error::Result;
use crate::fs::root::clear_umask;
use crate::threads::start;

use super::watch::LowestFailure;

/// What a thread brings back of one layer.
pub struct Arrival<T> {
    /// Which layer.
    pub index: usize,
    /// What became of it.
    pub result: Result<T>,
}

/// Does `work` for each index in the queue, in its order, on so many threads, while `collect`
/// takes what they bring back on this one. Errors: the system has no more threads.
pub fn run<T: Send, O>(
    queue: VecDeque<usize>,
    threads: usize,
    failure: &LowestFailure,
    work: impl Fn(usize) -> Result<T> + Sync,
    collect: impl FnOnce(mpsc::Receiver<Arrival<T>>) -> O,
) -> Result<O> {
    let threads = threads.clamp(1, queue.len().max(1));
    let queue = Mutex::new(queue);
    let next = || queue.lock().expect("nobody panics with it").pop_front();
    let (sender, arrivals) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            let started = start(scope, "unpack", move || {
                clear_umask();
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
            if let Err(error) = started {
                queue.lock().expect("nobody panics with it").clear();
                return Err(error);
            }
        }
        drop(sender);
        Ok(collect(arrivals))
    })
}
