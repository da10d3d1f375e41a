//! `Below`: the layers below a layer, after that layer's deletions.
//!
//! Deletions come before anything that the layer adds (rules W1, O1), wherever they stand in the
//! archive. So their paths are resolved in the tree of the layers below, all at once: `.wh.a` and
//! `a/.wh.b` find `b` in either order.
//!
//! [`super::apply`] asks it where entries lead, [`super::plan`] what has to be written. Pure but for what
//! [`Lower`] does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::Result;
use crate::meta::{Meta, Time};
use crate::path::EntryPath;

use super::lower::{Found, Lower};
use super::own_directories::OwnDirectories;
use super::walk::{PathWalk, Steps};

/// The deletions of a layer, by their paths in the archive, each with the time of its entry; and what else
/// in the layer decides where they lead.
#[derive(Clone, Debug, Default)]
pub struct Markers {
    /// Names from `.wh.NAME`.
    pub whiteouts: BTreeMap<EntryPath, Time>,
    /// Directories that hold a `.wh..wh..opq`.
    pub opaques: BTreeMap<EntryPath, Time>,
    /// Where the layer has directory entries of its own.
    pub directories: OwnDirectories,
}

/// The layers below, with a layer's markers applied to them.
pub struct Below<L: Lower> {
    lower: L,
    /// The directories that were looked at, parents before children; the root is the first.
    places: RefCell<Vec<Place<L::Directory>>>,
}

/// A directory of the layers below, or one that a marker stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaceId(u32);

struct Place<Directory> {
    parent: PlaceId,
    name: Box<[u8]>,
    /// What the layers below show here, markers not applied.
    shown: Found<Directory>,
    children: BTreeMap<Box<[u8]>, PlaceId>,
    /// The names in it that were looked up and are no directories.
    leaves: BTreeMap<Box<[u8]>, Found<Directory>>,
    /// The symbolic links in it that were read, and where they lead.
    links: BTreeMap<Box<[u8]>, Rc<[u8]>>,
    /// The names in it that the layer deletes, and the times of their whiteouts.
    deleted: BTreeMap<Box<[u8]>, Time>,
    /// When the layer emptied it.
    emptied: Option<Time>,
    /// Whether it exists only because there is a marker in it (rule W5).
    is_made: bool,
    /// Whether the layer's markers delete it, or a directory above it.
    is_gone: bool,
}

impl<L: Lower> Below<L> {
    /// The root of the layers below.
    pub const ROOT: PlaceId = PlaceId(0);

    /// Applies markers to the layers below. With `follow`, a parent that is a symbolic link is
    /// followed inside the root (rule N4), unless the layer has a directory entry in its place;
    /// without, a marker behind one has no effect.
    ///
    /// Errors: rule N5; too many steps through links; the system's.
    pub fn new(lower: L, markers: &Markers, follow: bool) -> Result<Below<L>> {
        let root = new_place(Self::ROOT, b"", lower.root());
        let below = Below {
            lower,
            places: RefCell::new(vec![root]),
        };
        let mut steps = Steps::default();
        let mut directory = |path: &EntryPath| {
            steps.allow_entry();
            let follow = follow.then_some(&markers.directories);
            let found = below.marker_directory(path, follow, &mut steps);
            found.map_err(|error| error.at_entry(path))
        };
        // Whiteouts come directory by directory.
        let mut last: Option<(EntryPath, Option<PlaceId>)> = None;
        for (path, &time) in &markers.whiteouts {
            let (parent, name) = path.split().expect("a whiteout has a name");
            let place = match last {
                Some((known, place)) if known == parent => place,
                _ => directory(&parent)?,
            };
            if let Some(place) = place {
                below.change(place, |place| place.deleted.insert(name.into(), time));
            }
            last = Some((parent, place));
        }
        for (path, &time) in &markers.opaques {
            if let Some(place) = directory(path)? {
                below.change(place, |place| place.emptied = Some(time));
            }
        }
        below.mark_what_is_gone();
        Ok(below)
    }

    /// Sets `is_gone` of every place, once all markers are recorded.
    fn mark_what_is_gone(&self) {
        let mut todo = vec![(Self::ROOT, false)];
        let places = &mut *self.places.borrow_mut();
        while let Some((id, is_gone)) = todo.pop() {
            let place = &mut places[id.0 as usize];
            place.is_gone = is_gone;
            let is_gone = |name| is_gone || place.hides(name);
            let children = place.children.iter();
            todo.extend(children.map(|(name, &child)| (child, is_gone(name))));
        }
    }

