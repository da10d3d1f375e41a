//! `Plan`: what a layer needs besides its entries, decided in memory: the directories that its markers
//! imply, opaque directories and deletions (rules W2 to W5, W8, O1 to O3), and the attributes of
//! directories without an entry (I1, I2).
//!
//! The sinks of [`super::apply`] carry it out. Pure but for what [`Lower`] does.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::dialect::Whiteout;
use crate::error::{Advice, Error, Result};
use crate::limits::Limits;
use crate::meta::{Meta, Time};

use super::apply::Unsettled;
use super::below::{Below, PlaceId};
use super::lower::{Found, Lower};
use super::options::Options;
use super::places::places;
use super::tree::{DirId, Tree};

/// What is to be done for a layer whose entries are in the tree.
#[derive(Debug)]
pub struct Plan {
    /// Directories that were added to the tree for markers, parents before children.
    pub implied: Vec<DirId>,
    /// The directories that must be opaque.
    pub opaque: HashSet<DirId>,
    /// The names to be deleted, directory by directory, each sorted.
    pub deletions: Vec<Deletion>,
    /// Where the directories are below.
    places: Vec<Option<PlaceId>>,
}

/// A name that a layer deletes.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The directory of the layer that gets the whiteout.
    pub directory: DirId,
    /// The name.
    pub name: Box<[u8]>,
    /// The time of its whiteout.
    pub time: Time,
}

impl Plan {
    /// Makes the plan for a layer, and adds the directories that its markers imply to its tree.
    ///
    /// Errors: an opaque root over unknown layers, which has no form that is right over any of them
    /// (rule O3); too many implied directories ([`Kind::Limit`](crate::Kind::Limit)); the system's.
    pub fn new<L: Lower>(
        layer: &mut Unsettled,
        below: &Below<L>,
        options: &Options,
        limits: &Limits,
    ) -> Result<Plan> {
        let places = places(&layer.tree, below)?;
        let (entries, implied) = layer.counts;
        let markers = count_deleted(below);
        let mut planner = Planner {
            tree: &mut layer.tree,
            below,
            limits,
            entries: entries + markers,
            count: implied,
            places,
            owns: HashMap::new(),
            implied: Vec::new(),
            is_alone: Vec::new(),
        };
        planner.imply_directories_of_markers()?;
        let opaque = planner.opaque_directories();
        let mut deletions = planner.deletions(&opaque)?;
        for ((directory, name), time) in &layer.left_out {
            let deletion = time.map(|time| planner.deletion_of_left_out(*directory, name, time));
            deletions.extend(deletion.transpose()?.flatten());
        }
        let mut plan = Plan {
            implied: planner.implied,
            places: planner.places,
            opaque,
            deletions,
        };
        if options.dialect.whiteout == Whiteout::Xattr {
            plan.empty_by_opaque_marks(&layer.tree, below)?;
        }
        Ok(plan)
    }

    /// The attributes of a directory that has no entry: those that the layers below show there (rule I1),
    /// else the default (I2).
    ///
    /// Errors: the system's; ids that are not mapped.
    pub fn implied_meta<L: Lower>(
        &self,
        directory: DirId,
        tree: &Tree,
        below: &Below<L>,
        options: &Options,
    ) -> Result<Meta> {
        let place = self.places[directory.index()];
        let is_hidden = tree.directory(directory).is_in_replaced;
        let inherited = match place.filter(|_| !is_hidden) {
            Some(place) => below.directory_meta(place)?,
            None => None,
        };
        inherited.map_or_else(|| options.implied_meta(), Ok)
    }

    /// Rule W8, for deletions that are xattrs: the kernel can never remove a directory that holds
    /// one. A directory of which nothing that is below remains visible is opaque instead.
    fn empty_by_opaque_marks<L: Lower>(&mut self, tree: &Tree, below: &Below<L>) -> Result<()> {
        if below.is_unknown() {
            return Ok(());
        }
        let mut deleted: BTreeMap<DirId, HashSet<&[u8]>> = BTreeMap::new();
        for deletion in &self.deletions {
            let names = deleted.entry(deletion.directory).or_default();
            names.insert(&deletion.name);
        }
        deleted.remove(&Tree::ROOT);
        // Deeper directories come first: one of them may be all that remains visible in its parent.
        for (&directory, names) in deleted.iter().rev() {
            if !self.shows_below(directory, names, tree, below)? {
                self.opaque.insert(directory);
            }
        }
        let is_in_opaque = |mut directory| {
            while directory != Tree::ROOT {
                directory = tree.directory(directory).parent;
                if self.opaque.contains(&directory) {
                    return true;
                }
            }
            false
        };
        let is_opaque = |directory| self.opaque.contains(&directory) || is_in_opaque(directory);
        self.deletions
            .retain(|deletion| !is_opaque(deletion.directory));
        // Rule O2.
        let opaque = self.opaque.iter().copied();
        self.opaque = opaque
            .filter(|&directory| !is_in_opaque(directory))
            .collect();
        Ok(())
    }

