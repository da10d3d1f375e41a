//! `LayerLock`: the right to unpack a layer. A process that needs a layer which another one is unpacking
//! waits for it, and then finds it. The kernel releases the lock of a dead process, and the next one takes
//! over its work.
//!
//! [`crate::store::pipeline`] locks the lowest missing layer, and none above it. A chain ID covers all
//! layers below, so every process that unpacks a layer has found the same lowest layer missing; or it has
//! another store with that layer, and then both unpack it, and the first one's is kept.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::Dir;

use super::Store;

/// The right to unpack one layer, until it is dropped.
#[derive(Debug)]
pub struct LayerLock {
    directory: Dir,
    name: String,
    /// Holds the lock.
    file: OwnedFd,
}

impl Store {
    /// Takes the lock of a layer. While another process has it, `wait` is called repeatedly: it
    /// waits a moment, or gives up. Errors: the store can only be read.
    pub(crate) fn lock_layer(
        &self,
        chain_id: &Digest,
        mut wait: impl FnMut() -> Result<()>,
    ) -> Result<LayerLock> {
        self.check_writable()?;
        let directory = self.open_dir("locks")?;
        let name = format!("{}-{}", chain_id.algorithm().name(), chain_id.hex());
        let locking = |errno: Errno| Error::system(format!("locking layer {chain_id}"), errno);
        loop {
            let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let mode = Mode::from_raw_mode(0o600);
            let file = rustix::fs::openat(&directory, &*name, flags, mode).map_err(locking)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    wait()?;
                    continue;
                }
                Err(errno) => return Err(locking(errno)),
            }
            // Its last owner has removed its name, so this file no longer locks anything.
            if is_named(&directory, &name, &file).map_err(locking)? {
                return Ok(LayerLock {
                    directory,
                    name,
                    file,
                });
            }
        }
    }
}

/// Removes lock files of killed processes. A process that opens one at this moment finds that it no longer
/// has a name, and creates another.
pub(super) fn remove_dead(locks: &Dir) -> io::Result<()> {
    for name in locks.names()? {
        let name = String::from_utf8_lossy(&name);
        // What has another name is not ours.
        if Digest::parse(&name.replacen('-', ":", 1)).is_ok() {
            remove_if_dead(locks, &name)?;
        }
    }
    Ok(())
}

fn remove_if_dead(locks: &Dir, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match rustix::fs::openat(locks, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_named(locks, name, &file)? => {
            rustix::fs::unlinkat(locks, name, AtFlags::empty())
        }
        Ok(()) | Err(Errno::WOULDBLOCK) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn is_named(directory: &Dir, name: &str, file: &OwnedFd) -> rustix::io::Result<bool> {
    let own = rustix::fs::fstat(file)?;
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

impl Drop for LayerLock {
    fn drop(&mut self) {
        // The name is removed before the lock is released. If that fails, an empty file stays.
        let _: io::Result<()> = self.directory.remove_file(self.name.as_bytes());
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}
