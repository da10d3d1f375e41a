//! `Tree`: every name of one layer as it stands on disk, so that nobody has to ask the disk while
//! the layer is unpacked, nor afterwards to list it.
//!
//! The unpacker and [`crate::settle`] write down in it what they make; [`crate::listing`] reads
//! it. It makes nothing itself. A layer may have millions of names: each costs some 130 bytes.

mod inode;
mod names;

use std::cell::RefCell;

use crate::meta::Meta;
use crate::path::EntryPath;

pub use inode::{Inode, InodeId, Kind};
pub use names::Children;

use names::Names;

/// The names of a layer, its root directory among them.
#[derive(Debug)]
pub struct Tree {
    directories: Vec<Directory>,
    inodes: Vec<Inode>,
    names: Names,
    /// The directory that was found last: neighbours are asked for one after another.
    last: RefCell<(EntryPath, DirId)>,
}

/// A directory of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirId(u32);

/// One directory.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: EntryPath,
    /// What its entry says; `None` while it is only implied by something below it.
    pub meta: Option<Box<Meta>>,
    /// It took the place of something that this layer had put there before, and that had hidden
    /// what is below.
    pub replaces: bool,
    /// So did it, or a directory above it.
    is_in_replaced: bool,
    inode: InodeId,
    is_removed: bool,
}

impl Tree {
    /// A layer with nothing but its root, implied.
    pub fn of_root() -> Tree {
        let mut tree = Tree {
            directories: Vec::new(),
            inodes: Vec::new(),
            names: Names::default(),
            last: RefCell::new((EntryPath::root(), Tree::ROOT)),
        };
        tree.new_directory(EntryPath::root(), None, false, false);
        tree
    }

    /// The layer's own directory.
    pub const ROOT: DirId = DirId(0);

    /// What is at a path. Symbolic links are not followed.
    pub fn find(&self, path: &EntryPath) -> Option<InodeId> {
        match path.is_root() {
            true => Some(self.inode_of(Tree::ROOT)),
            false => self.child(self.parent_of(path)?, path.name()),
        }
    }

    /// The directory above a path.
    fn parent_of(&self, path: &EntryPath) -> Option<DirId> {
        let parent = path.parent_bytes();
        let mut last = self.last.borrow_mut();
        if last.0.as_bytes() != parent {
            let parent = path.parent().unwrap_or_default();
            let mut at = Tree::ROOT;
            for name in parent.components() {
                at = self.child_directory(at, name)?;
            }
            *last = (parent, at);
        }
        Some(last.1)
    }

    fn child_directory(&self, directory: DirId, name: &[u8]) -> Option<DirId> {
        match self.inode(self.child(directory, name)?).kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// What a directory has by a name.
    pub fn child(&self, directory: DirId, name: &[u8]) -> Option<InodeId> {
        self.names.find(directory, name)
    }

    /// The directory at a path.
    pub fn find_directory(&self, path: &EntryPath) -> Option<DirId> {
        match self.inode(self.find(path)?).kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Whether this path is a directory of the layer.
    pub fn has_directory(&self, path: &EntryPath) -> bool {
        self.find_directory(path).is_some()
    }

    /// A directory of the layer.
    pub fn directory(&self, id: DirId) -> &Directory {
        &self.directories[id.0 as usize]
    }

    /// An inode of the layer.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// The same, to be completed.
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.index()]
    }

    /// The inode of a directory.
    pub fn inode_of(&self, directory: DirId) -> InodeId {
        self.directory(directory).inode
    }

    /// The number that the next inode gets: all that are there have smaller ones.
    pub fn next_inode(&self) -> InodeId {
        InodeId::new(self.inodes.len())
    }

    /// Gives a directory its entry's attributes.
    pub fn describe(&mut self, directory: DirId, meta: Meta) {
        self.directories[directory.0 as usize].meta = Some(Box::new(meta));
    }

    /// What the entry of a directory said, which is not needed any more.
    pub fn take_meta(&mut self, directory: DirId) -> Option<Box<Meta>> {
        self.directories[directory.0 as usize].meta.take()
    }

    /// Adds a directory under a name that is free.
    pub fn add_directory(
        &mut self,
        parent: DirId,
        path: EntryPath,
        meta: Option<Box<Meta>>,
        replaces: bool,
    ) -> DirId {
        let is_in_replaced = replaces || self.directory(parent).is_in_replaced;
        let id = self.new_directory(path, meta, replaces, is_in_replaced);
        let Directory { path, inode, .. } = &self.directories[id.0 as usize];
        self.names.add(parent, path.name(), *inode);
        id
    }

    fn new_directory(
        &mut self,
        path: EntryPath,
        meta: Option<Box<Meta>>,
        replaces: bool,
        is_in_replaced: bool,
    ) -> DirId {
        let id = DirId(u32::try_from(self.directories.len()).expect("memory ends before"));
        let inode = self.next_inode();
        self.inodes.push(Inode::new(Kind::Directory(id)));
        self.names.add_directory();
        self.directories.push(Directory {
            path,
            meta,
            replaces,
            is_in_replaced,
            inode,
            is_removed: false,
        });
        id
    }

    /// Adds something else under a name that is free.
    pub fn add(&mut self, parent: DirId, name: &[u8], inode: Inode) -> InodeId {
        let id = self.next_inode();
        self.inodes.push(inode);
        self.names.add(parent, name, id);
        id
    }

    /// Gives something that is there another name, which is free.
    pub fn link(&mut self, parent: DirId, name: &[u8], inode: InodeId) {
        self.inode_mut(inode).has_links = true;
        self.names.add(parent, name, inode);
    }

    /// Forgets a name, and all below it.
    pub fn remove(&mut self, parent: DirId, name: &[u8]) {
        self.last = RefCell::new((EntryPath::root(), Tree::ROOT));
        let mut todo: Vec<InodeId> = self.names.remove(parent, name).into_iter().collect();
        while let Some(inode) = todo.pop() {
            if let Kind::Directory(directory) = self.inode(inode).kind {
                self.directories[directory.0 as usize].is_removed = true;
                todo.extend(self.names.remove_all(directory));
            }
        }
    }

    /// Whether something that this layer did on the way to `path` hides whatever the layers
    /// below have there.
    pub fn hides_below(&self, path: &EntryPath) -> bool {
        let mut nearest = Tree::ROOT;
        match self.parent_of(path) {
            Some(parent) => nearest = self.child_directory(parent, path.name()).unwrap_or(parent),
            None => {
                for name in path.components() {
                    match self.child_directory(nearest, name) {
                        Some(directory) => nearest = directory,
                        None => break,
                    }
                }
            }
        }
        // It knows of those above it.
        self.directory(nearest).is_in_replaced
    }

    /// All directories, parents before children, in the order of paths.
    pub fn directories(&self) -> Vec<DirId> {
        let count = self.directories.len() as u32;
        let mut all: Vec<DirId> = (0..count)
            .map(DirId)
            .filter(|&id| !self.directory(id).is_removed)
            .collect();
        all.sort_unstable_by(|&one, &two| self.directory(one).path.cmp(&self.directory(two).path));
        all
    }

    /// The names in a directory, sorted, with what they mean.
    pub fn children(&self, directory: DirId) -> Children<'_> {
        self.names.children(directory)
    }
}
