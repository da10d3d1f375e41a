//! The one reader of overlayfs's marks: what a name in a layer directory means to a mount.
//!
//! Called by [`MergedView`](super::merged_view::MergedView), [`crate::repack::pack`] and
//! [`crate::repack::convert`]. It reads through an open directory, and never follows or changes anything.
//! Source: kernel `Documentation/filesystems/overlayfs.rst`; `ovl_lookup_single` and
//! `ovl_path_is_whiteout` in `fs/overlayfs`.

use std::io;

use rustix::fs::{FileType, Stat};

use crate::dialect::{HOLDS_XATTR_WHITEOUTS, Mark, Namespace, OPAQUE};
use crate::error::{Advice, Error, Result};
use crate::fs::root::{self, Dir};
use crate::meta::Device;

/// What a name in a layer directory means to a mount.
#[derive(Clone, Copy, Debug)]
pub enum Inspected {
    /// A deletion, in either form.
    Whiteout,
    /// A directory, whose own marks [`DirMarks::read`] reads.
    Directory,
    /// Anything else.
    Leaf(Stat),
}

/// The marks on a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirMarks {
    /// It is opaque. A mount ignores that on the root of a layer (rule O3).
    pub is_opaque: bool,
    /// It may hold deletions that are xattrs.
    pub holds_xattr_whiteouts: bool,
    /// Its deletions may hide nothing (rule W3).
    pub is_over_unknown: bool,
    /// The path of its content in the layers below; a mount ignores that on the root of a layer.
    pub redirect: Option<Box<[u8]>>,
}

/// Errors ([`Kind::Unsupported`](crate::Kind::Unsupported)): the marks of layer directories and upperdirs in this
/// namespace do not show to the caller, who would take what is deleted for what is there.
pub fn check_marks_show(namespace: Namespace) -> Result<()> {
    if namespace == Namespace::User || root::sees_trusted_xattrs() {
        return Ok(());
    }
    let text =
        "its marks are trusted.overlay.* xattrs, which the kernel shows only to CAP_SYS_ADMIN";
    Err(Error::unsupported(text).hint(Advice::ReadMarks))
}

/// What a name in a directory with these marks means; `None` if it is absent.
///
/// Errors: the system's; an xattr whiteout in a directory that is not marked as holding one
/// ([`Kind::Refused`](crate::Kind::Refused)): a mount lists such a name, but cannot open it.
pub fn inspect(
    directory: &Dir,
    marks: &DirMarks,
    name: &[u8],
    namespace: Namespace,
) -> io::Result<Option<Inspected>> {
    let Some(stat) = directory.stat(name)? else {
        return Ok(None);
    };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Inspected::Directory,
        _ if is_whiteout_device(&stat) => Inspected::Whiteout,
        _ if is_xattr_whiteout(directory, name, &stat, namespace)? => {
            if !marks.holds_xattr_whiteouts {
                return Err(unmarked_whiteout(namespace).into());
            }
            Inspected::Whiteout
        }
        _ => Inspected::Leaf(stat),
    }))
}

/// Whether this is the device of a whiteout.
pub fn is_whiteout_device(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && root::device(stat) == Device::WHITEOUT
}

fn is_xattr_whiteout(
    directory: &Dir,
    name: &[u8],
    stat: &Stat,
    namespace: Namespace,
) -> io::Result<bool> {
    let is_empty_file =
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
    Ok(is_empty_file
        && directory
            .short_xattr(name, namespace.xattr(Mark::Whiteout))?
            .is_some())
}

fn unmarked_whiteout(namespace: Namespace) -> Error {
    let whiteout = namespace.xattr(Mark::Whiteout);
    let opaque = namespace.xattr(Mark::Opaque);
    Error::refused(format!(
        "xattr {whiteout} in a directory without {opaque}=x: a mount lists the name, but cannot open it"
    ))
    .hint(format!(
        "to delete the name, `setfattr -n {opaque} -v x` on the directory; else remove the file"
    ))
}

impl DirMarks {
    /// Reads the marks on a directory: the open one itself (`.`), or one in it.
    ///
    /// Errors: the system's.
    pub fn read(directory: &Dir, name: &[u8], namespace: Namespace) -> io::Result<DirMarks> {
        let mut marks = DirMarks::default();
        // Most directories have none, which takes one call to find out.
        let xattrs = directory.xattr_names(name)?;
        for xattr in xattrs.split(|&byte| byte == 0) {
            let Some(mark) = namespace.mark(xattr) else {
                continue;
            };
            let value = directory.short_xattr(name, namespace.xattr(mark))?;
            match (mark, value) {
                (Mark::Opaque, Some(value)) => {
                    marks.is_opaque = value == OPAQUE;
                    marks.holds_xattr_whiteouts = value == HOLDS_XATTR_WHITEOUTS;
                }
                (Mark::Origin, Some(value)) => marks.is_over_unknown = value.is_empty(),
                (Mark::Redirect, value) => marks.redirect = value.map(Into::into),
                _ => {}
            }
        }
        Ok(marks)
    }
}

/// Errors ([`Kind::Refused`](crate::Kind::Refused)): a file has only its attributes here, and its content
/// in a layer below (`metacopy`). The system's.
pub fn check_has_content(directory: &Dir, name: &[u8], namespace: Namespace) -> io::Result<()> {
    let mark = namespace.xattr(Mark::Metacopy);
    match directory.short_xattr(name, mark)? {
        None => Ok(()),
        Some(_) => Err(refers_to_below(mark).into()),
    }
}

/// The error for an xattr by which an upperdir refers to the layers below it, where a layer must be
/// complete.
pub fn refers_to_below(xattr: &str) -> Error {
    let text = format!("xattr {xattr}: it refers to what is in the layers below");
    Error::refused(text).hint(Advice::PackUpper)
}
