//! `Below`: the layers below a layer, once that layer's deletions are taken away.
//!
//! Deletions come before anything that the layer adds (rules W1, O1), wherever they stand in the
//! archive, so their paths are read in the tree of the layers below, and all at once: `.wh.a`
//! beside `a/.wh.b` finds `b` whichever is first.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustix::fs::FileType;

use crate::error::Result;
use crate::meta::{Meta, Time};
use crate::path::EntryPath;

use super::{Found, Leaf, LowerView, OwnDirectories, Way};

/// The deletions that a layer asks for, by the paths that its archive gives, each with the time
/// of its entry; and what else in the layer decides where they lead.
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
pub struct Below {
    /// `None`: nothing is known of them, so anything may be there.
    view: Option<LowerView>,
    /// Where the whiteouts lead, and when they were written.
    deleted: BTreeMap<EntryPath, Time>,
    /// Where the opaque marks lead, and when they were written.
    emptied: BTreeMap<EntryPath, Time>,
    /// Directories that the markers imply (rule W5) and that are not there.
    made: BTreeSet<EntryPath>,
}

impl Below {
    /// Applies markers to the layers below. With `follow`, a parent that is a symbolic link is
    /// followed inside the root (rule N4), unless the layer has a directory entry in its place;
    /// without, what it stands for is not looked for.
    pub fn new(view: Option<LowerView>, markers: &Markers, follow: bool) -> Result<Below> {
        let mut below = Below {
            view,
            deleted: BTreeMap::new(),
            emptied: BTreeMap::new(),
            made: BTreeSet::new(),
        };
        let follow = follow.then_some(&markers.directories);
        // Whiteouts come directory by directory.
        let mut last: Option<(EntryPath, Option<EntryPath>)> = None;
        for (path, &time) in &markers.whiteouts {
            let (parent, name) = path.split().expect("a whiteout has a name");
            let directory = match last {
                Some((known, directory)) if known == parent => directory,
                _ => below.marker_directory(&parent, follow)?,
            };
            if let Some(directory) = &directory {
                below.deleted.insert(directory.join(name)?, time);
            }
            last = Some((parent, directory));
        }
        for (path, &time) in &markers.opaques {
            if let Some(directory) = below.marker_directory(path, follow)? {
                below.emptied.insert(directory, time);
            }
        }
        let made = std::mem::take(&mut below.made);
        below.made = made
            .into_iter()
            .filter(|path| !below.is_gone(path))
            .collect();
        Ok(below)
    }

    /// The directory that a marker stands in, as the layers below have it; `None` where something
    /// that is no directory is in the way, so that the marker has no effect. Symbolic links are
    /// followed unless one of these directories takes their place.
    fn marker_directory(
        &mut self,
        path: &EntryPath,
        follow: Option<&OwnDirectories>,
    ) -> Result<Option<EntryPath>> {
        let Some(view) = &self.view else {
            return Ok(Some(path.clone()));
        };
        let mut made = Vec::new();
        let mut way = Way::new(path);
        while let Some(name) = way.next_name() {
            let next = way.at().join(&name)?;
            match &*view.lookup(&next)? {
                Found::Directory(_) => way.enter(next),
                Found::Absent => {
                    made.push(next.clone());
                    way.enter(next);
                }
                Found::Leaf(leaf)
                    if leaf.file_type() == FileType::Symlink
                        && follow.is_some_and(|own| !own.replaces(&next, path, way.left())) =>
                {
                    if !way.follow(&view.read_link(&next, leaf)?)? {
                        return Ok(None);
                    }
                }
                Found::Leaf(_) => return Ok(None),
            }
        }
        self.made.extend(made);
        Ok(Some(way.end()))
    }

    /// The deleted names and the times of their whiteouts, in order.
    pub fn deleted(&self) -> impl Iterator<Item = (&EntryPath, Time)> {
        self.deleted.iter().map(|(path, &time)| (path, time))
    }

    /// The emptied directories and the times of their marks, in order.
    pub fn emptied(&self) -> impl Iterator<Item = (&EntryPath, Time)> {
        self.emptied.iter().map(|(path, &time)| (path, time))
    }

    /// Directories that exist only because a marker stands in them, in order.
    pub fn made(&self) -> impl Iterator<Item = &EntryPath> {
        self.made.iter()
    }

    /// Whether the layer deletes this very name.
    pub fn is_deleted(&self, path: &EntryPath) -> bool {
        self.deleted.contains_key(path)
    }

    /// Whether the layer empties this very directory, and when.
    pub fn emptied_at(&self, path: &EntryPath) -> Option<Time> {
        self.emptied.get(path).copied()
    }

    /// Whether the layer's markers take this path away: itself, or something above it.
    pub fn is_gone(&self, path: &EntryPath) -> bool {
        self.is_deleted(path)
            || path
                .ancestors()
                .any(|above| self.is_deleted(&above) || self.emptied.contains_key(&above))
    }

    /// Whether nothing at all is known of the layers below.
    pub fn is_unknown(&self) -> bool {
        self.view.is_none()
    }

    /// The merged layers below again, for the next layer.
    pub fn into_view(self) -> Option<LowerView> {
        self.view
    }

    /// The merged layers below, markers not applied.
    pub fn view(&self) -> Option<&LowerView> {
        self.view.as_ref()
    }

    /// Whether the layers below show, or may show, something here, markers not applied.
    pub fn may_show(&self, path: &EntryPath) -> Result<bool> {
        match &self.view {
            None => Ok(true),
            Some(view) => Ok(!matches!(*view.lookup(path)?, Found::Absent)),
        }
    }

    /// Whether the layers below show, or may show, a directory here, markers not applied.
    pub fn may_show_directory(&self, path: &EntryPath) -> Result<bool> {
        match &self.view {
            None => Ok(true),
            Some(view) => Ok(matches!(*view.lookup(path)?, Found::Directory(_))),
        }
    }

    /// What is left of the layers below at this path.
    pub fn remains(&self, path: &EntryPath) -> Result<Rc<Found>> {
        match &self.view {
            Some(view) if !self.is_gone(path) => view.lookup(path),
            _ => Ok(Rc::new(Found::Absent)),
        }
    }

    /// The attributes of the directory that is left at this path (rule I1).
    pub fn directory_meta(&self, path: &EntryPath) -> Result<Option<Meta>> {
        match (&self.view, &*self.remains(path)?) {
            (Some(view), Found::Directory(layers)) if !layers.is_empty() => {
                view.directory_meta(path, layers).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The target of the symbolic link that is left at this path, if one is.
    pub fn symlink(&self, path: &EntryPath) -> Result<Option<Vec<u8>>> {
        match (&self.view, &*self.remains(path)?) {
            (Some(view), Found::Leaf(leaf)) if leaf.file_type() == FileType::Symlink => {
                view.read_link(path, leaf).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Every path by which what is left shows the inode of a leaf.
    pub fn names_of_inode(&self, path: &EntryPath, leaf: &Leaf) -> Result<Vec<EntryPath>> {
        let Some(view) = self.view.as_ref().filter(|_| leaf.stat.st_nlink > 1) else {
            return Ok(vec![path.clone()]);
        };
        let mut names = view.names_of_inode(path)?;
        names.retain(|name| !self.is_gone(name));
        Ok(names)
    }
}
