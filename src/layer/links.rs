//! Hard links: to what the layer has, to what only the layers below have, to what was left out (rules H1
//! to H3). A part of [`super::apply`]. Pure but for what [`Lower`] does.

use crate::error::{Advice, Error, Result};
use crate::meta::{Meta, Time};
use crate::path::EntryPath;

use super::action::Action;
use super::apply::{At, Layer, Missing, Resolved};
use super::below::Below;
use super::lower::{Found, Lower};
use super::tree::{DirId, Inode, InodeId, InodeKind, Tree};

impl<L: Lower> Layer<'_, L> {
    /// Rules H1 to H3.
    pub(super) fn hard_link(
        &mut self,
        parent: DirId,
        place: EntryPath,
        target: &EntryPath,
        meta: Meta,
        actions: &mut Vec<Action>,
    ) -> Result<()> {
        let (directory, name) = target
            .split()
            .expect("the archive refuses links to the root");
        let walk = match self.resolve(&directory, Missing::Pass, actions)? {
            Resolved::Place(walk) => walk,
            Resolved::Nowhere => return self.find_no_target(target),
            Resolved::Postponed => return Ok(()),
        };
        let (at, source) = (walk.here(), walk.path().join(name)?);
        let own = at.own.and_then(|own| self.tree.child(own, name));
        let is_directory = |inode| self.tree.as_directory(inode).is_some();
        if own.is_some_and(is_directory) {
            return self.postpone(|| hard_link_error("is a directory", target));
        }
        if source.is_below(&place) {
            return self.postpone(|| hard_link_error("is inside what it replaces", target));
        }
        let found = match own {
            Some(inode) => at.own.map(|directory| (directory, inode)),
            None if at.own.is_some_and(|own| self.was_left_out(own, name)) => {
                self.make_room(parent, &place, actions);
                let time = meta.mtime;
                actions.push(Action::LeaveOut {
                    parent,
                    place,
                    time,
                });
                return Ok(());
            }
            None => self.copy_up(at, &source, actions)?,
        };
        match found {
            None => self.find_no_target(target),
            Some(_) if source == place => Ok(()),
            Some((directory, inode)) => {
                let time = Some(meta.mtime);
                self.link(inode, (directory, source), (parent, place), time, actions);
                Ok(())
            }
        }
    }

    fn find_no_target(&mut self, target: &EntryPath) -> Result<()> {
        let is_unknown = self.below.is_some_and(Below::is_unknown);
        self.postpone(|| no_target(target, is_unknown))
    }

    fn link(
        &mut self,
        inode: InodeId,
        source: (DirId, EntryPath),
        (parent, place): (DirId, EntryPath),
        time: Option<Time>,
        actions: &mut Vec<Action>,
    ) {
        self.make_room(parent, &place, actions);
        self.tree.link(parent, place.name(), inode);
        actions.push(Action::Link {
            inode,
            source,
            parent,
            place,
            time,
        });
    }

    /// Rule H2: a file of the layers below becomes one of this layer under every name that it has there,
    /// so that they stay names of one inode. The directory and the inode that it then has; `None` if nothing
    /// is left there that could be linked.
    fn copy_up(
        &mut self,
        at: At,
        source: &EntryPath,
        actions: &mut Vec<Action>,
    ) -> Result<Option<(DirId, InodeId)>> {
        let (Some(below), Some(from)) = (self.below, at.below) else {
            return Ok(None);
        };
        let name = source.name();
        if !matches!(below.remains(from, name)?, Found::Symlink | Found::Other) {
            return Ok(None);
        }
        let leaf = below.lower().leaf(below.directory(from), name)?;
        self.copied = self.copied.saturating_add(leaf.bytes);
        self.limits.check_copied(self.copied)?;
        let parent = self.imply_parents(source, actions)?;
        let inode = self.tree.add(parent, name, Inode::new(leaf.kind));
        if matches!(leaf.kind, InodeKind::Symlink) {
            let target = below.read_link(from, name)?;
            self.tree.set_target(inode, target.as_ref().into());
        }
        actions.push(Action::CopyUp {
            parent,
            place: source.clone(),
            inode,
            from,
            kind: leaf.kind,
            meta: leaf.meta,
        });
        for other in below.names_of_inode(from, name)? {
            if other != *source && self.is_free(&other) {
                let directory = self.imply_parents(&other, actions)?;
                let source = (parent, source.clone());
                self.link(inode, source, (directory, other), None, actions);
            }
        }
        Ok(Some((parent, inode)))
    }

    /// The directory above something that a lower layer has, implied where this layer has none.
    fn imply_parents(&mut self, path: &EntryPath, actions: &mut Vec<Action>) -> Result<DirId> {
        let mut at = Tree::ROOT;
        let parent = path.parent().unwrap_or_default();
        for name in parent.components() {
            let known = self.tree.child(at, name);
            at = match known.and_then(|inode| self.tree.as_directory(inode)) {
                Some(directory) => directory,
                None => self.imply(at, name, actions)?,
            };
        }
        Ok(at)
    }

    /// Whether this layer shows at a path what is below.
    fn is_free(&self, path: &EntryPath) -> bool {
        let mut at = Tree::ROOT;
        for name in path.components() {
            if self.tree.directory(at).is_in_replaced {
                return false;
            }
            match self
                .tree
                .child(at, name)
                .map(|inode| self.tree.as_directory(inode))
            {
                Some(Some(directory)) => at = directory,
                Some(None) => return false,
                None => return !self.was_left_out(at, name),
            }
        }
        false
    }
}

fn hard_link_error(why: &str, target: &EntryPath) -> Error {
    Error::refused(format!("a hard link to {target}, which {why}"))
}

fn no_target(target: &EntryPath, is_unknown: bool) -> Error {
    if is_unknown {
        return hard_link_error("is not earlier in this layer", target).hint(Advice::LinkBelow);
    }
    hard_link_error("is neither earlier in this layer nor below it", target)
}