    /// The directory that a marker stands in, as the layers below have it; `None` where something
    /// that is no directory is in the way, so that the marker has no effect. Symbolic links are
    /// followed unless one of these directories takes their place.
    fn marker_directory(
        &self,
        path: &EntryPath,
        follow: Option<&OwnDirectories>,
        steps: &mut Steps,
    ) -> Result<Option<PlaceId>> {
        let mut made = Vec::new();
        let mut walk = PathWalk::new(Self::ROOT, path);
        while let Some(name) = walk.next_name() {
            let here = walk.here();
            let place = match self.found(here, &name)? {
                Found::Symlink => {
                    let Some(own) = follow else { return Ok(None) };
                    let link = walk.path().join(&name)?;
                    let is_replaced = own.replaces(&link, path, walk.left());
                    if is_replaced || !walk.follow(&self.read_link(here, &name)?, steps)? {
                        return Ok(None);
                    }
                    continue;
                }
                Found::Other => return Ok(None),
                Found::Absent => {
                    let place = self.add(here, &name, Found::Absent);
                    made.push(place);
                    place
                }
                found => self.add(here, &name, found),
            };
            walk.enter(name, place)?;
        }
        for place in made {
            self.change(place, |place| place.is_made = true);
        }
        Ok(Some(walk.here()))
    }

    /// The layers below, markers not applied.
    pub fn lower(&self) -> &L {
        &self.lower
    }

    /// The same, for another layer on top of them.
    pub fn into_lower(self) -> L {
        self.lower
    }

    /// Whether the layers below are not known.
    pub fn is_unknown(&self) -> bool {
        self.read(Self::ROOT, |root| root.shown == Found::Unknown)
    }

    /// The place of a name in a directory, if the layers below show a directory there, or may, or if a
    /// marker stands in it or below it.
    ///
    /// Errors: the system's.
    pub fn place(&self, directory: PlaceId, name: &[u8]) -> Result<Option<PlaceId>> {
        if let Some(known) = self.child(directory, name) {
            return Ok(Some(known));
        }
        Ok(match self.found(directory, name)? {
            found @ (Found::Directory(_) | Found::Unknown) => {
                Some(self.add(directory, name, found))
            }
            Found::Absent | Found::Symlink | Found::Other => None,
        })
    }

    /// What the layers below show by a name, markers not applied.
    ///
    /// Errors: the system's.
    pub fn found(&self, directory: PlaceId, name: &[u8]) -> Result<Found<L::Directory>> {
        if let Some(known) = self.child(directory, name) {
            return Ok(self.shown(known));
        }
        if let Some(known) = self.read(directory, |place| place.leaves.get(name).copied()) {
            return Ok(known);
        }
        let found = match self.shown(directory) {
            Found::Directory(shown) => self.lower.lookup(shown, name)?,
            Found::Unknown => Found::Unknown,
            Found::Absent | Found::Symlink | Found::Other => return Ok(Found::Absent),
        };
        if matches!(found, Found::Absent | Found::Symlink | Found::Other) {
            self.change(directory, |place| place.leaves.insert(name.into(), found));
        }
        Ok(found)
    }

    /// What is left of the layers below by a name.
    ///
    /// Errors: the system's.
    pub fn remains(&self, directory: PlaceId, name: &[u8]) -> Result<Found<L::Directory>> {
        match self.read(directory, |place| place.is_gone || place.hides(name)) {
            true => Ok(Found::Absent),
            false => self.found(directory, name),
        }
    }

    /// What the layers below show at a place, markers not applied.
    pub fn shown(&self, place: PlaceId) -> Found<L::Directory> {
        self.read(place, |place| place.shown)
    }

    /// Whether they show, or may show, a directory at a place, markers not applied.
    pub fn may_show_directory(&self, place: PlaceId) -> bool {
        matches!(self.shown(place), Found::Directory(_) | Found::Unknown)
    }

    /// Whether they show, or may show, anything by a name, markers not applied.
    ///
    /// Errors: the system's.
    pub fn may_show(&self, directory: PlaceId, name: &[u8]) -> Result<bool> {
        Ok(self.found(directory, name)? != Found::Absent)
    }

    /// Whether the layer deletes this very name.
    pub fn is_deleted(&self, directory: PlaceId, name: &[u8]) -> bool {
        self.read(directory, |place| place.deleted.contains_key(name))
    }

    /// Whether the layer's markers delete this place, or a directory above it.
    pub fn is_gone(&self, place: PlaceId) -> bool {
        self.read(place, |place| place.is_gone)
    }

    /// When the layer emptied this very directory.
    pub fn emptied_at(&self, place: PlaceId) -> Option<Time> {
        self.read(place, |place| place.emptied)
    }

    /// Whether the place exists only because there is a marker in it.
    pub fn is_made(&self, place: PlaceId) -> bool {
        self.read(place, |place| place.is_made)
    }

    /// The directory above a place; that of the root is the root.
    pub fn parent(&self, place: PlaceId) -> PlaceId {
        self.read(place, |place| place.parent)
    }

