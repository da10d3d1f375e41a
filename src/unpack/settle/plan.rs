//! `Plan`: what the markers of a layer come to, decided in memory: the directories that they need,
//! the opaque ones, the deletions (rules W2 to W5, W8, O1 to O3).
//!
//! [`super::settle`] carries it out on disk, [`crate::repack::translate`] in an archive.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::meta::Time;
use crate::overlay::lower::{Below, LowerView};
use crate::path::EntryPath;
use crate::unpack::{DirId, Tree};

/// What is to be written for the markers of a layer.
#[derive(Debug)]
pub struct Plan {
    /// Directories that were added to the tree for them, parents before children.
    pub implied: Vec<DirId>,
    /// The directories that must hide what the layers below have in them.
    pub opaque: BTreeSet<EntryPath>,
    /// The names to be deleted, and the times of their whiteouts, directory by directory.
    pub deletions: Vec<(EntryPath, Time)>,
}

impl Plan {
    /// Decides over a layer whose entries are in the tree, and adds the directories that it implies.
    ///
    /// Errors: an opaque root over unknown layers, which has no form that is right over any of them
    /// (rule O3); the system's, of looking at the layers below.
    pub fn new(tree: &mut Tree, below: &Below) -> Result<Plan> {
        let mut planner = Planner {
            tree,
            below,
            implied: Vec::new(),
        };
        planner.imply_directories_of_marks()?;
        let opaque = planner.opaque_directories()?;
        let deletions = planner.deletions(&opaque)?;
        Ok(Plan {
            implied: planner.implied,
            opaque,
            deletions,
        })
    }
}

impl Plan {
    /// Rule W8, for deletions that are xattrs: the kernel can never remove a directory that holds
    /// one. A directory of which nothing that is below remains visible is opaque instead.
    ///
    /// Errors: the system's, of looking at the layers below.
    pub fn empty_by_opaque_marks(&mut self, tree: &Tree, below: &Below) -> Result<()> {
        let Some(view) = below.view() else {
            return Ok(());
        };
        let deleted = self.deletions.iter().map(|(path, _)| path.clone());
        let deleted: BTreeSet<EntryPath> = deleted.collect();
        let parents = deleted.iter().filter_map(|path| path.parent());
        let parents: BTreeSet<EntryPath> = parents.filter(|path| !path.is_root()).collect();
        // What is deeper comes first: it may be what remains of the directory above it.
        for directory in parents.iter().rev() {
            if !self.shows_below(directory, &deleted, tree, view)? {
                self.opaque.insert(directory.clone());
            }
        }
        let opaque = std::mem::take(&mut self.opaque);
        let is_in_opaque = |path: &EntryPath| {
            path.ancestors()
                .any(|directory| opaque.contains(&directory))
        };
        self.deletions.retain(|(path, _)| !is_in_opaque(path));
        // Rule O2.
        self.opaque = opaque
            .iter()
            .filter(|path| !is_in_opaque(path))
            .cloned()
            .collect();
        Ok(())
    }
}

