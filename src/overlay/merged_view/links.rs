//! The inodes of a layer that have several names.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::error::{Error, Result};
use crate::fs::dir_tree::{DirId, DirTree};
use crate::fs::root::Dir;
use crate::path::EntryPath;

use super::{DirectoryId, MergedView, Seen};

/// A directory of the layer, and a name in it.
type Name = (DirId, Box<[u8]>);

/// The names of those inodes, by the numbers of the inodes, with the directories of the layer.
#[derive(Debug)]
pub struct Links {
    tree: DirTree,
    names: HashMap<u64, Vec<Name>>,
}

impl Links {
    /// Walks through a whole layer.
    fn of_layer(top: Arc<Dir>) -> Result<Links> {
        let mut links = Links {
            tree: DirTree::new(top),
            names: HashMap::new(),
        };
        let mut todo = vec![DirTree::TOP];
        while let Some(id) = todo.pop() {
            links.add_names_in(id, &mut todo).map_err(|error| {
                let error = Error::io("looking for hard links in a layer below", error);
                match links.tree.path(id) {
                    Ok(path) => error.at_entry(path),
                    Err(_) => error,
                }
            })?;
        }
        links.tree.close();
        Ok(links)
    }

    fn add_names_in(&mut self, id: DirId, todo: &mut Vec<DirId>) -> std::io::Result<()> {
        let dir = self.tree.open(id)?;
        for name in dir.names()? {
            let Some(stat) = dir.stat(&name)? else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                todo.push(self.tree.add(id, name));
            } else if stat.st_nlink > 1 {
                self.names.entry(stat.st_ino).or_default().push((id, name));
            }
        }
        Ok(())
    }
}

impl MergedView {
    /// All paths that show the inode of a leaf, its own among them, sorted; none if it has only one. The first call for a layer
    /// walks through the whole of it, so it is for the rare leaf that has several names.
    pub(super) fn names_shown_of(
        &self,
        directory: DirectoryId,
        name: &[u8],
    ) -> Result<Vec<EntryPath>> {
        let (layer, _, stat) = self.holder(directory, name)?;
        if stat.st_nlink < 2 {
            return Ok(Vec::new());
        }
        if !self.links.borrow().contains_key(&layer) {
            let named = |error| self.layers[layer as usize].named(error);
            let top = self.open(layer, DirectoryId::ROOT);
            let top = top.map_err(|error| self.failed(error, Some(layer), directory, name))?;
            let links = Links::of_layer(top).map_err(named)?;
            self.links.borrow_mut().insert(layer, links);
        }
        let links = self.links.borrow();
        let links = &links[&layer];
        let mut shown = Vec::new();
        let mut known = HashMap::from([(DirTree::TOP, Some(DirectoryId::ROOT))]);
        for (parent, name) in links.names.get(&stat.st_ino).into_iter().flatten() {
            let Some(parent) = self.shown_directory(&links.tree, *parent, &mut known)? else {
                continue;
            };
            if matches!(self.see(parent, name)?, Seen::Leaf(found, _) if found == layer) {
                shown.push(self.path(parent, name)?);
            }
        }
        shown.sort_unstable();
        Ok(shown)
    }

    /// The merged directory that shows a directory of one layer, if one does.
    fn shown_directory(
        &self,
        tree: &DirTree,
        wanted: DirId,
        known: &mut HashMap<DirId, Option<DirectoryId>>,
    ) -> Result<Option<DirectoryId>> {
        let mut missing = Vec::new();
        let mut at = wanted;
        let mut shown = loop {
            if let Some(&shown) = known.get(&at) {
                break shown;
            }
            missing.push(at);
            at = tree.parent(at);
        };
        while let Some(id) = missing.pop() {
            shown = match shown {
                None => None,
                Some(parent) => match self.see(parent, tree.name(id))? {
                    Seen::Directory(shown) => Some(shown),
                    Seen::Absent | Seen::Leaf(..) => None,
                },
            };
            known.insert(id, shown);
        }
        Ok(shown)
    }
}
