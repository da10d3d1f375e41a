//! `LayerDir`: the directory of a layer being made, with some of its directories held open.
//! [`super::unpack`] and [`super::settle`] reach everything in it through this.

use std::io;
use std::sync::Arc;

use crate::fs::dir_cache::{DirCache, DirPath};
use crate::fs::root::Dir;
use crate::layer::tree::{DirId, Tree};

/// Neighbours in an archive are neighbours on disk.
const OPEN: usize = 16;

/// A layer's directory.
pub struct LayerDir {
    top: Arc<Dir>,
    open: DirCache<DirId>,
}

/// Finds the directories of a tree on disk.
struct OnDisk<'a>(&'a Tree, &'a Arc<Dir>);

impl DirPath for OnDisk<'_> {
    type Id = DirId;

    fn parent(&self, id: DirId) -> Option<(DirId, &[u8])> {
        let node = self.0.directory(id);
        (id != Tree::ROOT).then_some((node.parent, &node.name))
    }

    fn open_root(&self, _: DirId) -> io::Result<Arc<Dir>> {
        Ok(Arc::clone(self.1))
    }
}

impl LayerDir {
    /// Wraps a layer's directory.
    pub fn new(top: Dir) -> LayerDir {
        LayerDir {
            top: Arc::new(top),
            open: DirCache::new(OPEN),
        }
    }

    /// The layer's directory itself.
    pub fn top(&self) -> &Arc<Dir> {
        &self.top
    }

    /// Keeps none of the directories below open: they may be removed.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// A directory of the layer.
    ///
    /// Errors: the system's.
    pub fn get(&mut self, id: DirId, tree: &Tree) -> io::Result<Arc<Dir>> {
        self.open.get(id, &OnDisk(tree, &self.top))
    }
}
