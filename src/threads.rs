//! [`ThreadBudget`]: how many threads a run may have, and the only place that starts them.
//!
//! With `-j N` a run has at most N threads that each take whole layers, and [`HELPERS`] more that
//! take over stages of a layer (decompression, hashing, writing), besides the thread that called it.
//! With `-j 1` one thread takes the layers, and no stage leaves it. (A thread that has given up its place
//! may take a moment longer to end.)
//!
//! A thread that the system refuses (`pids.max`, `ulimit -u`) is not an error: the work that was
//! meant for it comes back to its caller, who does it itself. So a run ends with the same result on
//! any number of threads, none included. A panic in a thread becomes an error of its work.

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::error::{Error, Operation, Result};

/// Threads for the stages of layers, for each run: what one layer needs to be read, decompressed,
/// hashed and written at the same time.
pub const HELPERS: usize = 4;
/// How long the system is not asked again after it has refused a thread: each stage would like one at
/// each chunk.
const PAUSE: Duration = Duration::from_millis(50);

/// The threads that a run may have, and has. Runs that share one share its limit.
#[derive(Debug)]
pub struct ThreadBudget {
    jobs: usize,
    /// Threads at a time, at most.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that take whole layers.
    workers: usize,
    /// Threads that take stages.
    helpers: usize,
    /// Layers that divide the helpers among them.
    shares: usize,
    /// When the system refused a thread.
    refused: Option<Instant>,
}

impl ThreadBudget {
    /// For so many jobs (`-j`), at least one.
    pub fn new(jobs: usize) -> ThreadBudget {
        let jobs = jobs.max(1);
        let limit = match jobs {
            1 => 1,
            more => more.saturating_add(HELPERS),
        };
        ThreadBudget::with_limit(jobs, limit)
    }

    /// The same for a system that has no more threads than this.
    pub(crate) fn with_limit(jobs: usize, limit: usize) -> ThreadBudget {
        ThreadBudget {
            jobs,
            limit,
            state: Mutex::default(),
        }
    }

    /// Layers to work on at once, at most.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// The part of one layer, until it is dropped.
    pub fn share(&self) -> ThreadShare<'_> {
        self.state().shares += 1;
        ThreadShare {
            budget: self,
            helpers: Arc::default(),
        }
    }

    /// Starts a thread that takes whole layers. Errors: no thread is to be had, and this is the
    /// state that it would have taken.
    pub fn start<'scope, S: Send + 'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        state: S,
        work: impl FnOnce(S) -> T + Send + 'scope,
    ) -> std::result::Result<Thread<'scope, T>, S> {
        spawn(scope, name, self.worker(), state, work)
    }

    fn worker(&self) -> Option<Permit<'_>> {
        let mut state = self.state();
        let is_free = self.has_room(&state) && state.workers < self.jobs;
        is_free.then(|| {
            state.workers += 1;
            Permit {
                budget: self,
                share: None,
            }
        })
    }

    fn has_room(&self, state: &State) -> bool {
        let may_ask = state.refused.is_none_or(|moment| moment.elapsed() > PAUSE);
        state.workers + state.helpers < self.limit && may_ask
    }

    /// What each of the layers may have that are being worked on: an equal part of the threads that
    /// take no whole layers.
    fn helpers_of_a_share(&self, state: &State) -> usize {
        let helpers = self.limit.saturating_sub(state.workers);
        (helpers / state.shares.max(1)).max(1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads that the stages of one layer may have: its part of those that no other layer takes.
/// It grows as other layers are done, so it is worth asking again.
#[derive(Debug)]
pub struct ThreadShare<'a> {
    budget: &'a ThreadBudget,
    /// Its threads; counted under the lock of the budget.
    helpers: Arc<AtomicUsize>,
}

impl ThreadShare<'_> {
    /// See [`ThreadBudget::jobs`].
    pub fn jobs(&self) -> usize {
        self.budget.jobs
    }

    /// Starts a thread for a stage. Errors: no thread is to be had now, and this is the state that
    /// it would have taken.
    pub fn start<'scope, S: Send + 'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        name: &str,
        state: S,
        work: impl FnOnce(S) -> T + Send + 'scope,
    ) -> std::result::Result<Thread<'scope, T>, S> {
        spawn(scope, name, self.helper(), state, work)
    }

    fn helper(&self) -> Option<Permit<'_>> {
        let budget = self.budget;
        let mut state = budget.state();
        let is_free = budget.jobs > 1
            && budget.has_room(&state)
            && self.helpers.load(Ordering::Relaxed) < budget.helpers_of_a_share(&state);
        is_free.then(|| {
            state.helpers += 1;
            self.helpers.fetch_add(1, Ordering::Relaxed);
            Permit {
                budget,
                share: Some(Arc::clone(&self.helpers)),
            }
        })
    }
}

impl Drop for ThreadShare<'_> {
    fn drop(&mut self) {
        self.budget.state().shares -= 1;
    }
}

/// The right to one thread, until it is dropped.
struct Permit<'a> {
    budget: &'a ThreadBudget,
    /// The helpers of its layer, if it is one of them.
    share: Option<Arc<AtomicUsize>>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        match &self.share {
            Some(helpers) => {
                state.helpers -= 1;
                helpers.fetch_sub(1, Ordering::Relaxed);
            }
            None => state.workers -= 1,
        }
    }
}

fn spawn<'scope, S: Send + 'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    permit: Option<Permit<'scope>>,
    state: S,
    work: impl FnOnce(S) -> T + Send + 'scope,
) -> std::result::Result<Thread<'scope, T>, S> {
    let Some(permit) = permit else {
        return Err(state);
    };
    // A closure that was refused its thread is lost, with all that it owns.
    let handed_over = Arc::new(Mutex::new(Some((permit, state))));
    let taken = Arc::clone(&handed_over);
    let take = |from: &Mutex<Option<_>>| from.lock().unwrap_or_else(PoisonError::into_inner).take();
    let started = Builder::new()
        .name(name.into())
        .spawn_scoped(scope, move || {
            let (permit, state) = take(&taken)?;
            let done = catch_unwind(AssertUnwindSafe(|| work(state)));
            drop(permit);
            done.ok()
        });
    match started {
        Ok(handle) => Ok(Thread(handle)),
        Err(_) => {
            let (permit, state) = take(&handed_over).expect("no thread took it");
            permit.budget.state().refused = Some(Instant::now());
            Err(state)
        }
    }
}

/// A thread that was started, and ends before its scope does.
pub struct Thread<'scope, T>(ScopedJoinHandle<'scope, Option<T>>);

impl<T> Thread<'_, T> {
    /// Waits for its result. Errors ([`Kind::Internal`](crate::Kind::Internal)): it panicked.
    pub fn join(self) -> Result<T> {
        let name = self.0.thread().name().unwrap_or_default().to_owned();
        let done = self.0.join().ok().flatten();
        done.ok_or_else(|| died(&name))
    }
}

/// Does a piece of work whose panic must not end the thread. Errors: its own; it panicked
/// ([`Kind::Internal`](crate::Kind::Internal)).
pub fn caught<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(died(name)))
}

/// A thread of this name panicked: that says nothing of the image.
pub fn died(name: &str) -> Error {
    Error::internal(format!("the thread `{name}` panicked"))
}

/// Starts a thread for what cannot be done on the calling one, such as entering a namespace. The
/// system shows at most 15 bytes of its name.
///
/// Errors: the system has no more threads.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().name(name.into()).spawn_scoped(scope, work);
    started.map_err(|error| {
        Error::system(format!("starting a thread to {name}"), error).during(Operation::StartThread)
    })
}
