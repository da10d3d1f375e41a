//! `LowerView`: a [`MergedView`] asked by whole paths; and [`Below`], the layers below a layer once that
//! layer's own deletions are taken away.
//!
//! [`crate::unpack::settle`] and the second pass of [`crate::unpack`] call them.

mod below;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::layer::lower::Lower;
use crate::meta::Meta;
use crate::overlay::dialect::Dialect;
use crate::overlay::merged_view::{MergedView, Seen};
use crate::path::EntryPath;

pub use crate::layer::own_directories::OwnDirectories;
pub use crate::layer::way::Way;
pub use crate::overlay::inspect::check_marks_show;
pub use below::{Below, Markers};

/// The layers below, merged.
pub struct LowerView {
    view: MergedView,
    /// The layers' own directories, as far as they were asked for, lowest first.
    layers: Vec<OnceCell<Arc<Dir>>>,
}

/// What a path is in the merged layers.
pub enum Found {
    /// Nothing, or deleted.
    Absent,
    /// A directory, merged from layers; from none, if there are no layers.
    Directory(Vec<usize>),
    /// Anything else.
    Leaf(Leaf),
}

/// Something below that is no directory.
pub struct Leaf {
    /// Which layer holds it, counted from the lowest.
    pub layer: usize,
    /// What it is.
    pub stat: Stat,
}

impl Leaf {
    /// Its type.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl LowerView {
    /// Takes finished layer directories, topmost first, all of one dialect.
    pub fn new(layers: Vec<Arc<Dir>>, dialect: Dialect) -> LowerView {
        let mut view = LowerView {
            view: MergedView::new(dialect.namespace),
            layers: Vec::new(),
        };
        layers.into_iter().rev().for_each(|layer| view.push(layer));
        view
    }

    /// Puts one more layer on top. What is known of the others stays known.
    pub fn push(&mut self, layer: Arc<Dir>) {
        self.view.push(layer.into());
        self.layers.push(OnceCell::new());
    }

    /// The directory of one layer, counted from the lowest.
    pub fn layer(&self, index: usize) -> &Dir {
        // It was opened before, to be looked into.
        self.layers[index].get_or_init(|| self.view.layer(index).expect("it was open before"))
    }

    /// What a path is. Symbolic links on the way are not followed: what is behind one is absent.
    pub fn lookup(&self, path: &EntryPath) -> Result<Rc<Found>> {
        Ok(Rc::new(match self.view.see_path(path)?.1 {
            Seen::Absent => Found::Absent,
            Seen::Directory(_) => Found::Directory(match self.view.layer_count() {
                0 => Vec::new(),
                _ => vec![0],
            }),
            Seen::Leaf(layer, stat) => Found::Leaf(Leaf {
                layer: layer as usize,
                stat,
            }),
        }))
    }

    /// The names that a merged directory shows, with no deleted ones.
    pub fn names(&self, path: &EntryPath) -> Result<BTreeSet<Box<[u8]>>> {
        match self.view.directory(path)? {
            Some(directory) => Ok(self.view.names(directory)?.into_iter().collect()),
            None => Ok(BTreeSet::new()),
        }
    }

    /// The attributes that a merged directory shows.
    pub fn directory_meta(&self, path: &EntryPath, _: &[usize]) -> Result<Meta> {
        let meta = match self.view.directory(path)? {
            Some(directory) => self.view.directory_meta(directory)?,
            None => None,
        };
        meta.ok_or_else(|| Error::in_the_way("it went away while it was read").at_entry(path))
    }

    /// The attributes of a leaf.
    pub fn leaf_meta(&self, path: &EntryPath, _: &Leaf) -> Result<Meta> {
        let parent = self.view.see_path(path)?.0;
        Ok(self.view.leaf(parent, path.name())?.meta)
    }

    /// The target of a symbolic link that [`lookup`](LowerView::lookup) found.
    pub fn read_link(&self, path: &EntryPath, _: &Leaf) -> Result<Vec<u8>> {
        let parent = self.view.see_path(path)?.0;
        Ok(self.view.read_link(parent, path.name())?.into())
    }

    /// All paths that show the inode of a leaf, its own among them.
    pub fn names_of_inode(&self, path: &EntryPath) -> Result<Vec<EntryPath>> {
        let parent = self.view.see_path(path)?.0;
        self.view.names_of_inode(parent, path.name())
    }
}
