//! `Inode`: an inode of a layer, in memory.

use crate::content::Content;
use crate::meta::{Device, Meta, Time};

use super::DirId;

/// The number of an inode in a [`Tree`](super::Tree), in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(u32);

impl InodeId {
    /// The smallest one.
    pub const FIRST: InodeId = InodeId(0);

    /// The number after this one.
    pub fn next(self) -> InodeId {
        InodeId(self.0 + 1)
    }

    pub(super) fn new(index: usize) -> InodeId {
        InodeId(u32::try_from(index).expect("memory ends before"))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// An inode of a layer. Its size, owner, mode and time are those on disk, unless `must_be_read`.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its type.
    pub kind: InodeKind,
    /// The twelve permission bits.
    pub mode: u16,
    /// Whether it ever got another name. Links are rare; removed ones count too.
    pub has_links: bool,
    /// Whether the disk may differ: it has xattrs, or a time or mode bits that not every file system keeps.
    pub must_be_read: bool,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Nanoseconds of its last modification.
    nanoseconds: u32,
    /// Seconds of it.
    seconds: i64,
}

/// The type of an inode, with its data.
#[derive(Clone, Copy, Debug)]
pub enum InodeKind {
    /// A directory.
    Directory(DirId),
    /// A regular file.
    File {
        /// In bytes, holes included.
        size: u64,
        /// `None` until it is written.
        content: Option<Content>,
    },
    /// A symbolic link; its target is in the tree.
    Symlink,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

impl Inode {
    /// An inode whose attributes are not known yet.
    pub fn new(kind: InodeKind) -> Inode {
        Inode {
            kind,
            mode: 0,
            has_links: false,
            must_be_read: false,
            uid: 0,
            gid: 0,
            nanoseconds: 0,
            seconds: 0,
        }
    }

    /// Sets the attributes that it has on disk.
    pub fn describe(&mut self, meta: &Meta) {
        self.mode = match self.kind {
            // Linux has no other mode for links.
            InodeKind::Symlink => 0o777,
            _ => meta.mode as u16,
        };
        (self.uid, self.gid) = (meta.uid, meta.gid);
        (self.seconds, self.nanoseconds) = (meta.mtime.seconds, meta.mtime.nanoseconds);
        // Some file systems store no times before 1970, some none after 2038.
        let is_kept_everywhere = (0..=i64::from(i32::MAX)).contains(&meta.mtime.seconds);
        // The kernel clears the setgid bit if the caller is not in the group.
        let is_special = meta.mode & 0o7000 != 0;
        self.must_be_read |= !meta.xattrs.is_empty() || !is_kept_everywhere || is_special;
    }

    /// Its attributes, without xattrs.
    pub fn meta(&self) -> Meta {
        Meta {
            mode: self.mode.into(),
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime(),
            xattrs: Vec::new(),
        }
    }

    /// Sets the content of a file.
    pub fn set_content(&mut self, written: Content) {
        if let InodeKind::File { content, .. } = &mut self.kind {
            *content = Some(written);
        }
    }

    /// Last modification.
    pub fn mtime(&self) -> Time {
        Time {
            seconds: self.seconds,
            nanoseconds: self.nanoseconds,
        }
    }
}
