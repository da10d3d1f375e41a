//! `Created`: what an inode is like when it was just made in a layer's directory, so that no call
//! sets what already holds.

use std::io;

use crate::error::Result;
use crate::fs::root::{self, Dir};
use crate::meta::{Meta, Time, Xattr};

use super::{Options, Owners, system};
use crate::layer::tree::Inode;

const PROBE: &[u8] = b"probe";
/// Every permission.
const ALL: u32 = 0o777;
/// A time that needs nanoseconds.
const TIME: Time = Time {
    seconds: 1,
    nanoseconds: 123_456_789,
};

/// What is made in a directory and all below it, before anything is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// User and group: the caller's, unless the file system has it otherwise.
    pub owner: (u32, u32),
    /// Whether the thread that tried it has no umask, so that a file gets its mode when it is made.
    pub umask_is_clear: bool,
    /// Whether the file system keeps times to the nanosecond.
    pub keeps_nanoseconds: bool,
    /// Whether the system gives it xattrs that a listing has: a label, say, where labels count.
    pub has_xattrs: bool,
}

impl Created {
    /// Tries it in a layer's directory, which is empty. What the directory has of the one around
    /// it is not the layer's, and would go on to all that is made in it: that is taken away first.
    pub fn find_out(directory: &Dir, options: &Options) -> Result<Created> {
        directory
            .remove_acls()
            .map_err(|error| system("removing an inherited ACL", error))?;
        probe(directory, options.selinux).map_err(|error| system("trying to make a file", error))
    }

    /// What the disk says of an inode that gets these attributes.
    pub fn describe(self, mut inode: Inode, meta: &Meta, options: &Options) -> Inode {
        self.complete(&mut inode, meta, options);
        inode
    }

    /// The same, for one that is in the tree already.
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
    // A setgid directory gives its group away.
    root::set_mode(directory, 0o700)?;
    let file = directory.make_file_with(PROBE, ALL)?;
    root::set_times(&file, TIME)?;
    let stat = rustix::fs::fstat(&file)?;
    // Some come when it is closed.
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

/// A label belongs to this system, unless it was asked for (rule X2).
fn counts(xattr: &Xattr, selinux: bool) -> bool {
    selinux || &*xattr.name != b"security.selinux"
}
