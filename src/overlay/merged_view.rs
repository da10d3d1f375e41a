//! `MergedView`: what a stack of finished layer directories shows, name by name, as overlayfs merges
//! them.
//!
//! [`crate::layer`] uses it for the layers below a layer, [`crate::repack`] for those below an upperdir. It
//! reads and never writes. It grows: a finished layer is pushed on top ([`MergedView::push`]), and results
//! for the layers below it stay cached, so that a directory which all layers list costs one lookup per
//! layer, not one for each layer below it.
//! Source: kernel `Documentation/filesystems/overlayfs.rst`, "Directories" and "whiteouts and opaque
//! directories".

mod directories;
mod layer_root;
mod links;
mod lower;
mod paths;
#[cfg(test)]
mod tests;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::Stat;

use crate::dialect::{Dialect, Mark, Namespace, Whiteout};
use crate::error::{Error, Result};
use crate::fs::descriptors;
use crate::fs::dir_cache::DirCache;
use crate::fs::root::{self, Dir};
use crate::layer::below::Below;
use crate::meta::Meta;
use crate::overlay::inspect::{DirMarks, Inspected, check_has_content, inspect, refers_to_below};
use crate::path::EntryPath;

use directories::{Directories, Holder, Merged, Places};
use links::Links;
use paths::LastPath;

pub use directories::DirectoryId;
pub use layer_root::LayerRoot;

/// The maximum number of open directories of all layers together: a process may have 1,024 open files, and
/// needs some for other things.
const OPEN_MAX: usize = 96;

/// The layers below a layer, with its markers applied; `None` if they are not known.
pub type LayersBelow = Below<Option<MergedView>>;

/// The number of a layer in a stack, the lowest being 0.
type LayerNumber = u32;

/// Layers, merged.
#[derive(Debug)]
pub struct MergedView {
    /// Lowest first.
    layers: Vec<LayerRoot>,
    /// The directories that were read.
    root_marks: Vec<OnceCell<DirMarks>>,
    namespace: Namespace,
    keeps_labels: bool,
    directories: RefCell<Directories>,
    open: RefCell<DirCache<(LayerNumber, DirectoryId)>>,
    links: RefCell<HashMap<LayerNumber, Links>>,
    last_path: RefCell<LastPath>,
}

/// What a name is in the merged layers.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// Nothing, or deleted.
    Absent,
    /// A directory.
    Directory(DirectoryId),
    /// Anything else, in that layer.
    Leaf(LayerNumber, Stat),
}

/// What a name is in one layer.
enum InLayer {
    Absent,
    Whiteout,
    Directory(DirMarks),
    Leaf(Stat),
}

impl MergedView {
    /// A view of no layers, whose marks are in this namespace.
    pub fn new(namespace: Namespace) -> MergedView {
        MergedView {
            layers: Vec::new(),
            root_marks: Vec::new(),
            namespace,
            keeps_labels: false,
            directories: RefCell::default(),
            open: RefCell::new(DirCache::new(descriptors::cached(OPEN_MAX))),
            links: RefCell::default(),
            last_path: RefCell::default(),
        }
    }

    /// A view of layers, topmost first.
    pub fn of_layers<Layer: Into<LayerRoot>>(
        layers: impl IntoIterator<Item = Layer, IntoIter: DoubleEndedIterator>,
        namespace: Namespace,
    ) -> MergedView {
        let mut view = MergedView::new(namespace);
        layers
            .into_iter()
            .rev()
            .for_each(|layer| view.push(layer.into()));
        view
    }

    /// Keeps `security.selinux` among the attributes. Otherwise a label belongs to the system, not to the
    /// layer (rule X2).
    #[must_use]
    pub fn with_labels(self, keeps_labels: bool) -> MergedView {
        MergedView {
            keeps_labels,
            ..self
        }
    }

    /// Adds a layer on top. Earlier [`DirectoryId`]s become invalid.
    pub fn push(&mut self, layer: LayerRoot) {
        let number = self.layers.len() as LayerNumber;
        self.layers.push(layer);
        self.root_marks.push(OnceCell::new());
        self.directories.get_mut().push_root(number);
        self.last_path.get_mut().clear();
    }