    /// Whether something that is in a directory below remains visible there.
    fn shows_below<L: Lower>(
        &self,
        directory: DirId,
        deleted: &HashSet<&[u8]>,
        tree: &Tree,
        below: &Below<L>,
    ) -> Result<bool> {
        let Some(shown) = self.shown(directory, below) else {
            return Ok(false);
        };
        for name in below.lower().names(shown)? {
            if deleted.contains(&*name) {
                continue;
            }
            let Some(inode) = tree.child(directory, &name) else {
                return Ok(true);
            };
            if let Some(child) = tree.as_directory(inode)
                && !self.opaque.contains(&child)
                && let Some(shown) = self.shown(child, below)
                && !below.lower().names(shown)?.is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn shown<L: Lower>(&self, directory: DirId, below: &Below<L>) -> Option<L::Directory> {
        match below.shown(self.places[directory.index()]?) {
            Found::Directory(shown) => Some(shown),
            _ => None,
        }
    }
}

/// How many names the markers delete.
fn count_deleted<L: Lower>(below: &Below<L>) -> u64 {
    let mut count = 0;
    each_place(below, |place| count += below.deleted(place).len() as u64);
    count
}

/// Calls for all places, parents before children, in the order of paths.
fn each_place<L: Lower>(below: &Below<L>, mut call: impl FnMut(PlaceId)) {
    let mut todo = vec![Below::<L>::ROOT];
    while let Some(place) = todo.pop() {
        call(place);
        let children = below.children(place);
        todo.extend(children.into_iter().rev().map(|(_, child)| child));
    }
}

struct Planner<'a, L: Lower> {
    tree: &'a mut Tree,
    below: &'a Below<L>,
    limits: &'a Limits,
    /// Entries, markers among them.
    entries: u64,
    /// Implied directories.
    count: u64,
    places: Vec<Option<PlaceId>>,
    /// What this layer has at the places that were asked for.
    owns: HashMap<PlaceId, Own>,
    implied: Vec<DirId>,
    /// For each directory, whether nothing that is below shows in it.
    is_alone: Vec<bool>,
}

/// What this layer has at a place.
#[derive(Clone, Copy)]
enum Own {
    Directory(DirId),
    /// Nothing; a directory could be added.
    Nothing,
    /// Something that hides the place (rules W4, W5).
    Hidden,
}

impl<L: Lower> Planner<'_, L> {
    /// Adds the directories that whiteouts and opaque marks are to be written into.
    fn imply_directories_of_markers(&mut self) -> Result<()> {
        let below = self.below;
        let mut places = Vec::new();
        each_place(below, |place| places.push(place));
        for place in places {
            let is_needed = below.is_made(place)
                || (below.emptied_at(place).is_some() && below.shown(place) != Found::Absent)
                || self.gets_whiteout(place)?;
            if is_needed {
                self.imply(place)?;
            }
        }
        Ok(())
    }

