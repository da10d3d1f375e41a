//! `Tree`: every name of one layer, so that the disk need not be read while the layer is unpacked, or
//! afterwards to list it.
//!
//! [`super::apply`] and [`super::plan`] decide what is in it, the sinks fill in what only they know, and
//! [`crate::store::listing`] reads it. A layer may have millions of names, at some 130 bytes each. Paths
//! are not stored: a directory knows its parent. Pure.

mod inode;
mod names;

use std::cell::RefCell;
use std::collections::HashMap;

use crate::meta::{Meta, Xattr};
use crate::path::EntryPath;

pub use inode::{Inode, InodeId, InodeKind};
pub use names::Children;

use names::Names;

/// The names of a layer, its root directory among them.
#[derive(Debug)]
pub struct Tree {
    directories: Vec<Directory>,
    inodes: Vec<Inode>,
    names: Names,
    /// The targets of the symbolic links.
    targets: HashMap<InodeId, Box<[u8]>>,
    /// The directory that was found last, because neighbours are looked up in sequence.
    last: RefCell<(Box<[u8]>, DirId)>,
}

/// A directory of a [`Tree`]. Numbers are assigned in the order in which directories are made, parents
/// before children, and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirId(u32);

impl DirId {
    /// For tables of all directories.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One directory.
#[derive(Debug)]
pub struct Directory {
    /// The directory above it; that of the root is the root.
    pub parent: DirId,
    /// Its name there; empty for the root.
    pub name: Box<[u8]>,
    /// Whether it has an entry, whose attributes are in its inode until the layer is settled; otherwise it
    /// is implied by something below it.
    pub is_described: bool,
    /// The xattrs of that entry.
    xattrs: Box<[Xattr]>,
    /// Whether it replaced something of this layer that hid what is below.
    pub replaces: bool,
    /// Whether it, or a directory above it, did.
    pub is_in_replaced: bool,
    /// Whether it was implied where the layers below may have a symbolic link, which would lead elsewhere
    /// (rule N4).
    pub may_be_link_below: bool,
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
            targets: HashMap::new(),
            last: RefCell::new((Box::default(), Tree::ROOT)),
        };
        tree.new_directory(Tree::ROOT, b"", false, false);
        tree
    }

    /// The layer's own directory.
    pub const ROOT: DirId = DirId(0);

    /// The path of a directory.
    pub fn path(&self, directory: DirId) -> EntryPath {
        let mut names = Vec::new();
        let mut at = directory;
        while at != Tree::ROOT {
            let node = self.directory(at);
            names.push(&*node.name);
            at = node.parent;
        }
        EntryPath::from_components(names.into_iter().rev())
    }

    /// The path of a name in a directory.
    pub fn path_of(&self, directory: DirId, name: &[u8]) -> EntryPath {
        let directory = self.path(directory);
        EntryPath::from_components(directory.components().chain([name]))
    }

    /// The target of a symbolic link.
    pub fn target(&self, inode: InodeId) -> &[u8] {
        self.targets.get(&inode).map_or(b"", |target| target)
    }

    /// Sets the target of a symbolic link.
    pub fn set_target(&mut self, inode: InodeId, target: Box<[u8]>) {
        self.targets.insert(inode, target);
    }

    /// The directory that an inode is.
    pub fn as_directory(&self, inode: InodeId) -> Option<DirId> {
        match self.inode(inode).kind {
            InodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The directory at a path, given as bytes.
    pub fn directory_at(&self, path: &[u8]) -> Option<DirId> {
        let mut last = self.last.borrow_mut();
        if &*last.0 != path {
            let mut at = Tree::ROOT;
            let names = path.split(|&byte| byte == b'/');
            for name in names.filter(|name| !name.is_empty()) {
                at = self.child_directory(at, name)?;
            }
            *last = (path.into(), at);
        }
        Some(last.1)
    }

    fn child_directory(&self, directory: DirId, name: &[u8]) -> Option<DirId> {
        match self.inode(self.child(directory, name)?).kind {
            InodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// What a directory has by a name.
    pub fn child(&self, directory: DirId, name: &[u8]) -> Option<InodeId> {
        self.names.find(directory, name)
    }

    /// Whether a directory has anything in it.
    pub fn has_children(&self, directory: DirId) -> bool {
        self.names.has_any(directory)
    }

    /// A directory of the layer.
    pub fn directory(&self, id: DirId) -> &Directory {
        &self.directories[id.index()]
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

    /// The number of the next inode; all existing ones are smaller.
    pub fn next_inode(&self) -> InodeId {
        InodeId::new(self.inodes.len())
    }

    /// Sets the attributes of a directory from its entry.
    pub fn describe(&mut self, directory: DirId, meta: Meta) {
        let node = &mut self.directories[directory.index()];
        self.inodes[node.inode.index()].describe(&meta);
        (node.is_described, node.xattrs) = (true, meta.xattrs.into());
    }

    /// The attributes from the entry of a directory, if it has one.
    pub fn meta(&self, directory: DirId) -> Option<Meta> {
        let node = self.directory(directory);
        let inode = self.inode(node.inode);
        node.is_described.then(|| Meta {
            xattrs: node.xattrs.to_vec(),
            ..inode.meta()
        })
    }

    /// The same, to complete the directory: the xattrs are removed from the tree.
    pub fn take_meta(&mut self, directory: DirId) -> Option<Meta> {
        let node = &mut self.directories[directory.index()];
        let inode = &mut self.inodes[node.inode.index()];
        inode.must_be_read = false;
        node.is_described.then(|| Meta {
            xattrs: std::mem::take(&mut node.xattrs).into(),
            ..inode.meta()
        })
    }

    /// Adds a directory under a name that is free. `replaces`: something of this layer had the name.
    pub fn add_directory(&mut self, parent: DirId, name: &[u8], replaces: bool) -> DirId {
        let is_in_replaced = replaces || self.directory(parent).is_in_replaced;
        let id = self.new_directory(parent, name, replaces, is_in_replaced);
        self.names.add(parent, name, self.inode_of(id));
        id
    }

    fn new_directory(
        &mut self,
        parent: DirId,
        name: &[u8],
        replaces: bool,
        is_in_replaced: bool,
    ) -> DirId {
        let id = DirId(u32::try_from(self.directories.len()).expect("memory ends before"));
        let inode = self.next_inode();
        self.inodes.push(Inode::new(InodeKind::Directory(id)));
        self.names.add_directory();
        self.directories.push(Directory {
            parent,
            name: name.into(),
            is_described: false,
            xattrs: Box::default(),
            replaces,
            is_in_replaced,
            may_be_link_below: false,
            inode,
            is_removed: false,
        });
        id
    }

    /// Records that the layers below may have a symbolic link in place of an implied directory.
    pub fn note_possible_link(&mut self, directory: DirId) {
        self.directories[directory.index()].may_be_link_below = true;
    }

    /// Adds something else under a name that is free.
    pub fn add(&mut self, parent: DirId, name: &[u8], inode: Inode) -> InodeId {
        let id = self.next_inode();
        self.inodes.push(inode);
        self.names.add(parent, name, id);
        id
    }

    /// Gives an inode another name, which is free.
    pub fn link(&mut self, parent: DirId, name: &[u8], inode: InodeId) {
        self.inode_mut(inode).has_links = true;
        self.names.add(parent, name, inode);
    }

    /// Removes a name, and everything below it.
    pub fn remove(&mut self, parent: DirId, name: &[u8]) {
        self.last = RefCell::new((Box::default(), Tree::ROOT));
        let mut todo: Vec<InodeId> = self.names.remove(parent, name).into_iter().collect();
        while let Some(inode) = todo.pop() {
            if let InodeKind::Directory(directory) = self.inode(inode).kind {
                self.directories[directory.index()].is_removed = true;
                todo.extend(self.names.remove_all(directory));
            }
        }
    }

    /// All existing directories, parents before children.
    pub fn directories(&self) -> impl DoubleEndedIterator<Item = DirId> + use<> {
        let is_there: Vec<bool> = self
            .directories
            .iter()
            .map(|node| !node.is_removed)
            .collect();
        let all = (0..self.directories.len() as u32).map(DirId);
        all.filter(move |id| is_there[id.index()])
    }

    /// Whether a directory is still there.
    pub fn is_there(&self, directory: DirId) -> bool {
        !self.directory(directory).is_removed
    }

    /// All directories that were ever made, parents before children.
    pub fn directories_ever(&self) -> impl Iterator<Item = (DirId, &Directory)> {
        (0..).map(DirId).zip(&self.directories)
    }

    /// The names in a directory with their inodes, sorted.
    pub fn children(&self, directory: DirId) -> Children<'_> {
        self.names.children(directory)
    }
}
