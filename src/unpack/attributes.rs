//! Sets owner, xattrs, mode and times in the one order that loses none of them (rule M1): changing the
//! owner clears capabilities and setuid bits, and writing changes the time.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::dialect::Namespace;
use crate::error::{Error, Operation, Result};
use crate::fs::root::{self, Dir};
use crate::meta::{Meta, Time, Xattr, is_acl_xattr};
use crate::path::{self, EntryPath};

use crate::layer::options::{Options, Owners};
use crate::layer::report::{Report, Warning};
use crate::layer::tree::InodeKind;

/// An inode on disk, to set its attributes.
pub enum InodeRef<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in a directory, for types that cannot simply be opened.
    Named(&'a Dir, &'a [u8], FileType),
}

impl InodeRef<'_> {
    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        match self {
            InodeRef::Open(fd) => root::set_owner(fd, uid, gid),
            InodeRef::Named(dir, name, _) => dir.set_owner(name, uid, gid),
        }
    }

    fn set_xattr(&self, xattr: &Xattr) -> io::Result<()> {
        match self {
            InodeRef::Open(fd) => root::set_xattr(fd, &xattr.name, &xattr.value),
            InodeRef::Named(dir, name, _) => dir.set_xattr(name, &xattr.name, &xattr.value),
        }
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        match self {
            InodeRef::Open(fd) => root::set_mode(fd, mode),
            // Symbolic links have no mode.
            InodeRef::Named(_, _, FileType::Symlink) => Ok(()),
            InodeRef::Named(dir, name, _) => dir.set_mode(name, mode),
        }
    }

    fn set_times(&self, time: Time) -> io::Result<()> {
        match self {
            InodeRef::Open(fd) => root::set_times(fd, time),
            InodeRef::Named(dir, name, _) => dir.set_times(name, time),
        }
    }

    /// Whether it can have `user.*` xattrs: in Linux, only files and directories can.
    fn may_carry_user_xattrs(&self) -> bool {
        matches!(self, InodeRef::Open(_))
            || matches!(self, InodeRef::Named(_, _, FileType::RegularFile))
    }
}

/// The attributes that a new inode already has; `None` if they are not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fresh {
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// The twelve permission bits.
    pub mode: Option<u32>,
}

/// Sets everything in `meta` that the inode does not have already. Xattr names are those for the disk.
pub fn apply(
    inode: &InodeRef<'_>,
    meta: &Meta,
    path: &EntryPath,
    options: &Options,
    fresh: Fresh,
    report: &mut Report,
) -> Result<()> {
    let fail = |doing: &str, error: io::Error| Err(system(doing, error).at_entry(path));
    if options.owners == Owners::Image
        && fresh.owner != Some((meta.uid, meta.gid))
        && let Err(error) = inode.set_owner(meta.uid, meta.gid)
    {
        let doing = format!("setting the owner {}:{}", meta.uid, meta.gid);
        let error = Error::system(doing, error).during(Operation::SetOwner);
        return Err(error.at_entry(path));
    }
    for xattr in &meta.xattrs {
        match inode.set_xattr(xattr) {
            Ok(()) => {}
            Err(error) if may_be_left_out(inode, xattr, &error, options) => {
                report.warn(Warning::XattrNotKept, path);
            }
            Err(error) => return Err(not_set(inode, xattr, error).at_entry(path)),
        }
    }
    // An ACL among the xattrs changes the mode.
    if (fresh.mode != Some(meta.mode) || !meta.xattrs.is_empty())
        && let Err(error) = inode.set_mode(meta.mode)
    {
        return fail(&format!("setting the mode {:04o}", meta.mode), error);
    }
    inode
        .set_times(meta.mtime)
        .or_else(|error| fail("setting the times", error))
}

/// The error for an xattr that could not be set. If the disk has space left, ENOSPC means the file system's
/// limit for the xattrs of a file.
fn not_set(inode: &InodeRef<'_>, xattr: &Xattr, error: io::Error) -> Error {
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    let has_room = || match inode {
        InodeRef::Open(fd) => root::has_room(fd),
        InodeRef::Named(dir, ..) => root::has_room(dir),
    };
    if is(Errno::INVAL) && has_form(xattr) || is(Errno::OPNOTSUPP) && is_other_acl(xattr) {
        let what = format!("xattr {} has a malformed value", path::display(&xattr.name));
        return Error::refused(what);
    }
    let is_too_large = is(Errno::TOOBIG) || is(Errno::RANGE) || is(Errno::NOSPC) && has_room();
    let name = path::display(&xattr.name);
    let (operation, doing) = match is_too_large {
        true => {
            let size = xattr.value.len();
            let doing = format!("setting xattr {name} of {size} bytes");
            (Operation::SetLargeXattr, doing)
        }
        false => (Operation::SetXattr, format!("setting xattr {name}")),
    };
    Error::system(doing, error).during(operation)
}

/// Whether the kernel checks the value: `acl(5)`, `capabilities(7)`.
fn has_form(xattr: &Xattr) -> bool {
    is_acl_xattr(&xattr.name) || &*xattr.name == b"security.capability"
}

/// Whether it is an ACL of a version other than 2, for which the kernel returns EOPNOTSUPP.
fn is_other_acl(xattr: &Xattr) -> bool {
    is_acl_xattr(&xattr.name) && !xattr.value.starts_with(&2u32.to_le_bytes())
}

/// Rule X2: an xattr that cannot be kept is an error, except for `user.*` on types that cannot have it, and
/// for xattrs that an unprivileged caller may not set.
fn may_be_left_out(
    inode: &InodeRef<'_>,
    xattr: &Xattr,
    error: &io::Error,
    options: &Options,
) -> bool {
    let denied = error.raw_os_error() == Some(Errno::PERM.raw_os_error());
    let unprivileged =
        options.owners == Owners::Caller || options.dialect.namespace == Namespace::User;
    let is = |prefix: &[u8]| xattr.name.starts_with(prefix);
    // A mark of ours that is missing would make another tree.
    if options.dialect.is_order(&xattr.name) {
        return false;
    }
    (is(b"user.") && !inode.may_carry_user_xattrs())
        || (denied && unprivileged && is(b"trusted."))
        || (denied && options.owners == Owners::Caller && is(b"security."))
}

/// A system error while writing the content of an image.
pub fn system(doing: &str, error: io::Error) -> Error {
    Error::system(doing, error).during(Operation::Create)
}

/// The system's type for a kind of inode.
pub fn file_type(kind: InodeKind) -> FileType {
    match kind {
        InodeKind::Directory(_) => FileType::Directory,
        InodeKind::File { .. } => FileType::RegularFile,
        InodeKind::Symlink => FileType::Symlink,
        InodeKind::CharDevice(_) => FileType::CharacterDevice,
        InodeKind::BlockDevice(_) => FileType::BlockDevice,
        InodeKind::Fifo => FileType::Fifo,
    }
}
