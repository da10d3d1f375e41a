//! What `stat(2)` does not return for a name: its mount, and whether it is immutable.
//!
//! Source: `statx(2)`.

use std::io;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};

use crate::error::{Error, Result};

use super::Dir;

/// Details of a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details {
    /// The ID of its mount; `None` before Linux 5.8. A bind mount has its own, although its device number
    /// is the same.
    pub mount: Option<u64>,
    /// Whether it cannot be linked, renamed or removed (`chattr +i`, `chattr +a`).
    pub is_immutable: bool,
}

impl Details {
    /// Errors: it is on another mount than this one.
    pub fn check_mount(&self, mount: Option<u64>) -> Result<()> {
        match self.mount == mount {
            true => Ok(()),
            false => {
                let error = Error::conflict("another file system is mounted there");
                Err(error.hint("unmount it first"))
            }
        }
    }
}

impl Dir {
    /// The details of a name, without following it.
    pub fn details(&self, name: &[u8]) -> io::Result<Details> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(self, name, flags, StatxFlags::MNT_ID)?;
        let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
        let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
        Ok(Details {
            mount: known.then_some(stat.stx_mnt_id),
            is_immutable: stat.stx_attributes.intersects(fixed),
        })
    }
}
