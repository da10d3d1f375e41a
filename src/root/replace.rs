//! Changing what is there: renames within a directory, and xattrs that go.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::Dir;

impl Dir {
    /// Gives a name in this directory another one. What has the new name makes way if it may, else
    /// that is an error.
    pub fn rename(&self, name: &[u8], new: &[u8], replace: bool) -> io::Result<()> {
        let flags = match replace {
            true => RenameFlags::empty(),
            false => RenameFlags::NOREPLACE,
        };
        Ok(rustix::fs::renameat_with(self, name, self, new, flags)?)
    }

    /// Takes an xattr from a name, not from what it points to; absent is fine.
    pub fn remove_xattr(&self, name: &[u8], xattr: &[u8]) -> io::Result<()> {
        match xattr::remove(self.proc_path(name), OsStr::from_bytes(xattr)) {
            Err(error) if error.raw_os_error() == Some(Errno::NODATA.raw_os_error()) => Ok(()),
            other => other,
        }
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            self,
            name,
            rustix::fs::AtFlags::REMOVEDIR,
        )?)
    }
}
