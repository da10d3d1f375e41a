//! `Layer`: applies the translation rules to the entries of one layer in archive order. It decides what
//! each entry creates, replaces or links (N2 to N5, H1 to H3), as [`Action`]s for a sink to carry out.
//!
//! [`crate::unpack`] carries them out on disk, [`crate::repack::translate`] in an archive, and
//! [`crate::view`] in memory. A sink decides nothing. After the last entry, [`super::plan`] adds what the
//! markers require. Pure, except for [`Lower`](super::lower::Lower).
//!
//! In two rare cases, where an entry goes depends on the layers below: a parent that is a symbolic link
//! there (rule N4), and a hard link to a file there (rule H2). A layer that is applied before these are
//! known records such a case, and must then be applied again ([`Unsettled::needs_second_pass`]).

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::meta::{Meta, Time};
use crate::path::EntryPath;
use crate::tar::archive::{Entry, EntryKind};

use super::action::Action;
use super::below::{Below, PlaceId};
use super::lower::{Found, Lower};
use super::options::Options;
use super::places::places;
use super::tree::{DirId, Inode, InodeKind, Tree};
use super::walk::{PathWalk, Steps};

/// A layer that is being applied.
pub struct Layer<'a, L: Lower> {
    pub(super) options: &'a Options,
    pub(super) limits: &'a Limits,
    /// `None`: they are not known yet.
    pub(super) below: Option<&'a Below<L>>,
    /// What the layer has so far.
    pub tree: Tree,
    steps: Steps,
    entries: u64,
    implied: u64,
    /// Bytes from the layers below.
    pub(super) copied: u64,
    /// Names that the sink could not make.
    pub(super) left_out: LeftOut,
    is_postponed: bool,
}

/// A layer whose entries were all applied.
#[derive(Debug)]
pub struct Unsettled {
    /// What the layer has.
    pub tree: Tree,
    /// Entries and implied directories.
    pub(super) counts: (u64, u64),
    /// What the sink could not make.
    pub(super) left_out: LeftOut,
    /// A hard link did not find its target in this layer (rule H2), or a path led in a circle, or
    /// elsewhere than the layers below may lead it.
    is_postponed: bool,
}

/// Names that could not be made, and the times of the whiteouts that stand for them.
pub(super) type LeftOut = BTreeMap<(DirId, Box<[u8]>), Option<Time>>;

/// Where the parents of a path lead.
pub(super) enum Resolved {
    /// To a directory, of this layer or of those below.
    Place(PathWalk<At>),
    /// To nothing.
    Nowhere,
    /// Only the second pass can tell.
    Postponed,
}

/// Where a path leads, in this layer and in what remains of the layers below.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// `None`: this layer has no such directory.
    pub(super) own: Option<DirId>,
    /// `None`: nothing is there, this layer hides it, or it is not known.
    pub(super) below: Option<PlaceId>,
}

/// What to do if a parent is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Imply a directory (rule I2).
    Make,
    /// Go on by name: the rest can only be in the layers below.
    Pass,
}