    /// The name of a place; empty for the root.
    pub fn name(&self, place: PlaceId) -> Box<[u8]> {
        self.read(place, |place| place.name.clone())
    }

    /// The names that the layer deletes in a directory, and the times of their whiteouts, sorted.
    pub fn deleted(&self, directory: PlaceId) -> Vec<(Box<[u8]>, Time)> {
        let entries = |place: &Place<_>| {
            let deleted = place.deleted.iter();
            deleted.map(|(name, &time)| (name.clone(), time)).collect()
        };
        self.read(directory, entries)
    }

    /// The places that were looked at in a directory, sorted by name.
    pub fn children(&self, directory: PlaceId) -> Vec<(Box<[u8]>, PlaceId)> {
        let entries = |place: &Place<_>| {
            let children = place.children.iter();
            children
                .map(|(name, &child)| (name.clone(), child))
                .collect()
        };
        self.read(directory, entries)
    }

    /// The attributes of the directory that is left at a place (rule I1).
    ///
    /// Errors: the system's.
    pub fn directory_meta(&self, place: PlaceId) -> Result<Option<Meta>> {
        match self.shown(place) {
            Found::Directory(directory) if !self.is_gone(place) => {
                self.lower.directory_meta(directory)
            }
            _ => Ok(None),
        }
    }

    /// The target of the symbolic link that was found by a name.
    ///
    /// Errors: the system's.
    pub fn read_link(&self, directory: PlaceId, name: &[u8]) -> Result<Rc<[u8]>> {
        if let Some(target) = self.read(directory, |place| place.links.get(name).cloned()) {
            return Ok(target);
        }
        let target = self.lower.read_link(self.directory(directory), name)?;
        let target: Rc<[u8]> = target.into();
        let known = Rc::clone(&target);
        self.change(directory, |place| place.links.insert(name.into(), known));
        Ok(target)
    }

    /// Every path by which what is left shows the inode of the leaf that was found by a name.
    ///
    /// Errors: the system's.
    pub fn names_of_inode(&self, directory: PlaceId, name: &[u8]) -> Result<Vec<EntryPath>> {
        let shown = self.directory(directory);
        let mut names = self.lower.names_of_inode(shown, name)?;
        names.retain(|path| !self.takes_away(path));
        Ok(names)
    }

    /// The handle of a directory in which something was found.
    pub fn directory(&self, place: PlaceId) -> L::Directory {
        match self.shown(place) {
            Found::Directory(directory) => directory,
            _ => unreachable!("only in a directory is anything found"),
        }
    }

    /// Whether the markers delete a path. If there is no place for it, there are no markers below it.
    fn takes_away(&self, path: &EntryPath) -> bool {
        let mut at = Self::ROOT;
        for name in path.components() {
            if self.read(at, |place| place.hides(name)) {
                return true;
            }
            match self.child(at, name) {
                Some(child) => at = child,
                None => return false,
            }
        }
        false
    }

    fn child(&self, directory: PlaceId, name: &[u8]) -> Option<PlaceId> {
        self.read(directory, |place| place.children.get(name).copied())
    }

    fn add(&self, parent: PlaceId, name: &[u8], shown: Found<L::Directory>) -> PlaceId {
        if let Some(known) = self.child(parent, name) {
            return known;
        }
        let places = &mut *self.places.borrow_mut();
        let id = PlaceId(u32::try_from(places.len()).expect("memory ends before"));
        let above = &mut places[parent.0 as usize];
        above.children.insert(name.into(), id);
        let is_gone = above.is_gone || above.hides(name);
        places.push(Place {
            is_gone,
            ..new_place(parent, name, shown)
        });
        id
    }

    fn read<T>(&self, id: PlaceId, read: impl FnOnce(&Place<L::Directory>) -> T) -> T {
        read(&self.places.borrow()[id.0 as usize])
    }

    fn change<T>(&self, id: PlaceId, change: impl FnOnce(&mut Place<L::Directory>) -> T) {
        change(&mut self.places.borrow_mut()[id.0 as usize]);
    }
}

impl<Directory> Place<Directory> {
    /// Whether a marker deletes what the layers below have at a name here.
    fn hides(&self, name: &[u8]) -> bool {
        self.emptied.is_some() || self.deleted.contains_key(name)
    }
}

fn new_place<Directory>(parent: PlaceId, name: &[u8], shown: Found<Directory>) -> Place<Directory> {
    Place {
        parent,
        name: name.into(),
        shown,
        children: BTreeMap::new(),
        leaves: BTreeMap::new(),
        links: BTreeMap::new(),
        deleted: BTreeMap::new(),
        emptied: None,
        is_made: false,
        is_gone: false,
    }
}
