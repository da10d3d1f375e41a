//! `Hold`: who relies on what is in the store, so that nothing is removed under their hands.
//!
//! [`crate::pipeline`] shares a hold from the first look for a layer until the image is recorded;
//! `mount` until the mount is up. [`crate::collect`] takes it alone, looks at what images and mounts
//! need, and takes the rest away. A dead process holds nothing.

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::root::Dir;

use super::Store;

/// Until it is dropped, nothing in the store is removed; or, if it is held alone, nobody looks.
#[derive(Debug)]
pub struct Hold {
    _directory: Dir,
}

impl Store {
    /// Keeps what is in the store. While it is held by one alone, `wait` is called again and again:
    /// it lets some time pass, or gives up.
    pub fn share(&self, wait: impl FnMut() -> Result<()>) -> Result<Hold> {
        self.hold(FlockOperation::NonBlockingLockShared, wait)
    }

    /// Keeps everybody else out. While others hold it, `wait` is called as for [`share`](Self::share).
    pub fn hold_alone(&self, wait: impl FnMut() -> Result<()>) -> Result<Hold> {
        self.hold(FlockOperation::NonBlockingLockExclusive, wait)
    }

    fn hold(
        &self,
        operation: FlockOperation,
        mut wait: impl FnMut() -> Result<()>,
    ) -> Result<Hold> {
        let directory = self.open_dir("locks")?;
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
