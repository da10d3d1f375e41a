//! `Hold`: who relies on what is in the store, so that nothing is removed under their hands.
//!
//! [`crate::store::pipeline`] shares a hold from the first look for a layer until the image is recorded;
//! the command line's `mount` until the mount is up, and `images` while it looks; so does
//! [`crate::store::verify`]. [`crate::store::collect`] takes it alone, looks at what images and mounts need, and
//! takes the rest away. A dead process holds nothing.

use std::io;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Operation, Result};
use crate::fs::root::Dir;
use crate::progress::{Progress, waiting};

use super::Store;

/// Until it is dropped, nothing in the stores is removed; or, if one is held alone, nobody looks at it.
#[derive(Debug)]
pub struct Hold {
    _directories: Vec<Dir>,
}

const LOCKS: &str = "locks";
const SHARED: FlockOperation = FlockOperation::NonBlockingLockShared;
pub(crate) const ALONE: FlockOperation = FlockOperation::NonBlockingLockExclusive;

impl Store {
    /// Keeps what is in each store. While somebody holds one alone, this waits. Errors: cancelled.
    pub fn share(&self, progress: &dyn Progress) -> Result<Hold> {
        self.hold(|_| SHARED, progress)
    }

    /// Keeps everybody else out of this store, and what is in the others. While somebody holds it,
    /// this waits. Errors: cancelled.
    pub(crate) fn hold_alone(&self, progress: &dyn Progress) -> Result<Hold> {
        let is_this = |store: &Store| std::ptr::eq(store, self);
        self.hold(
            |store| if is_this(store) { ALONE } else { SHARED },
            progress,
        )
    }

    /// Keeps everybody else out of each store.
    pub(crate) fn hold_all_alone(&self, progress: &dyn Progress) -> Result<Hold> {
        self.hold(|_| ALONE, progress)
    }

    fn hold(
        &self,
        operation: impl Fn(&Store) -> FlockOperation,
        progress: &dyn Progress,
    ) -> Result<Hold> {
        // In one order for all processes, so that none waits in a circle.
        let mut stores: Vec<&Store> = self.each().collect();
        stores.sort_by(|one, other| one.path.cmp(&other.path));
        let mut directories = Vec::new();
        for store in stores {
            // On a medium that has no such directory there is nobody who removes anything.
            if let Some(directory) = store.find_dir(LOCKS)? {
                directories.push((directory, operation(store)));
            }
        }
        Hold::take(directories, progress)
    }
}

impl Hold {
    /// Keeps what is in stores that are not open, by their paths. Errors: cancelled; what the system
    /// says.
    pub(crate) fn shared(stores: &[PathBuf], progress: &dyn Progress) -> Result<Hold> {
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
        Hold::take(directories, progress)
    }

    fn take(directories: Vec<(Dir, FlockOperation)>, progress: &dyn Progress) -> Result<Hold> {
        let mut held = Vec::with_capacity(directories.len());
        for (directory, operation) in directories {
            let wait = waiting(progress, || progress.waits_for_store());
            lock(&directory, operation, "the store", wait)?;
            held.push(directory);
        }
        Ok(Hold { _directories: held })
    }
}

/// Locks a directory, for which it need not be written to. While somebody else has it, `wait` is called
/// again and again: it lets some time pass, or gives up.
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
