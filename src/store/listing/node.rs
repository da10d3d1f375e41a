//! `Node`: a line of a listing.

use std::collections::BTreeMap;
use std::fmt;

use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::fs::root;
use crate::meta::{Device, Time, Xattr};
use crate::path::{self, EntryPath};
use crate::unpack::{Inode, InodeKind};

use super::text::{self, Mode, optional};

/// One name of a layer directory. Texts show bytes that are not printable UTF-8 as `\xff`, and a
/// backslash as two ([`path::display`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Relative to the layer directory, which is `.`.
    #[serde(with = "text")]
    pub path: EntryPath,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// Written in octal.
    #[serde(with = "text")]
    pub mode: Mode,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Last modification, written as seconds since the epoch, a dot, nanoseconds.
    #[serde(with = "text")]
    pub mtime: Time,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of a file that is not empty and has no earlier name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Of a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional")]
    pub target: Option<Box<[u8]>>,
    /// Of a device, written as major, colon, minor.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional")]
    pub device: Option<Device>,
    /// The first path of the same inode, if this is not it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional")]
    pub link: Option<EntryPath>,
    /// With values as texts like paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// A file type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device; 0:0 is a whiteout.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket, which no layer has.
    Socket,
}

impl NodeKind {
    fn of(stat: &Stat) -> NodeKind {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => NodeKind::Symlink,
            FileType::CharacterDevice => NodeKind::Char,
            FileType::BlockDevice => NodeKind::Block,
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
            _ => NodeKind::File,
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeKind::File => "a file",
            NodeKind::Directory => "a directory",
            NodeKind::Symlink => "a symbolic link",
            NodeKind::Char => "a character device",
            NodeKind::Block => "a block device",
            NodeKind::Fifo => "a named pipe",
            NodeKind::Socket => "a socket",
        })
    }
}

impl Node {
    /// What an inode is, but for its content, its target and its other names.
    pub fn new(path: EntryPath, stat: &Stat, xattrs: Vec<Xattr>) -> Node {
        let kind = NodeKind::of(stat);
        let text = |bytes: &[u8]| path::display(bytes).to_string();
        let is_device = matches!(kind, NodeKind::Char | NodeKind::Block);
        let xattrs = xattrs.iter();
        Node {
            path,
            kind,
            mode: Mode(stat.st_mode & 0o7777),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: root::mtime(stat),
            size: (kind == NodeKind::File).then_some(stat.st_size as u64),
            content: None,
            target: None,
            device: is_device.then(|| root::device(stat)),
            link: None,
            xattrs: xattrs
                .map(|xattr| (text(&xattr.name), text(&xattr.value)))
                .collect(),
        }
    }

    /// The same of an inode that has neither xattrs nor a target nor another name.
    pub fn of_inode(path: EntryPath, inode: &Inode) -> Node {
        let (mut size, mut content, mut device) = (None, None, None);
        let kind = match inode.kind {
            InodeKind::Directory(_) => NodeKind::Directory,
            InodeKind::File {
                size: bytes,
                content: written,
            } => {
                (size, content) = (Some(bytes), written.filter(|_| bytes > 0));
                NodeKind::File
            }
            InodeKind::Symlink => NodeKind::Symlink,
            InodeKind::CharDevice(number) => {
                device = Some(number);
                NodeKind::Char
            }
            InodeKind::BlockDevice(number) => {
                device = Some(number);
                NodeKind::Block
            }
            InodeKind::Fifo => NodeKind::Fifo,
        };
        Node {
            path,
            kind,
            mode: Mode(inode.mode.into()),
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime(),
            size,
            content,
            target: None,
            device,
            link: None,
            xattrs: BTreeMap::new(),
        }
    }

    /// Whether it has content of its own in a listing.
    pub fn holds_data(&self) -> bool {
        self.link.is_none() && self.size.is_some_and(|size| size > 0)
    }
}
