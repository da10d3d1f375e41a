//! The mount table: what is mounted on a directory. Called by [`super::umount`].
//!
//! Source: `proc_pid_mountinfo(5)`, `statx(2)`.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use crate::error::{Error, Result};

/// A mount.
#[derive(Debug)]
pub struct Entry {
    pub file_system: String,
    pub source: String,
}

/// The topmost mount on a directory; `None` where it is no mount point.
pub fn at(target: &Path) -> Result<Option<Entry>> {
    let looking =
        |error: std::io::Error| Error::system(format!("looking at {}", target.display()), error);
    // STATX_MNT_ID, of Linux 5.8, which rustix has no name for.
    let mask = StatxFlags::from_bits_retain(0x1000);
    let stat = statx(CWD, target, AtFlags::SYMLINK_NOFOLLOW, mask)
        .map_err(|errno| looking(errno.into()))?;
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(None);
    }
    let table = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| Error::system("reading /proc/self/mountinfo", error))?;
    let id = stat.stx_mnt_id.to_string();
    Ok(table.split(|&byte| byte == b'\n').find_map(|line| {
        let line = String::from_utf8_lossy(line);
        let (own, file_system) = line.split_once(" - ")?;
        let mut fields = file_system.split(' ');
        (own.split(' ').next()? == id).then_some(())?;
        Some(Entry {
            file_system: fields.next()?.into(),
            source: fields.next()?.into(),
        })
    }))
}