    /// How many layers there are.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// The directory of one layer, counted from the lowest.
    ///
    /// Errors: the system's.
    pub fn layer(&self, number: usize) -> io::Result<Arc<Dir>> {
        self.layers[number].open()
    }

    /// What a directory shows by a name. Symbolic links are not followed.
    ///
    /// Errors: the system's; a layer that is not complete by itself, or whose marks contradict each other
    /// ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn see(&self, directory: DirectoryId, name: &[u8]) -> Result<Seen> {
        let (merged, known) = {
            let directories = self.directories.borrow();
            let known = directories.child(directory, name);
            (directories.layers(directory), known)
        };
        let newest = self.layers.len() as LayerNumber;
        // Layers from this one on have not been read.
        let since = known.map_or(0, |(_, known)| known);
        if let Some((id, _)) = known.filter(|_| since == newest) {
            return Ok(Seen::Directory(id));
        }
        let mut holders = Vec::new();
        let mut below = known.map(|(id, _)| id);
        let mut leaf = None;
        for holder in Merged::each(merged.as_ref()).take_while(|holder| holder.layer >= since) {
            match self.look(holder, directory, name)? {
                InLayer::Absent => continue,
                InLayer::Directory(marks) => {
                    holders.push(Holder::new(holder.layer, &marks));
                    if !marks.is_opaque {
                        continue;
                    }
                }
                InLayer::Leaf(stat) if holders.is_empty() => leaf = Some((holder.layer, stat)),
                InLayer::Leaf(_) | InLayer::Whiteout => {}
            }
            below = None;
            break;
        }
        let mut directories = self.directories.borrow_mut();
        Ok(match (leaf, below) {
            (Some((layer, stat)), _) => {
                directories.remove(directory, name);
                Seen::Leaf(layer, stat)
            }
            (None, None) if holders.is_empty() => {
                directories.remove(directory, name);
                Seen::Absent
            }
            _ => Seen::Directory(directories.merge(directory, name, below, &holders, newest)),
        })
    }

    fn look(&self, holder: Holder, directory: DirectoryId, name: &[u8]) -> Result<InLayer> {
        let look = || {
            let dir = self.open(holder.layer, directory)?;
            Ok(
                match inspect(&dir, &self.marks(holder, directory)?, name, self.namespace)? {
                    None => InLayer::Absent,
                    Some(Inspected::Whiteout) => InLayer::Whiteout,
                    Some(Inspected::Leaf(stat)) => InLayer::Leaf(stat),
                    Some(Inspected::Directory) => {
                        let marks = DirMarks::read(&dir, name, self.namespace)?;
                        if marks.redirect.is_some() {
                            let mark = self.namespace.xattr(Mark::Redirect);
                            return Err(refers_to_below(mark).into());
                        }
                        InLayer::Directory(marks)
                    }
                },
            )
        };
        look().map_err(|error| self.failed(error, Some(holder.layer), directory, name))
    }

    /// The marks on a directory of one layer that decide over the names in it.
    fn marks(&self, holder: Holder, directory: DirectoryId) -> io::Result<DirMarks> {
        if directory != DirectoryId::ROOT {
            return Ok(holder.marks());
        }
        let known = &self.root_marks[holder.layer as usize];
        if let Some(marks) = known.get() {
            return Ok(marks.clone());
        }
        let root = self.open(holder.layer, directory)?;
        let marks = DirMarks::read(&root, b".", self.namespace)?;
        Ok(known.get_or_init(|| marks).clone())
    }

    fn open(&self, layer: LayerNumber, directory: DirectoryId) -> io::Result<Arc<Dir>> {
        let places = Places {
            layers: &self.layers,
            directories: &self.directories.borrow(),
        };
        self.open.borrow_mut().get((layer, directory), &places)
    }

    /// The layer that shows something by a name that is no directory, with the directory there.
    fn holder(&self, directory: DirectoryId, name: &[u8]) -> Result<(LayerNumber, Arc<Dir>, Stat)> {
        let Seen::Leaf(layer, stat) = self.see(directory, name)? else {
            let gone = rustix::io::Errno::NOENT.into();
            return Err(self.failed(gone, None, directory, name));
        };
        let dir = self
            .open(layer, directory)
            .map_err(|error| self.failed(error, Some(layer), directory, name))?;
        Ok((layer, dir, stat))
    }

    /// Does something with the layer that shows a name which is no directory.
    fn with_holder<T>(
        &self,
        directory: DirectoryId,
        name: &[u8],
        read: impl FnOnce(&Dir, &Stat) -> io::Result<T>,
    ) -> Result<T> {
        let (layer, dir, stat) = self.holder(directory, name)?;
        read(&dir, &stat).map_err(|error| self.failed(error, Some(layer), directory, name))
    }

    /// What shows by a name and is no directory, with the directory of the layer that has it; `None` for
    /// anything else.
    ///
    /// Errors: the system's; its content is elsewhere (`metacopy`).
    pub fn find_leaf(
        &self,
        directory: DirectoryId,
        name: &[u8],
    ) -> Result<Option<(Arc<Dir>, Stat)>> {
        if !matches!(self.see(directory, name)?, Seen::Leaf(..)) {
            return Ok(None);
        }
        let (layer, dir, stat) = self.holder(directory, name)?;
        check_has_content(&dir, name, self.namespace)
            .map_err(|error| self.failed(error, Some(layer), directory, name))?;
        Ok(Some((dir, stat)))
    }

    /// Opens the regular file that [`lookup`](crate::layer::lower::Lower::lookup) found, for reading.
    ///
    /// Errors: the system's; its content is elsewhere (`metacopy`).
    pub fn open_leaf(&self, directory: DirectoryId, name: &[u8]) -> Result<File> {
        self.with_holder(directory, name, |dir, _| {
            check_has_content(dir, name, self.namespace)?;
            dir.open_file(&EntryPath::parse(name)?)
        })
    }

    /// As a mount shows them.
    fn shown(&self, meta: Meta) -> Meta {
        let dialect = Dialect {
            whiteout: Whiteout::default(),
            namespace: self.namespace,
        };
        Meta {
            xattrs: dialect.shown(meta.xattrs, self.keeps_labels),
            ..meta
        }
    }

    /// The attributes that a directory shows, with the xattrs that it has on disk; `None` where no layer
    /// has it (the root of no layers).
    ///
    /// Errors: the system's.
    pub fn directory_meta_on_disk(&self, directory: DirectoryId) -> Result<Option<Meta>> {
        let merged = self.directories.borrow().layers(directory);
        let Some(topmost) = Merged::each(merged.as_ref()).next() else {
            return Ok(None);
        };
        let read = || {
            let dir = self.open(topmost.layer, directory)?;
            meta_on_disk(&dir, b".", &dir.stat_self()?)
        };
        let meta = read();
        meta.map(Some)
            .map_err(|error| self.failed(error, Some(topmost.layer), directory, b""))
    }

    /// The path of a name in a directory.
    ///
    /// Errors: it is too long.
    pub fn path(&self, directory: DirectoryId, name: &[u8]) -> Result<EntryPath> {
        let parent = self.directories.borrow().path(directory)?;
        match name {
            b"" | b"." => Ok(parent),
            name => parent.join(name),
        }
    }

    fn failed(
        &self,
        error: io::Error,
        layer: Option<LayerNumber>,
        directory: DirectoryId,
        name: &[u8],
    ) -> Error {
        let error = Error::io("looking it up in the layers below", error);
        let error = match self.path(directory, name) {
            Ok(path) => error.at_entry(path),
            Err(_) => error.at_entry(crate::path::display(name)),
        };
        match layer {
            Some(layer) => self.layers[layer as usize].named(error),
            None => error,
        }
    }
}

fn meta_on_disk(dir: &Dir, name: &[u8], stat: &Stat) -> io::Result<Meta> {
    Ok(root::attributes(stat, dir.kept_xattrs(name)?))
}
