//! `Lower`: what the layers below a layer show, as the rules ask for it.
//!
//! `overlay` answers for a stack of layer directories, [`crate::view`] for a tree in memory,
//! [`Unknown`] for layers of which nothing is known. An answer is about the layers below alone: what
//! the layer itself deletes is `Below`'s work.
//!
//! Directories are handles, so that a path costs one lookup for each of its components.

use crate::error::Result;
use crate::meta::Meta;
use crate::path::EntryPath;

use super::tree::InodeKind;

/// The merged layers below a layer. Symbolic links are never followed.
pub trait Lower {
    /// A directory that they show.
    type Directory: Copy + Eq + std::fmt::Debug;

    /// Their root: `Found::Directory`, or `Found::Unknown`.
    fn root(&self) -> Found<Self::Directory>;

    /// What a directory shows by a name, with deletions and opaque directories among the layers below
    /// applied.
    ///
    /// Errors: the system's.
    fn lookup(&self, directory: Self::Directory, name: &[u8]) -> Result<Found<Self::Directory>>;

    /// The names that a directory shows, sorted, without deleted ones.
    ///
    /// Errors: the system's.
    fn names(&self, directory: Self::Directory) -> Result<Vec<Box<[u8]>>>;

    /// The attributes that a directory shows, without overlayfs's own marks; `None` if no layer has it
    /// (the root, if there are no layers).
    ///
    /// Errors: the system's.
    fn directory_meta(&self, directory: Self::Directory) -> Result<Option<Meta>>;

    /// The target of the symbolic link that [`lookup`](Lower::lookup) found.
    ///
    /// Errors: the system's.
    fn read_link(&self, directory: Self::Directory, name: &[u8]) -> Result<Box<[u8]>>;

    /// The leaf that [`lookup`](Lower::lookup) found: its type and its attributes, for a hard link to it
    /// (rule H2).
    ///
    /// Errors: the system's; it is a socket.
    fn leaf(&self, directory: Self::Directory, name: &[u8]) -> Result<Leaf>;

    /// Every path that shows the inode of a leaf, its own among them, sorted; none if it has only one.
    ///
    /// Errors: the system's.
    fn names_of_inode(&self, directory: Self::Directory, name: &[u8]) -> Result<Vec<EntryPath>>;
}

/// What the layers below show by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<Directory> {
    /// The layers below are not known, so anything may be there.
    Unknown,
    /// Nothing, or a deleted name.
    Absent,
    /// A directory.
    Directory(Directory),
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

/// Anything below that is not a directory.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its type; for a file with its size, but without content.
    pub kind: InodeKind,
    /// Its attributes.
    pub meta: Meta,
    /// The bytes of data that a copy writes, without holes if they are known.
    pub bytes: u64,
}

/// Layers below that may not be known: `None`.
impl<L: Lower> Lower for Option<L> {
    type Directory = L::Directory;

    fn root(&self) -> Found<Self::Directory> {
        self.as_ref().map_or(Found::Unknown, L::root)
    }

    fn lookup(&self, directory: Self::Directory, name: &[u8]) -> Result<Found<Self::Directory>> {
        known(self).lookup(directory, name)
    }

    fn names(&self, directory: Self::Directory) -> Result<Vec<Box<[u8]>>> {
        known(self).names(directory)
    }

    fn directory_meta(&self, directory: Self::Directory) -> Result<Option<Meta>> {
        known(self).directory_meta(directory)
    }

    fn read_link(&self, directory: Self::Directory, name: &[u8]) -> Result<Box<[u8]>> {
        known(self).read_link(directory, name)
    }

    fn leaf(&self, directory: Self::Directory, name: &[u8]) -> Result<Leaf> {
        known(self).leaf(directory, name)
    }

    fn names_of_inode(&self, directory: Self::Directory, name: &[u8]) -> Result<Vec<EntryPath>> {
        known(self).names_of_inode(directory, name)
    }
}

fn known<L>(layers: &Option<L>) -> &L {
    let layers = layers.as_ref();
    layers.expect("a directory was found in what is known")
}

/// Layers below that are not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unknown;

impl Lower for Unknown {
    type Directory = std::convert::Infallible;

    fn root(&self) -> Found<Self::Directory> {
        Found::Unknown
    }

    fn lookup(&self, directory: Self::Directory, _: &[u8]) -> Result<Found<Self::Directory>> {
        match directory {}
    }

    fn names(&self, directory: Self::Directory) -> Result<Vec<Box<[u8]>>> {
        match directory {}
    }

    fn directory_meta(&self, directory: Self::Directory) -> Result<Option<Meta>> {
        match directory {}
    }

    fn read_link(&self, directory: Self::Directory, _: &[u8]) -> Result<Box<[u8]>> {
        match directory {}
    }

    fn leaf(&self, directory: Self::Directory, _: &[u8]) -> Result<Leaf> {
        match directory {}
    }

    fn names_of_inode(&self, directory: Self::Directory, _: &[u8]) -> Result<Vec<EntryPath>> {
        match directory {}
    }
}