impl Plan {
    /// Whether something that is in a directory below remains visible there.
    fn shows_below(
        &self,
        directory: &EntryPath,
        deleted: &BTreeSet<EntryPath>,
        tree: &Tree,
        view: &LowerView,
    ) -> Result<bool> {
        for name in view.names(directory)? {
            let path = directory.join(&name)?;
            if deleted.contains(&path) || self.opaque.contains(&path) {
                continue;
            }
            let Some(inode) = tree.find(&path) else {
                return Ok(true);
            };
            if tree.as_directory(inode).is_some() && !view.names(&path)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

struct Planner<'a> {
    tree: &'a mut Tree,
    below: &'a Below,
    implied: Vec<DirId>,
}

impl Planner<'_> {
    /// Adds the directories that whiteouts and opaque marks are to be written into.
    fn imply_directories_of_marks(&mut self) -> Result<()> {
        let below = self.below;
        for path in below.made() {
            self.imply(path);
        }
        // Whiteouts come directory by directory.
        let mut last = None;
        for (path, _) in below.deleted() {
            let parent = path.parent().expect("a whiteout has a name");
            if last.as_ref() != Some(&parent)
                && below.may_show(path)?
                && self.tree.find(path).is_none()
            {
                self.imply(&parent);
                last = Some(parent);
            }
        }
        for (path, _) in below.emptied() {
            if below.may_show(path)? && !below.is_deleted(path) {
                self.imply(path);
            }
        }
        Ok(())
    }

    /// Adds a directory that the layers below show, or that a marker implies, unless this layer
    /// hides that place anyway (rules W4, W5).
    fn imply(&mut self, path: &EntryPath) {
        let mut missing = Vec::new();
        let places = std::iter::once(path.clone()).chain(path.ancestors());
        for (above, found) in places.zip(self.tree.along(path).into_iter().rev()) {
            let directory = found.and_then(|inode| self.tree.as_directory(inode));
            let is_in_replaced = |id| self.tree.directory(id).is_in_replaced;
            let hides = self.below.is_deleted(&above)
                || (above != *path && self.below.emptied_at(&above).is_some())
                || directory.is_some_and(is_in_replaced)
                || (directory.is_none() && found.is_some());
            if hides {
                return;
            }
            if directory.is_none() {
                missing.push(above);
            }
        }
        while let Some(directory) = missing.pop() {
            let parent = directory.parent().expect("the root is always there");
            let parent = self.tree.find_directory(&parent);
            let parent = parent.expect("it was found, or added before");
            let added = self.tree.add_directory(parent, directory, None, false);
            self.implied.push(added);
        }
    }

    /// The directories of this layer that must hide what the layers below have in them. Nothing
    /// needs hiding below a directory that is hidden already, or that is no directory below.
    fn opaque_directories(&self) -> Result<BTreeSet<EntryPath>> {
        let mut opaque = BTreeSet::new();
        let mut alone = BTreeSet::new();
        for directory in self.tree.directories() {
            let node = self.tree.directory(directory);
            let path = &node.path;
            let Some(parent) = path.parent() else {
                continue;
            };
            if alone.contains(&parent) {
                alone.insert(path.clone());
                continue;
            }
            let hides = node.replaces
                || self.below.is_deleted(path)
                || self.below.emptied_at(path).is_some()
                // Rule O3: the root's own mark would be ignored.
                || (parent.is_root() && self.below.emptied_at(&parent).is_some());
            let shows_directory = self.below.may_show_directory(path)?;
            if hides && shows_directory {
                opaque.insert(path.clone());
            }
            if hides || !shows_directory {
                alone.insert(path.clone());
            }
        }
        Ok(opaque)
    }

    fn deletions(&self, opaque: &BTreeSet<EntryPath>) -> Result<Vec<(EntryPath, Time)>> {
        let below = self.below;
        let mut deletions = Vec::new();
        // Whiteouts come directory by directory.
        let mut last = None;
        for (path, time) in below.deleted() {
            let parent = path.parent().expect("a whiteout has a name");
            let hidden = match &last {
                Some((known, hidden)) if *known == parent => *hidden,
                _ => {
                    opaque.contains(&parent)
                        || parent.ancestors().any(|above| opaque.contains(&above))
                        || below.is_gone(&parent)
                        || below.emptied_at(&parent).is_some()
                        || self.tree.hides_below(&parent)
                }
            };
            // Where the directory was not made, something of this layer hides the name; so does
            // what this layer has by it.
            let needs_it = !hidden
                && self.tree.has_directory(&parent)
                && below.may_show(path)?
                && self.tree.find(path).is_none();
            if needs_it {
                deletions.push((path.clone(), time));
            }
            last = Some((parent, hidden));
        }
        if let Some(time) = below.emptied_at(&EntryPath::root()) {
            deletions.extend(self.deletions_of_root(time)?);
        }
        Ok(deletions)
    }

    /// Rule O3: one deletion for each name that the layers below show in the root.
    fn deletions_of_root(&self, time: Time) -> Result<Vec<(EntryPath, Time)>> {
        let root = EntryPath::root();
        let Some(view) = self.below.view() else {
            let why = "the root is opaque, which overlayfs ignores on the root of a layer";
            return Err(Error::refused(why).hint(
                "give each layer below with --parent, or say with --base that there is none",
            ));
        };
        let mut deletions = Vec::new();
        for name in view.names(&root)? {
            let path = root.join(&name)?;
            if self.tree.find(&path).is_none() {
                deletions.push((path, time));
            }
        }
        Ok(deletions)
    }
}
