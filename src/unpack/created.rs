//! `Created`: the attributes of a new inode in a layer's directory, so that no call sets a value that is
//! already there.

use std::io;

use crate::error::Result;
use crate::fs::root::{self, Dir};
use crate::meta::{Meta, Time, Xattr, is_label};

use super::{Options, Owners, system};
use crate::layer::tree::Inode;

const PROBE: &[u8] = b"probe";
/// Every permission.
const ALL: u32 = 0o777;
/// A time with nanoseconds.
const TIME: Time = Time {
    seconds: 1,
    nanoseconds: 123_456_789,
};

/// The attributes of new inodes in a directory and below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// User and group: the caller's, unless the file system decides otherwise.
    pub owner: (u32, u32),
    /// Whether the probing thread has no umask, so that a file gets its mode when it is created.
    pub umask_is_clear: bool,
    /// Whether the file system stores times to the nanosecond.
    pub keeps_nanoseconds: bool,
    /// Whether the system gives new inodes xattrs that count in a listing, such as labels.
    pub has_xattrs: bool,
}

impl Created {
    /// Probes in a layer's directory, which is empty. Inherited ACLs, which would pass on to everything in
    /// it, are removed first.
    pub fn find_out(directory: &Dir, options: &Options) -> Result<Created> {
        directory
            .remove_acls()
            .map_err(|error| system("removing an inherited ACL", error))?;
        probe(directory, options.selinux).map_err(|error| system("trying to make a file", error))
    }

    /// Notes what the disk says of an inode after it gets these attributes.
    pub fn complete(self, inode: &mut Inode, meta: &Meta, options: &Options) {
        inode.describe(meta);
        inode.must_be_read |= !self.keeps_nanoseconds && meta.mtime.nanoseconds != 0;
        inode.must_be_read |= self.has_xattrs;
        if options.owners == Owners::Caller {
            (inode.uid, inode.gid) = self.owner;
        }
    }
}

fn probe(directory: &Dir, selinux: bool) -> io::Result<Created> {
    // In a setgid directory, new files get its group.
    root::set_mode(directory, 0o700)?;
    let file = directory.make_file_with(PROBE, ALL)?;
    root::set_times(&file, TIME)?;
    let stat = rustix::fs::fstat(&file)?;
    // Some are set when the file is closed.
    drop(file);
    let xattrs = directory.kept_xattrs(PROBE)?;
    let has_xattrs = xattrs.iter().any(|xattr| counts(xattr, selinux));
    directory.remove_file(PROBE)?;
    Ok(Created {
        owner: (stat.st_uid, stat.st_gid),
        umask_is_clear: stat.st_mode & ALL == ALL,
        keeps_nanoseconds: root::mtime(&stat) == TIME,
        has_xattrs,
    })
}

/// Whether an xattr counts: a label only if labels are kept (rule X2).
fn counts(xattr: &Xattr, selinux: bool) -> bool {
    selinux || !is_label(&xattr.name)
}
