//! `ImageTree`: directories, names and inodes in memory. It knows layers only by their numbers, and no markers:
//! [`super::apply`] handles these.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::layer::walk::{PathWalk, Steps};
use crate::meta::{Device, Meta};
use crate::path::EntryPath;
use crate::tar::archive::FileShape;

use super::walk::Item;

/// The number of an inode. Later layers have greater numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u32);

/// An inode of an image.
#[derive(Clone, Debug)]
pub struct ImageInode {
    /// Owner, mode, time, xattrs: as a mount shows them.
    pub meta: Meta,
    /// What it is.
    pub body: Body,
}

/// The type of an inode, with its data.
#[derive(Clone, Debug)]
pub enum Body {
    /// A directory, and what is in it.
    Directory(BTreeMap<Box<[u8]>, Name>),
    /// A regular file.
    File(Stored),
    /// A symbolic link, its target verbatim (rule S2).
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// The content of a file: its size, and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its size, and what of it is stored.
    pub shape: FileShape,
    /// Where it is read from.
    pub source: Source,
}

/// The source of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// In the blob of a layer.
    Layer {
        /// Which layer, from 1 at the bottom.
        layer: u32,
        /// Which entry of its archive, from 0.
        entry: u64,
    },
    /// A file on this machine.
    Host(PathBuf),
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// What it names.
    pub inode: Id,
    /// The layer, from 1 at the bottom, that the entry comes from; for a directory, the last one with an
    /// entry. 0 if no layer has one.
    pub layer: u32,
    /// The last layer whose own directory has this name, perhaps only as a parent.
    pub(super) needed_by: u32,
}

impl Name {
    /// Whether the directory of this layer has the name, no later one having it too.
    pub fn is_last_in(&self, layer: u32) -> bool {
        self.needed_by == layer
    }
}

/// A tree of files.
#[derive(Clone, Debug)]
pub struct ImageTree {
    /// Includes inodes that no longer have a name.
    inodes: Vec<ImageInode>,
    pub(super) root: Name,
}

impl ImageInode {
    /// A directory without an entry (rule I2).
    pub fn implied_directory() -> ImageInode {
        ImageInode {
            meta: Meta::of_implied_directory(),
            body: Body::Directory(BTreeMap::new()),
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }
}

impl Default for ImageTree {
    /// An empty root without an entry.
    fn default() -> ImageTree {
        ImageTree {
            inodes: vec![ImageInode::implied_directory()],
            root: Name {
                inode: Id(0),
                layer: 0,
                needed_by: 0,
            },
        }
    }
}

impl ImageTree {
    /// The name of the root, which has none.
    pub fn root(&self) -> Name {
        self.root
    }

    /// An inode of this tree.
    pub fn inode(&self, id: Id) -> &ImageInode {
        &self.inodes[id.0 as usize]
    }

    pub(crate) fn inode_mut(&mut self, id: Id) -> &mut ImageInode {
        &mut self.inodes[id.0 as usize]
    }

    /// What a directory has by a name.
    pub fn child(&self, directory: Id, name: &[u8]) -> Option<Name> {
        match &self.inode(directory).body {
            Body::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    /// What is at a path. Symbolic links on the way are not followed: nothing is behind one.
    pub fn at(&self, path: &EntryPath) -> Option<Name> {
        let mut components = path.components();
        components.try_fold(self.root, |at, name| self.child(at.inode, name))
    }

    /// Resolves a path from the user: symbolic links among its parents are followed, inside the root; the
    /// last component is not. `None` if it does not exist.
    pub fn find(&self, path: &EntryPath) -> Result<Option<EntryPath>> {
        let Some((parent, name)) = path.split() else {
            return Ok(Some(path.clone()));
        };
        let mut walk = PathWalk::new(self.root.inode, &parent);
        let mut steps = Steps::default();
        while let Some(name) = walk.next_name() {
            let Some(child) = self.child(walk.here(), &name) else {
                return Ok(None);
            };
            match &self.inode(child.inode).body {
                Body::Directory(_) => walk.enter(name, child.inode)?,
                Body::Symlink(target) => {
                    if !walk.follow(target, &mut steps)? {
                        return Err(loop_of_links());
                    }
                }
                _ => return Ok(None),
            }
        }
        let place = walk.path().join(name)?;
        Ok(self.child(walk.here(), name).map(|_| place))
    }

    /// The names of each inode with several names, in order.
    pub fn links(&self) -> BTreeMap<Id, Vec<EntryPath>> {
        let mut seen = vec![false; self.inodes.len()];
        let mut several = vec![false; self.inodes.len()];
        let is_leaf = |item: &Item| !item.inode.is_directory();
        for item in self.walk().filter(is_leaf) {
            let id = item.name.inode.0 as usize;
            several[id] = std::mem::replace(&mut seen[id], true);
        }
        let mut links: BTreeMap<Id, Vec<EntryPath>> = BTreeMap::new();
        if several.contains(&true) {
            for item in self.walk().filter(is_leaf) {
                if several[item.name.inode.0 as usize] {
                    links.entry(item.name.inode).or_default().push(item.path);
                }
            }
        }
        links
    }

    pub(super) fn inodes_mut(&mut self) -> impl Iterator<Item = &mut ImageInode> {
        self.inodes.iter_mut()
    }

    /// The number that the next inode will have.
    pub(super) fn next_id(&self) -> Id {
        Id(u32::try_from(self.inodes.len()).unwrap_or(u32::MAX))
    }

    /// Adds an inode without a name.
    pub(crate) fn add(&mut self, inode: ImageInode) -> Result<Id> {
        let id = self.next_id();
        if id.0 == u32::MAX {
            return Err(Error::limit("over 4294967294 files"));
        }
        self.inodes.push(inode);
        Ok(id)
    }

    /// Adds a name to a directory, replacing any that is there; returns the old one.
    pub(crate) fn name(&mut self, directory: Id, name: &[u8], new: Name) -> Option<Name> {
        self.children_mut(directory).insert(name.into(), new)
    }

    pub(crate) fn children_mut(&mut self, directory: Id) -> &mut BTreeMap<Box<[u8]>, Name> {
        match &mut self.inode_mut(directory).body {
            Body::Directory(children) => children,
            _ => unreachable!("only directories are looked into"),
        }
    }
}

pub(super) fn loop_of_links() -> Error {
    Error::refused("its parents are a loop of symbolic links")
}
