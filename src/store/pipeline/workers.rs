//! [`Workers`]: threads that do tasks from a queue, in its order, while the calling thread takes what
//! they bring back. [`super::work`] unpacks the layers of an image with it, [`crate::view`] reads them.
//!
//! There are as many workers as the [`ThreadBudget`] has threads for them. Where there is none, the
//! calling thread does the tasks itself, whenever it would wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::fs::root::clear_umask;
use crate::threads::ThreadBudget;

/// The threads, and what they have to do.
pub struct Workers<'scope, 'env, K, T> {
    scope: &'scope Scope<'scope, 'env>,
    threads: &'scope ThreadBudget,
    shared: &'scope Shared<K, T>,
    work: &'scope (dyn Fn(K) -> Option<T> + Sync),
}

struct Shared<K, T> {
    queue: Mutex<Queue<K, T>>,
    /// Something was done, or a worker ended.
    changed: Condvar,
}

struct Queue<K, T> {
    todo: VecDeque<K>,
    done: VecDeque<T>,
    workers: usize,
}

impl<K, T> Shared<K, T> {
    fn queue(&self) -> MutexGuard<'_, Queue<K, T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has `work` done for each task, while `collect` takes what comes of them. Tasks that are not begun
/// when `collect` returns are not done.
pub fn with_workers<K: Send, T: Send, O>(
    threads: &ThreadBudget,
    tasks: VecDeque<K>,
    work: &(dyn Fn(K) -> Option<T> + Sync),
    collect: impl FnOnce(&Workers<'_, '_, K, T>) -> O,
) -> O {
    let count = tasks.len();
    let queue = Queue {
        todo: tasks,
        done: VecDeque::new(),
        workers: 0,
    };
    let shared = Shared {
        queue: Mutex::new(queue),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let workers = Workers {
            scope,
            threads,
            shared: &shared,
            work,
        };
        workers.start(count);
        let collected = collect(&workers);
        shared.queue().todo.clear();
        collected
    })
}

impl<K: Send, T: Send> Workers<'_, '_, K, T> {
    /// What came of the next task that is done, in any order; `None` once all are. Where no thread
    /// works on them, this one does.
    pub fn next(&self) -> Option<T> {
        let mut queue = self.shared.queue();
        loop {
            if let Some(done) = queue.done.pop_front() {
                return Some(done);
            }
            if queue.workers > 0 {
                let changed = self.shared.changed.wait(queue);
                queue = changed.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let task = queue.todo.pop_front()?;
            drop(queue);
            if let Some(done) = (self.work)(task) {
                return Some(done);
            }
            queue = self.shared.queue();
        }
    }

    /// Adds a task, which is done before those that wait.
    pub fn add_first(&self, task: K) {
        self.shared.queue().todo.push_front(task);
        self.start(1);
    }

    /// Starts so many threads, or as many as are to be had.
    fn start(&self, count: usize) {
        for _ in 0..count {
            self.shared.queue().workers += 1;
            let worker = Worker(self.shared);
            let work = self.work;
            let started = self.threads.start(self.scope, "layer", worker, |worker| {
                clear_umask();
                work_off(worker.0, work);
            });
            // A worker that has no thread is dropped.
            if started.is_err() {
                return;
            }
        }
    }
}

fn work_off<K, T>(shared: &Shared<K, T>, work: &dyn Fn(K) -> Option<T>) {
    loop {
        let Some(task) = shared.queue().todo.pop_front() else {
            return;
        };
        if let Some(done) = work(task) {
            shared.queue().done.push_back(done);
            shared.changed.notify_one();
        }
    }
}

/// A worker, until it ends, however it does.
struct Worker<'a, K, T>(&'a Shared<K, T>);

impl<K, T> Drop for Worker<'_, K, T> {
    fn drop(&mut self) {
        self.0.queue().workers -= 1;
        self.0.changed.notify_one();
    }
}
