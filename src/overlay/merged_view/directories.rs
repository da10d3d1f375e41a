//! The merged directories that are known, each with the layers that show in it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::error::Result;
use crate::fs::dir_cache::DirPath;
use crate::fs::root::Dir;
use crate::overlay::inspect::DirMarks;
use crate::path::EntryPath;

use super::{LayerNumber, LayerRoot};

/// A directory that the layers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryId(u32);

impl DirectoryId {
    /// Their root.
    pub const ROOT: DirectoryId = DirectoryId(0);
}

/// A layer that has a directory.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// Its number.
    pub layer: LayerNumber,
    holds_xattr_whiteouts: bool,
}

impl Holder {
    pub fn new(layer: LayerNumber, marks: &DirMarks) -> Holder {
        Holder {
            layer,
            holds_xattr_whiteouts: marks.holds_xattr_whiteouts,
        }
    }

    /// The marks of its directory that decide over the names in it. Those of a root are not in here.
    pub fn marks(self) -> DirMarks {
        DirMarks {
            holds_xattr_whiteouts: self.holds_xattr_whiteouts,
            ..DirMarks::default()
        }
    }
}

/// The layers that show in a directory, topmost first. A layer that is put on top shares the list of
/// those below it.
#[derive(Debug)]
pub struct Merged {
    top: Holder,
    below: Option<Arc<Merged>>,
}

impl Merged {
    /// The layers, topmost first.
    pub fn each(merged: Option<&Arc<Merged>>) -> impl Iterator<Item = Holder> {
        std::iter::successors(merged, |merged| merged.below.as_ref()).map(|merged| merged.top)
    }

    fn on(below: Option<Arc<Merged>>, top: Holder) -> Option<Arc<Merged>> {
        Some(Arc::new(Merged { top, below }))
    }
}

/// A long list takes no stack.
impl Drop for Merged {
    fn drop(&mut self) {
        let mut next = self.below.take();
        while let Some(mut merged) = next.and_then(Arc::into_inner) {
            next = merged.below.take();
        }
    }
}

#[derive(Debug)]
struct Directory {
    parent: DirectoryId,
    name: Box<[u8]>,
    layers: Option<Arc<Merged>>,
    /// Layers below this number were asked.
    known: LayerNumber,
    children: BTreeMap<Box<[u8]>, DirectoryId>,
}

/// Directories, by number.
#[derive(Debug)]
pub struct Directories(Vec<Directory>);

impl Default for Directories {
    fn default() -> Directories {
        Directories(vec![Directory {
            parent: DirectoryId::ROOT,
            name: Box::default(),
            layers: None,
            known: 0,
            children: BTreeMap::new(),
        }])
    }
}

impl Directories {
    fn get(&self, id: DirectoryId) -> &Directory {
        &self.0[id.0 as usize]
    }

    fn get_mut(&mut self, id: DirectoryId) -> &mut Directory {
        &mut self.0[id.0 as usize]
    }

    /// The layers that show in a directory.
    pub fn layers(&self, id: DirectoryId) -> Option<Arc<Merged>> {
        self.get(id).layers.clone()
    }

    /// A directory in another one, if it is known, and the number of the first layer that was not asked.
    pub fn child(&self, parent: DirectoryId, name: &[u8]) -> Option<(DirectoryId, LayerNumber)> {
        let &id = self.get(parent).children.get(name)?;
        Some((id, self.get(id).known))
    }

    /// Puts a layer's own directory on top.
    pub fn push_root(&mut self, layer: LayerNumber) {
        let root = self.get_mut(DirectoryId::ROOT);
        let holder = Holder::new(layer, &DirMarks::default());
        root.layers = Merged::on(root.layers.take(), holder);
        root.known = layer + 1;
    }

    /// Notes that layers, topmost first, have a directory, on top of what it was `below` them, or in its
    /// place.
    pub fn merge(
        &mut self,
        parent: DirectoryId,
        name: &[u8],
        below: Option<DirectoryId>,
        layers: &[Holder],
        known: LayerNumber,
    ) -> DirectoryId {
        let id = below.unwrap_or_else(|| self.add(parent, name));
        let directory = self.get_mut(id);
        directory.known = known;
        for &layer in layers.iter().rev() {
            directory.layers = Merged::on(directory.layers.take(), layer);
        }
        id
    }

    fn add(&mut self, parent: DirectoryId, name: &[u8]) -> DirectoryId {
        let count = u32::try_from(self.0.len());
        let id = DirectoryId(count.expect("no file system has so many directories"));
        self.0.push(Directory {
            parent,
            name: name.into(),
            layers: None,
            known: 0,
            children: BTreeMap::new(),
        });
        self.get_mut(parent).children.insert(name.into(), id);
        id
    }

    /// Notes that a name is no directory any more, if it was one.
    pub fn remove(&mut self, parent: DirectoryId, name: &[u8]) {
        self.get_mut(parent).children.remove(name);
    }

    /// Errors: the path is too long.
    pub fn path(&self, id: DirectoryId) -> Result<EntryPath> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = id;
        while at != DirectoryId::ROOT {
            let directory = self.get(at);
            names.push(&directory.name);
            at = directory.parent;
        }
        names.reverse();
        EntryPath::parse(&names.join(&b'/'))
    }
}

/// Where the directories of all layers are.
pub struct Places<'a> {
    pub layers: &'a [LayerRoot],
    pub directories: &'a Directories,
}

impl DirPath for Places<'_> {
    type Id = (LayerNumber, DirectoryId);

    fn parent(&self, (layer, id): Self::Id) -> Option<(Self::Id, &[u8])> {
        let directory = self.directories.get(id);
        (id != DirectoryId::ROOT).then_some(((layer, directory.parent), &*directory.name))
    }

    fn open_root(&self, (layer, _): Self::Id) -> io::Result<Arc<Dir>> {
        self.layers[layer as usize].open()
    }
}
