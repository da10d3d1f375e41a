//! `StoreLock`: shared by processes that use layers in a store, exclusive for one that removes them.
//!
//! [`crate::store::pipeline`] holds a shared lock from looking up the first layer until the image is recorded;
//! so do `mount` until the mount is up, `images` while it lists, and
//! [`crate::store::verify`]. [`crate::store::gc`] locks exclusively while it finds out what images and
//! mounts need, and removes the rest. The lock of a dead process is free.

use std::io;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Operation, Result};
use crate::fs::root::Dir;
use crate::progress::{Progress, waiting};

use super::Store;

/// A lock on one or more stores, until it is dropped.
#[derive(Debug)]
pub struct StoreLock {
    _directories: Vec<Dir>,
}

const LOCKS: &str = "locks";
const SHARED: FlockOperation = FlockOperation::NonBlockingLockShared;
pub(crate) const EXCLUSIVE: FlockOperation = FlockOperation::NonBlockingLockExclusive;

impl Store {
    /// A shared lock on each store: nothing is removed from it. Waits for exclusive locks. Errors:
    /// cancelled.
    pub fn lock_shared(&self, progress: &dyn Progress) -> Result<StoreLock> {
        self.lock_each(|_| SHARED, progress)
    }

    /// An exclusive lock on this store, and shared locks on the others. Waits for other locks. Errors:
    /// cancelled.
    pub(crate) fn lock_exclusive(&self, progress: &dyn Progress) -> Result<StoreLock> {
        let is_this = |store: &Store| std::ptr::eq(store, self);
        self.lock_each(
            |store| if is_this(store) { EXCLUSIVE } else { SHARED },
            progress,
        )
    }

    /// An exclusive lock on each store.
    pub(crate) fn lock_all_exclusive(&self, progress: &dyn Progress) -> Result<StoreLock> {
        self.lock_each(|_| EXCLUSIVE, progress)
    }

    fn lock_each(
        &self,
        operation: impl Fn(&Store) -> FlockOperation,
        progress: &dyn Progress,
    ) -> Result<StoreLock> {
        // All processes lock in the same order, so that there is no deadlock.
        let mut stores: Vec<&Store> = self.each().collect();
        stores.sort_by(|one, other| one.path.cmp(&other.path));
        let mut directories = Vec::new();
        for store in stores {
            // A medium without this directory is never written to.
            if let Some(directory) = store.find_dir(LOCKS)? {
                directories.push((directory, operation(store)));
            }
        }
        StoreLock::take(directories, progress)
    }
}

impl StoreLock {
    /// Shared locks on stores that are not open, by their paths. Errors: cancelled; the system.s.
    pub(crate) fn shared(stores: &[PathBuf], progress: &dyn Progress) -> Result<StoreLock> {
        let mut stores: Vec<&PathBuf> = stores.iter().collect();
        stores.sort();
        let mut directories = Vec::new();
        for store in stores {
            match Dir::open(&store.join(LOCKS)) {
                Ok(directory) => directories.push((directory, SHARED)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let doing = format!("opening the store {}", store.display());
                    return Err(Error::system(doing, error).during(Operation::OpenStore));
                }
            }
        }
        StoreLock::take(directories, progress)
    }

    fn take(directories: Vec<(Dir, FlockOperation)>, progress: &dyn Progress) -> Result<StoreLock> {
        let mut held = Vec::with_capacity(directories.len());
        for (directory, operation) in directories {
            let wait = waiting(progress, || progress.waits_for_store());
            lock(&directory, operation, "the store", wait)?;
            held.push(directory);
        }
        Ok(StoreLock { _directories: held })
    }
}

/// Locks a directory, which may be read-only. While another process has the lock, `wait` is called
/// repeatedly: it waits a little, or gives up.
pub(crate) fn lock(
    directory: &Dir,
    operation: FlockOperation,
    what: &str,
    mut wait: impl FnMut() -> Result<()>,
) -> Result<()> {
    loop {
        match rustix::fs::flock(directory, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => wait()?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system(format!("locking {what}"), errno)),
        }
    }
}
