//! `DirTree`: the directories of one tree on disk, identified by numbers and opened when needed.
//!
//! Called by walks through a whole tree: removal, listings, `pack`, `convert`. A walk keeps numbers instead
//! of paths or descriptors, and costs O(1) for each directory.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use crate::error::Result;
use crate::fs::descriptors;
use crate::fs::dir_cache::{DirCache, DirPath};
use crate::fs::root::Dir;
use crate::path::EntryPath;

/// How many directories are open at most.
const OPEN_MAX: usize = 32;

/// A directory of a [`DirTree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirId(u32);

/// The directories that a walk has reached.
#[derive(Debug)]
pub struct DirTree {
    nodes: Nodes,
    cache: DirCache<DirId>,
}

#[derive(Debug)]
struct Nodes {
    top: Arc<Dir>,
    /// All but the top directory.
    below: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    parent: DirId,
    name: Box<[u8]>,
}

impl DirTree {
    /// The directory that the walk starts at.
    pub const TOP: DirId = DirId(0);

    /// A walk that starts at a directory.
    pub fn new(top: Arc<Dir>) -> DirTree {
        DirTree::with_cache(top, DirCache::new(descriptors::cached(OPEN_MAX)))
    }

    /// The same, but a mount below it is not entered: opening one is an error (`EXDEV`).
    pub fn on_one_mount(top: Arc<Dir>) -> DirTree {
        DirTree::with_cache(top, DirCache::on_one_mount(descriptors::cached(OPEN_MAX)))
    }

    fn with_cache(top: Arc<Dir>, cache: DirCache<DirId>) -> DirTree {
        let nodes = Nodes {
            top,
            below: Vec::new(),
        };
        DirTree { nodes, cache }
    }

    /// Adds the directory with a name in another one.
    pub fn add(&mut self, parent: DirId, name: Box<[u8]>) -> DirId {
        self.nodes.below.push(Node { parent, name });
        let count = u32::try_from(self.nodes.below.len());
        DirId(count.expect("no file system has so many directories"))
    }

    /// The same for an open directory.
    pub fn add_open(&mut self, parent: DirId, name: Box<[u8]>, dir: Arc<Dir>) -> DirId {
        let id = self.add(parent, name);
        self.cache.keep(id, &dir);
        id
    }

    /// A directory, opened if needed.
    ///
    /// Errors: the system's.
    pub fn open(&mut self, id: DirId) -> io::Result<Arc<Dir>> {
        self.cache.get(id, &self.nodes)
    }

    /// Removes a directory. If it was added last, its number is reused, so that a walk which leaves each
    /// directory before it enters the next one keeps only the ancestors of the current one.
    pub fn leave(&mut self, id: DirId) {
        self.cache.forget(id);
        if id.0 as usize == self.nodes.below.len() {
            self.nodes.below.pop();
        }
    }

    /// Closes all directories; they are reopened when needed.
    pub fn close(&mut self) {
        self.cache.clear();
    }

    /// The parent of a directory; that of the top one is itself.
    pub fn parent(&self, id: DirId) -> DirId {
        self.nodes.node(id).map_or(DirTree::TOP, |node| node.parent)
    }

    /// The name of a directory in its parent; empty for the top one.
    pub fn name(&self, id: DirId) -> &[u8] {
        self.nodes.node(id).map_or(b"", |node| &node.name)
    }

    /// The path of a directory from the top one.
    ///
    /// Errors: it is too long.
    pub fn path(&self, id: DirId) -> Result<EntryPath> {
        let mut names = Vec::new();
        let mut node = self.nodes.node(id);
        while let Some(Node { parent, name }) = node {
            names.push(&**name);
            node = self.nodes.node(*parent);
        }
        names.reverse();
        EntryPath::parse(&names.join(&b'/'))
    }
}

impl Nodes {
    fn node(&self, id: DirId) -> Option<&Node> {
        self.below.get((id.0 as usize).checked_sub(1)?)
    }
}

impl DirPath for Nodes {
    type Id = DirId;

    fn parent(&self, id: DirId) -> Option<(DirId, &[u8])> {
        self.node(id).map(|node| (node.parent, &*node.name))
    }

    fn open_root(&self, _: DirId) -> io::Result<Arc<Dir>> {
        Ok(Arc::clone(&self.top))
    }
}