impl<'a, L: Lower> Layer<'a, L> {
    /// A layer without entries. `below` is given if the layers below are known, or known to stay unknown;
    /// with `None`, what depends on them is left to a second pass.
    pub fn new(
        options: &'a Options,
        limits: &'a Limits,
        below: Option<&'a Below<L>>,
    ) -> Layer<'a, L> {
        Layer {
            options,
            limits,
            below,
            tree: Tree::of_root(),
            steps: Steps::default(),
            entries: 0,
            implied: 0,
            copied: 0,
            left_out: LeftOut::new(),
            is_postponed: false,
        }
    }

    /// Applies an entry that [`Intake`](super::intake::Intake) returned, and adds the actions for it.
    ///
    /// Errors: what a rule refuses; limits; the system's, of looking at the layers below.
    pub fn apply(&mut self, entry: Entry, actions: &mut Vec<Action>) -> Result<()> {
        self.entries += 1;
        self.steps.allow_entry();
        let Entry { path, kind, meta } = entry;
        if path.is_root() {
            // Rule N2: the root entry describes the layer's own directory.
            self.tree.describe(Tree::ROOT, meta);
            actions.push(Action::Describe(Tree::ROOT));
            return Ok(());
        }
        let Some((parent, place)) = self.parent(path, actions)? else {
            return Ok(());
        };
        match kind {
            EntryKind::Directory => {
                self.directory(parent, place, meta, actions);
                Ok(())
            }
            EntryKind::HardLink(target) => self.hard_link(parent, place, &target, meta, actions),
            kind => {
                self.make(parent, place, kind, meta, actions);
                Ok(())
            }
        }
    }

    /// Records that the sink could not make something (rule H3). With a time, a whiteout keeps what the
    /// layers below have by that name from showing instead.
    pub fn leave_out(&mut self, parent: DirId, name: &[u8], whiteout: Option<Time>) {
        self.tree.remove(parent, name);
        self.left_out.insert((parent, name.into()), whiteout);
    }

    /// Whether something of this layer by that name could not be made.
    pub fn was_left_out(&self, parent: DirId, name: &[u8]) -> bool {
        !self.left_out.is_empty() && self.left_out.contains_key(&(parent, name.into()))
    }

    /// Whether what is made by a name takes the place of something that was left out.
    fn is_in_place_of_left_out(&mut self, parent: DirId, name: &[u8]) -> bool {
        !self.left_out.is_empty() && self.left_out.remove(&(parent, name.into())).is_some()
    }

    /// Ends the entries.
    pub fn finish(self) -> Unsettled {
        Unsettled {
            tree: self.tree,
            counts: (self.entries, self.implied),
            left_out: self.left_out,
            is_postponed: self.is_postponed,
        }
    }

    /// The directory of an entry, made if it is missing, and the entry's real path; `None` if that is left
    /// to the second pass.
    fn parent(
        &mut self,
        path: EntryPath,
        actions: &mut Vec<Action>,
    ) -> Result<Option<(DirId, EntryPath)>> {
        // What is a directory of this layer, is so by each of its components.
        let known = self.tree.directory_at(path.parent_bytes());
        if let Some(directory) = known {
            return Ok(Some((directory, path)));
        }
        let parent = path.parent().unwrap_or_default();
        let Resolved::Place(walk) = self.resolve(&parent, Missing::Make, actions)? else {
            return Ok(None);
        };
        let directory = walk.here().own.expect("each step was found or made");
        let place = walk.path().join(path.name())?;
        Ok(Some((directory, place)))
    }

    /// Walks along a path, through the symbolic links of this layer and of what remains below.
    pub(super) fn resolve(
        &mut self,
        path: &EntryPath,
        missing: Missing,
        actions: &mut Vec<Action>,
    ) -> Result<Resolved> {
        let root = At {
            own: Some(Tree::ROOT),
            below: self.below.map(|_| Below::<L>::ROOT),
        };
        let mut walk = PathWalk::new(root, path);
        while let Some(name) = walk.next_name() {
            let at = walk.here();
            let own = at.own.and_then(|own| self.tree.child(own, &name));
            let is_in_the_way =
                own.is_some() || at.own.is_some_and(|own| self.was_left_out(own, &name));
            let target = match own.map(|inode| (inode, self.tree.inode(inode).kind)) {
                Some((_, InodeKind::Directory(directory))) => {
                    let next = self.enter(at, directory, &name)?;
                    walk.enter(name, next)?;
                    continue;
                }
                Some((inode, InodeKind::Symlink)) => Some(Rc::from(self.tree.target(inode))),
                _ if is_in_the_way => None,
                _ => self.link_below(at, &name)?,
            };
            if let Some(target) = target {
                if !self.follow(&mut walk, &target)? {
                    return Ok(Resolved::Postponed);
                }
                continue;
            }
            let next = match (missing, at.own) {
                (Missing::Make, Some(parent)) => {
                    let directory = self.imply(parent, &name, actions)?;
                    self.enter(at, directory, &name)?
                }
                _ => {
                    let below = match is_in_the_way {
                        true => None,
                        false => self.place_below(at, &name)?,
                    };
                    // Not even `..` leads out of nothing.
                    if below.is_none() {
                        return Ok(Resolved::Nowhere);
                    }
                    At { own: None, below }
                }
            };
            walk.enter(name, next)?;
        }
        Ok(Resolved::Place(walk))
    }

    /// Follows a symbolic link; false if that is left to the second pass: the layers below may lead the
    /// path elsewhere, where this link is not on it.
    fn follow(&mut self, walk: &mut PathWalk<At>, target: &[u8]) -> Result<bool> {
        let followed = walk.follow(target, &mut self.steps);
        match followed {
            Err(error) if self.below.is_some() => Err(error),
            Ok(true) => Ok(true),
            _ => {
                self.postpone(|| Error::refused("its parents are a loop of symbolic links"))?;
                Ok(false)
            }
        }
    }

    fn enter(&self, at: At, directory: DirId, name: &[u8]) -> Result<At> {
        let below = match self.tree.directory(directory).is_in_replaced {
            true => None,
            false => self.place_below(at, name)?,
        };
        let own = Some(directory);
        Ok(At { own, below })
    }

    /// The directory that is left below by a name.
    fn place_below(&self, at: At, name: &[u8]) -> Result<Option<PlaceId>> {
        let (Some(below), Some(place)) = (self.below, at.below) else {
            return Ok(None);
        };
        match below.remains(place, name)? {
            Found::Directory(_) => below.place(place, name),
            _ => Ok(None),
        }
    }

    /// The target of the symbolic link that is left below by a name, if it is followed (rule N4).
    fn link_below(&self, at: At, name: &[u8]) -> Result<Option<Rc<[u8]>>> {
        let (Some(below), Some(place)) = (self.below, at.below) else {
            return Ok(None);
        };
        if !self.options.keep_dirlinks || below.remains(place, name)? != Found::Symlink {
            return Ok(None);
        }
        below.read_link(place, name).map(Some)
    }

    /// Adds a directory that has no entry, in the place of whatever has the name.
    pub(super) fn imply(
        &mut self,
        parent: DirId,
        name: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<DirId> {
        self.implied += 1;
        self.limits.check_implied(self.implied, self.entries)?;
        let mut replaces = self.is_in_place_of_left_out(parent, name);
        if self.tree.child(parent, name).is_some() {
            let place = self.tree.path_of(parent, name);
            replaces = self.make_room(parent, &place, actions);
        }
        let directory = self.tree.add_directory(parent, name, replaces);
        if self.below.is_none() && !replaces {
            self.tree.note_possible_link(directory);
        }
        actions.push(Action::MakeDirectory(directory));
        Ok(directory)
    }

    /// Rule N3: over a directory the attributes are replaced and the children stay; anything else
    /// makes way.
    fn directory(
        &mut self,
        parent: DirId,
        place: EntryPath,
        meta: Meta,
        actions: &mut Vec<Action>,
    ) {
        let known = self.tree.child(parent, place.name());
        if let Some(known) = known.and_then(|inode| self.tree.as_directory(inode)) {
            self.tree.describe(known, meta);
            actions.push(Action::Describe(known));
            return;
        }
        let replaces = self.make_room(parent, &place, actions);
        let directory = self.tree.add_directory(parent, place.name(), replaces);
        self.tree.describe(directory, meta);
        actions.push(Action::MakeDirectory(directory));
    }

    fn make(
        &mut self,
        parent: DirId,
        place: EntryPath,
        kind: EntryKind,
        meta: Meta,
        actions: &mut Vec<Action>,
    ) {
        self.make_room(parent, &place, actions);
        let inode = self
            .tree
            .add(parent, place.name(), Inode::new(kind_of(&kind)));
        if let EntryKind::Symlink(target) = &kind {
            self.tree.set_target(inode, target.clone());
        }
        actions.push(Action::Make {
            parent,
            place,
            inode,
            kind,
            meta,
        });
    }

    /// Removes what this layer has at a place; returns whether it had anything, be it left out.
    pub(super) fn make_room(
        &mut self,
        parent: DirId,
        place: &EntryPath,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(inode) = self.tree.child(parent, place.name()) else {
            return self.is_in_place_of_left_out(parent, place.name());
        };
        let directory = self.tree.as_directory(inode);
        let is_full = |directory| self.tree.has_children(directory);
        actions.push(Action::Remove {
            parent,
            place: place.clone(),
            is_full_directory: directory.is_some_and(is_full),
        });
        self.tree.remove(parent, place.name());
        true
    }

    /// In the first pass, a failure that the layers below may explain is left to the second pass.
    pub(super) fn postpone(&mut self, error: impl FnOnce() -> Error) -> Result<()> {
        match self.below {
            Some(_) => Err(error()),
            None => {
                self.is_postponed = true;
                Ok(())
            }
        }
    }
}

