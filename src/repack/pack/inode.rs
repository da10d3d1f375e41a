//! What one name of an upperdir is, in overlayfs's eyes.

use std::io;

use rustix::fs::{FileType, Stat};

use crate::fs::root::{self, Dir};
use crate::meta::{Device, Meta};
use crate::overlay::dialect::{self, Dialect};

/// A name in the upperdir.
pub enum Inode {
    /// A deletion.
    Deletion,
    /// A directory, with its marks.
    Directory(Marks),
    /// Anything else.
    Leaf(Stat),
}

/// What overlayfs is told about a directory.
#[derive(Default)]
pub struct Marks {
    /// It hides what is below.
    pub opaque: bool,
    /// Empty files in it may be deletions.
    pub holds_xattr_whiteouts: bool,
    /// Where, below, its content comes from.
    pub redirect: Option<Vec<u8>>,
}

/// Looks at a name; `None` if it is absent.
pub fn look(
    directory: &Dir,
    name: &[u8],
    may_be_xattr_whiteout: bool,
    dialect: Dialect,
) -> io::Result<Option<Inode>> {
    let Some(stat) = directory.stat(name)? else {
        return Ok(None);
    };
    let zero = rustix::fs::makedev(Device::WHITEOUT.major, Device::WHITEOUT.minor);
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Inode::Directory(marks(directory, name, dialect)?),
        FileType::CharacterDevice if stat.st_rdev == zero => Inode::Deletion,
        FileType::RegularFile
            if may_be_xattr_whiteout
                && stat.st_size == 0
                && directory
                    .short_xattr(name, dialect.whiteout_xattr())?
                    .is_some() =>
        {
            Inode::Deletion
        }
        _ => Inode::Leaf(stat),
    }))
}

/// The marks of a directory.
pub fn marks(directory: &Dir, name: &[u8], dialect: Dialect) -> io::Result<Marks> {
    let opaque = directory.short_xattr(name, dialect.opaque_xattr())?;
    let redirect = format!("{}redirect", dialect.prefix());
    Ok(Marks {
        opaque: opaque.as_deref() == Some(dialect::OPAQUE),
        holds_xattr_whiteouts: opaque.as_deref() == Some(dialect::HOLDS_XATTR_WHITEOUTS),
        redirect: directory.short_xattr(name, &redirect)?,
    })
}

/// The attributes of a name, with xattrs as they are on disk.
pub fn meta(directory: &Dir, name: &[u8], stat: &Stat) -> io::Result<Meta> {
    Ok(root::attributes(stat, directory.kept_xattrs(name)?))
}
