//! `Hold`: who relies on what is in the store, so that nothing is removed under their hands.
//!
//! [`crate::pipeline`] shares a hold from the first look for a layer until the image is recorded;
//! the command line's `mount` until the mount is up, and `images` while it looks; so does
//! [`crate::verify`]. [`crate::collect`] takes it alone, looks at what images and mounts need, and
//! takes the rest away. A dead process holds nothing.

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::progress::{Progress, waiting};
use crate::root::Dir;

use super::Store;

/// Until it is dropped, nothing in the store is removed; or, if it is held alone, nobody looks.
#[derive(Debug)]
pub struct Hold {
    _directory: Dir,
}

impl Store {
    /// Keeps what is in the store. While somebody holds it alone, this waits. Errors: cancelled.
    pub fn share(&self, progress: &dyn Progress) -> Result<Hold> {
        self.hold(FlockOperation::NonBlockingLockShared, progress)
    }

    /// Keeps everybody else out. While others hold it, this waits. Errors: cancelled.
    pub fn hold_alone(&self, progress: &dyn Progress) -> Result<Hold> {
        self.hold(FlockOperation::NonBlockingLockExclusive, progress)
    }

    fn hold(&self, operation: FlockOperation, progress: &dyn Progress) -> Result<Hold> {
        let directory = self.open_dir("locks")?;
        let mut wait = waiting(progress, || progress.waits_for_store());
        loop {
            match rustix::fs::flock(&directory, operation) {
                Ok(()) => {
                    return Ok(Hold {
                        _directory: directory,
                    });
                }
                Err(Errno::WOULDBLOCK) => wait()?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("locking the store", errno)),
            }
        }
    }
}