    /// Whether a name is deleted in a directory that is visible there and that the layer itself lacks.
    fn gets_whiteout(&mut self, place: PlaceId) -> Result<bool> {
        let own = match self.own(place) {
            Own::Hidden => return Ok(false),
            Own::Directory(own) => Some(own),
            Own::Nothing => None,
        };
        for (name, _) in self.below.deleted(place) {
            let is_free = own.is_none_or(|own| self.tree.child(own, &name).is_none());
            if is_free && self.below.may_show(place, &name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What this layer has at a place.
    fn own(&mut self, place: PlaceId) -> Own {
        let mut unknown = Vec::new();
        let mut at = place;
        while at != Below::<L>::ROOT && !self.owns.contains_key(&at) {
            unknown.push(at);
            at = self.below.parent(at);
        }
        let own = self.owns.get(&at).copied();
        let mut own = own.unwrap_or(Own::Directory(Tree::ROOT));
        while let Some(place) = unknown.pop() {
            own = self.own_in(own, place);
            self.owns.insert(place, own);
        }
        own
    }

    fn own_in(&self, parent: Own, place: PlaceId) -> Own {
        let parent = match parent {
            Own::Hidden => return Own::Hidden,
            _ if self.below.is_gone(place) => return Own::Hidden,
            Own::Nothing => return Own::Nothing,
            Own::Directory(parent) => parent,
        };
        let Some(inode) = self.tree.child(parent, &self.below.name(place)) else {
            return Own::Nothing;
        };
        match self.tree.as_directory(inode) {
            Some(directory) if !self.tree.directory(directory).is_in_replaced => {
                Own::Directory(directory)
            }
            _ => Own::Hidden,
        }
    }

    /// Adds the directory of a place, and those above it, unless this layer hides it anyway (rules W4, W5).
    fn imply(&mut self, place: PlaceId) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = place;
        let mut parent = loop {
            match self.own(at) {
                Own::Hidden => return Ok(()),
                Own::Directory(directory) => break directory,
                Own::Nothing => missing.push(at),
            }
            at = self.below.parent(at);
        };
        while let Some(place) = missing.pop() {
            self.count += 1;
            self.limits.check_implied(self.count, self.entries)?;
            parent = self
                .tree
                .add_directory(parent, &self.below.name(place), false);
            self.owns.insert(place, Own::Directory(parent));
            self.places.push(Some(place));
            self.implied.push(parent);
        }
        Ok(())
    }

    /// The directories of this layer that must hide what the layers below have in them. Nothing
    /// needs hiding below a directory that is hidden already, or that is no directory below.
    fn opaque_directories(&mut self) -> HashSet<DirId> {
        let below = self.below;
        let is_emptied = |place| below.emptied_at(place).is_some();
        let mut opaque = HashSet::new();
        let mut is_alone = vec![false; self.places.len()];
        for directory in self.tree.directories().filter(|&id| id != Tree::ROOT) {
            let node = self.tree.directory(directory);
            let place = self.places[directory.index()];
            let above = self.places[node.parent.index()];
            let hides = node.replaces
                || place.is_some_and(is_emptied)
                || above.is_some_and(|above| below.is_deleted(above, &node.name))
                // Rule O3: the root's own mark would be ignored.
                || (node.parent == Tree::ROOT && is_emptied(Below::<L>::ROOT));
            let shows_directory = place.is_some_and(|place| below.may_show_directory(place));
            let parent_is_alone = is_alone[node.parent.index()];
            if hides && shows_directory && !parent_is_alone {
                opaque.insert(directory);
            }
            is_alone[directory.index()] = parent_is_alone || hides || !shows_directory;
        }
        self.is_alone = is_alone;
        opaque
    }

    /// Rules W3 and W4: only of what shows below, and not where this layer hides it anyway.
    fn deletions(&mut self, opaque: &HashSet<DirId>) -> Result<Vec<Deletion>> {
        let below = self.below;
        let mut deletions = Vec::new();
        let mut todo = vec![(Below::<L>::ROOT, false)];
        while let Some((place, is_hidden)) = todo.pop() {
            // Where the directory was not made, something of this layer hides the names.
            let own = match self.own(place) {
                Own::Directory(own) => Some(own),
                Own::Nothing | Own::Hidden => None,
            };
            let is_opaque = own.is_some_and(|own| opaque.contains(&own));
            let is_hidden = is_hidden || is_opaque || below.emptied_at(place).is_some();
            let Some(directory) = own.filter(|_| !is_hidden) else {
                continue;
            };
            for (name, time) in below.deleted(place) {
                let is_free = self.tree.child(directory, &name).is_none();
                if is_free && below.may_show(place, &name)? {
                    deletions.push(Deletion {
                        directory,
                        name,
                        time,
                    });
                }
            }
            let children = below.children(place).into_iter().rev();
            todo.extend(children.map(|(_, child)| (child, is_hidden)));
        }
        if let Some(time) = below.emptied_at(Below::<L>::ROOT) {
            deletions.extend(self.deletions_of_root(time)?);
        }
        Ok(deletions)
    }

    /// Rule H3: what the sink could not make hides what is below, unless that is deleted anyway.
    fn deletion_of_left_out(
        &self,
        directory: DirId,
        name: &[u8],
        time: Time,
    ) -> Result<Option<Deletion>> {
        let below = self.below;
        let is_hidden = !self.tree.is_there(directory)
            || self.is_alone[directory.index()]
            || self.tree.child(directory, name).is_some();
        let Some(place) = self.places[directory.index()].filter(|_| !is_hidden) else {
            return Ok(None);
        };
        let is_deleted = below.is_deleted(place, name) || below.emptied_at(place).is_some();
        if is_deleted || !below.may_show(place, name)? {
            return Ok(None);
        }
        Ok(Some(Deletion {
            directory,
            name: name.into(),
            time,
        }))
    }

    /// Rule O3: one deletion for each name that the layers below show in the root.
    fn deletions_of_root(&self, time: Time) -> Result<Vec<Deletion>> {
        let Found::Directory(root) = self.below.shown(Below::<L>::ROOT) else {
            let why = "the root is opaque, which overlayfs ignores on the root of a layer";
            return Err(Error::refused(why).hint(Advice::GiveParentsOrBase));
        };
        let names = self.below.lower().names(root)?.into_iter();
        let names = names.filter(|name| self.tree.child(Tree::ROOT, name).is_none());
        let delete = |name| Deletion {
            directory: Tree::ROOT,
            name,
            time,
        };
        Ok(names.map(delete).collect())
    }
}
