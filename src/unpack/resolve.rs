//! Where a path of the archive leads: symbolic links among its parents are followed by us, inside
//! the layer's root, never by the kernel (rule N4).

use crate::error::{Error, Result};
use crate::overlay::lower::Way;
use crate::path::EntryPath;

use super::{Unpacker, system};
use crate::layer::tree::{DirId, Kind};

/// What to do where a parent is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Imply a directory (rule I2).
    Make,
    /// Go on by name: the rest can only be in the layers below.
    Pass,
}

/// What one component of a path is.
enum Step {
    Directory,
    Symlink(Vec<u8>),
    Nothing,
    /// Neither a directory nor a symbolic link.
    InTheWay,
}

/// Neighbours in an archive mostly have one parent. Only one that no symbolic link leads to is
/// kept: what a link means may change with every entry.
pub(super) struct LastParent {
    path: EntryPath,
    directory: DirId,
}

impl Unpacker<'_> {
    /// Where an entry goes: the directory, made where it is missing, and the real path; `None` if
    /// that is left to the second pass.
    pub(super) fn place(&mut self, path: EntryPath) -> Result<Option<(DirId, EntryPath)>> {
        if let Some(last) = &self.last_parent
            && last.path.as_bytes() == path.parent_bytes()
        {
            return Ok(Some((last.directory, path)));
        }
        let parent = path.parent().unwrap_or_default();
        let Some(real) = self.resolve(&parent, Missing::Make)? else {
            return Ok(None);
        };
        let directory = self.pending.tree.find_directory(&real);
        let directory = directory.expect("it was found or made");
        if real != parent {
            return Ok(Some((directory, real.join(path.name())?)));
        }
        let last = LastParent {
            path: parent,
            directory,
        };
        self.last_parent = Some(last);
        Ok(Some((directory, path)))
    }

    /// The real directory that a path means, made where it is missing; `None` if that is left to
    /// the second pass.
    pub(super) fn resolve(
        &mut self,
        path: &EntryPath,
        missing: Missing,
    ) -> Result<Option<EntryPath>> {
        // What is a directory of this layer, is so by each of its components.
        if self.pending.tree.has_directory(path) {
            return Ok(Some(path.clone()));
        }
        let mut way = Way::new(path);
        while let Some(name) = way.next_name() {
            let next = way.at().join(&name)?;
            match self.step(&next)? {
                Step::Symlink(target) => {
                    if !way.follow(&target)? {
                        let error = || Error::refused("its parents are a loop of symbolic links");
                        self.postpone(error)?;
                        return Ok(None);
                    }
                    continue;
                }
                Step::Nothing | Step::InTheWay if missing == Missing::Make => {
                    let parent = self.pending.tree.find_directory(way.at());
                    let parent = parent.expect("each step was found or made");
                    self.make_directory(parent, next.clone(), None)?;
                }
                Step::Directory | Step::Nothing | Step::InTheWay => {}
            }
            way.enter(next);
        }
        Ok(Some(way.end()))
    }

    /// The path that a hard link's target means: its parents are followed, itself is not.
    pub(super) fn resolve_link_target(&mut self, target: &EntryPath) -> Result<Option<EntryPath>> {
        let (parent, name) = target
            .split()
            .expect("the archive refuses links to the root");
        match self.resolve(&parent, Missing::Pass)? {
            Some(parent) => parent.join(name).map(Some),
            None => Ok(None),
        }
    }

    fn step(&mut self, path: &EntryPath) -> Result<Step> {
        let found = self.pending.tree.find(path);
        match found.map(|inode| self.pending.tree.inode(inode).kind) {
            Some(Kind::Directory(_)) => Ok(Step::Directory),
            Some(Kind::Symlink) => self.read_link(path).map(Step::Symlink),
            Some(_) => Ok(Step::InTheWay),
            None => self.step_below(path),
        }
    }

    /// A component that this layer has not.
    fn step_below(&mut self, path: &EntryPath) -> Result<Step> {
        self.pending.sought.insert(path.clone());
        let Some(below) = self.below.filter(|_| self.options.keep_dirlinks) else {
            return Ok(Step::Nothing);
        };
        if self.pending.tree.hides_below(path) {
            return Ok(Step::Nothing);
        }
        Ok(below.symlink(path)?.map_or(Step::Nothing, Step::Symlink))
    }

    fn read_link(&mut self, path: &EntryPath) -> Result<Vec<u8>> {
        let (parent, name) = path.split().expect("the root is no symbolic link");
        self.root
            .dir(&parent)
            .and_then(|directory| directory.read_link(name))
            .map_err(|error| system("reading a symbolic link", error).at_entry(path))
    }
}
