//! `Tree`: every name of one layer as it stands on disk, so that nobody has to ask the disk while
//! the layer is unpacked, nor afterwards to list it.
//!
//! The unpacker and [`crate::unpack::settle`] write down in it what they make; [`crate::store::listing`] reads
//! it. It makes nothing itself. A layer may have millions of names: each costs some 130 bytes.

mod inode;
mod names;

use std::cell::RefCell;

use crate::meta::{Meta, Xattr};
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
    last: RefCell<(Box<[u8]>, DirId)>,
}

/// A directory of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirId(u32);

/// One directory.
#[derive(Debug)]
pub struct Directory {
    /// Where it is.
    pub path: EntryPath,
    /// It has an entry, whose attributes its inode has until the layer is settled; else it is only
    /// implied by something below it.
    pub is_described: bool,
    /// The xattrs of that entry.
    xattrs: Box<[Xattr]>,
    /// It took the place of something that this layer had put there before, and that had hidden
    /// what is below.
    pub replaces: bool,
    /// So did it, or a directory above it.
    pub is_in_replaced: bool,
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
            last: RefCell::new((Box::default(), Tree::ROOT)),
        };
        tree.new_directory(EntryPath::root(), false, false);
        tree
    }

    /// The layer's own directory.
    pub const ROOT: DirId = DirId(0);

    /// What is at a path. Symbolic links are not followed.
    pub fn find(&self, path: &EntryPath) -> Option<InodeId> {
        match path.is_root() {
            true => Some(self.inode_of(Tree::ROOT)),
            false => self.child(self.directory_at(path.parent_bytes())?, path.name()),
        }
    }

    /// The directory at a path.
    pub fn find_directory(&self, path: &EntryPath) -> Option<DirId> {
        self.directory_at(path.as_bytes())
    }

    /// What is at the root and at each component of a path down to itself.
    pub fn along(&self, path: &EntryPath) -> Vec<Option<InodeId>> {
        let mut all = vec![Some(self.inode_of(Tree::ROOT))];
        let mut at = Some(Tree::ROOT);
        for name in path.components() {
            let inode = at.and_then(|directory| self.child(directory, name));
            at = inode.and_then(|inode| self.as_directory(inode));
            all.push(inode);
        }
        all
    }

    /// The directory that an inode is.
    pub fn as_directory(&self, inode: InodeId) -> Option<DirId> {
        match self.inode(inode).kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_at(&self, path: &[u8]) -> Option<DirId> {
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
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// What a directory has by a name.
    pub fn child(&self, directory: DirId, name: &[u8]) -> Option<InodeId> {
        self.names.find(directory, name)
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
        let node = &mut self.directories[directory.0 as usize];
        self.inodes[node.inode.index()].describe(&meta);
        (node.is_described, node.xattrs) = (true, meta.xattrs.into());
    }

    /// What the entry of a directory said, if it has one.
    pub fn take_meta(&mut self, directory: DirId) -> Option<Meta> {
        let node = &mut self.directories[directory.0 as usize];
        let inode = &mut self.inodes[node.inode.index()];
        inode.must_be_read = false;
        node.is_described.then(|| Meta {
            mode: inode.mode.into(),
            uid: inode.uid,
            gid: inode.gid,
            mtime: inode.mtime(),
            xattrs: std::mem::take(&mut node.xattrs).into(),
        })
    }

    /// Adds a directory under a name that is free.
    pub fn add_directory(
        &mut self,
        parent: DirId,
        path: EntryPath,
        meta: Option<Meta>,
        replaces: bool,
    ) -> DirId {
        let is_in_replaced = replaces || self.directory(parent).is_in_replaced;
        let id = self.new_directory(path, replaces, is_in_replaced);
        let Directory { path, inode, .. } = &self.directories[id.0 as usize];
        self.names.add(parent, path.name(), *inode);
        if let Some(meta) = meta {
            self.describe(id, meta);
        }
        id
    }

    fn new_directory(&mut self, path: EntryPath, replaces: bool, is_in_replaced: bool) -> DirId {
        let id = DirId(u32::try_from(self.directories.len()).expect("memory ends before"));
        let inode = self.next_inode();
        self.inodes.push(Inode::new(Kind::Directory(id)));
        self.names.add_directory();
        self.directories.push(Directory {
            path,
            is_described: false,
            xattrs: Box::default(),
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
        self.last = RefCell::new((Box::default(), Tree::ROOT));
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
        match self.directory_at(path.parent_bytes()) {
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
