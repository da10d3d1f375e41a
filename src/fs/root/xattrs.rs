//! The xattrs of names in a directory.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::meta::{XFS_ACLS, Xattr};

use super::Dir;

/// The maximum total length of the xattr names of an inode, in bytes (`XATTR_LIST_MAX`).
const XATTR_LIST_MAX: usize = 65536;
/// A size that is usually enough.
const SHORT_LIST: usize = 512;

impl Dir {
    /// Sets an xattr of a name, without following it.
    pub fn set_xattr(&self, name: &[u8], xattr: &[u8], value: &[u8]) -> io::Result<()> {
        xattr::set(self.proc_path(name), OsStr::from_bytes(xattr), value)
    }

    /// The xattrs of a name, without following it, sorted; an ACL comes once (rule X2).
    pub fn xattrs(&self, name: &[u8]) -> io::Result<Vec<Xattr>> {
        let path = self.proc_path(name);
        let mut xattrs = Vec::new();
        let twice = |name: &std::ffi::OsString| name.as_bytes().starts_with(XFS_ACLS);
        for name in xattr::list(&path)?.filter(|name| !twice(name)) {
            if let Some(value) = xattr::get(&path, &name)? {
                let (name, value) = (name.as_bytes().into(), value.into());
                xattrs.push(Xattr { name, value });
            }
        }
        xattrs.sort_unstable_by(|a: &Xattr, b: &Xattr| a.name.cmp(&b.name));
        Ok(xattrs)
    }

    /// The names of the xattrs of a name, each followed by a NUL; none on a file system without xattrs.
    pub fn xattr_names(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let mut names = Vec::with_capacity(SHORT_LIST);
        loop {
            let path = self.proc_path(name);
            match rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)) {
                Ok(_) => return Ok(names),
                Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Err(Errno::RANGE) if names.capacity() < XATTR_LIST_MAX => {
                    names.reserve(XATTR_LIST_MAX);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The xattrs of a name, sorted; none on a file system without xattrs.
    pub fn kept_xattrs(&self, name: &[u8]) -> io::Result<Vec<Xattr>> {
        match self.xattrs(name) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    /// The value of one short xattr of a name, if it is set; a longer value is cut.
    pub fn short_xattr(&self, name: &[u8], xattr: &str) -> io::Result<Option<Vec<u8>>> {
        // A file system without xattrs has no marks either.
        match xattr::get(self.proc_path(name), xattr) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => Ok(None),
            other => other,
        }
    }
}