impl Unsettled {
    /// Whether the layer must be applied once more, now that the layers below are known: because of a hard
    /// link to one of them, or of a parent that is a symbolic link there. Both are rare.
    ///
    /// Errors: the system's.
    pub fn needs_second_pass<L: Lower>(
        &self,
        below: &Below<L>,
        keep_dirlinks: bool,
    ) -> Result<bool> {
        if self.is_postponed {
            return Ok(true);
        }
        let mut candidates = self.tree.directories_ever();
        if !keep_dirlinks || !candidates.any(|(_, node)| node.may_be_link_below) {
            return Ok(false);
        }
        let places = places(&self.tree, below)?;
        for (_, node) in self.tree.directories_ever() {
            if node.may_be_link_below
                && let Some(parent) = places[node.parent.index()]
                && below.remains(parent, &node.name)? == Found::Symlink
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn kind_of(kind: &EntryKind) -> InodeKind {
    match kind {
        EntryKind::Symlink(_) => InodeKind::Symlink,
        EntryKind::CharDevice(device) => InodeKind::CharDevice(*device),
        EntryKind::BlockDevice(device) => InodeKind::BlockDevice(*device),
        EntryKind::Fifo => InodeKind::Fifo,
        EntryKind::File(shape) => InodeKind::File {
            size: shape.size,
            content: None,
        },
        EntryKind::Directory | EntryKind::HardLink(_) => {
            unreachable!("they have actions of their own")
        }
    }
}
