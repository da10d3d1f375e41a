//! What a directory of the layer is to hold: deletions first, then entries; and what stands below
//! each.

use std::collections::BTreeMap;
use std::io::Write;

use rustix::fs::Stat;

use crate::error::{Advice, Error, Operation, Result};
use crate::fs::root::{self, Dir};
use crate::layer::marker;
use crate::overlay::inspect::{DirMarks, Inspected, inspect};
use crate::path::{EntryPath, NAME_MAX};

use super::below::LowerState;
use super::walk::Packer;

/// A directory of the layer.
pub struct Directory {
    /// Where it is in the layer.
    pub path: EntryPath,
    /// Its marks, if it is in the upperdir, under the same path.
    pub upper: Option<DirMarks>,
    /// What the directories below show in its place.
    pub below: LowerState,
    /// The directory below whose content shows in it.
    pub base: Option<EntryPath>,
    /// Whether it must say that it is opaque.
    pub opaque: bool,
}

/// Something in a directory.
pub enum Child {
    /// A directory of the upperdir.
    Directory(DirMarks),
    /// Anything else in the upperdir.
    Leaf(Stat),
    /// Something that shows from below, and which the layer has to have: its directory was moved.
    Below,
}

/// Names in one directory, sorted.
pub type Names = Vec<Box<[u8]>>;
/// What is in one directory, by name.
pub type Children = BTreeMap<Box<[u8]>, Child>;

/// What a directory is to hold.
pub struct DirectoryPlan {
    pub deletions: Names,
    pub children: Children,
}

impl Directory {
    /// Whether content from below has to be written, because it lay elsewhere.
    pub fn was_moved(&self) -> bool {
        self.base.is_some() && self.below != LowerState::Merged
    }
}

impl<W: Write> Packer<'_, W> {
    /// The root, which can be neither opaque nor moved (rule O3).
    pub(super) fn root(&self) -> Result<Directory> {
        let marks = DirMarks::read(self.upper.top(), b".", self.options.namespace)
            .map_err(|error| reading(&EntryPath::root(), error))?;
        let is_known = self.lowers.is_some();
        Ok(Directory {
            path: EntryPath::root(),
            upper: Some(DirMarks {
                is_opaque: false,
                redirect: None,
                ..marks
            }),
            below: if is_known {
                LowerState::Merged
            } else {
                LowerState::Unknown
            },
            base: is_known.then(EntryPath::root),
            opaque: false,
        })
    }

    /// A directory in another.
    pub(super) fn subdirectory(
        &self,
        parent: &Directory,
        name: &[u8],
        marks: Option<DirMarks>,
    ) -> Result<Directory> {
        let path = parent.path.join(name)?;
        let base = self.base_of(parent, name, &path, marks.as_ref())?;
        let is_opaque = marks.as_ref().is_some_and(|marks| marks.is_opaque);
        let below = match (parent.below, &self.lowers) {
            (LowerState::Merged | LowerState::Replaced, Some(lowers))
                if lowers.shows_directory(&path)? =>
            {
                match parent.below == LowerState::Merged && base.as_ref() == Some(&path) {
                    true => LowerState::Merged,
                    false => LowerState::Replaced,
                }
            }
            (LowerState::Unknown, _) if !is_opaque => LowerState::Unknown,
            _ => LowerState::Nothing,
        };
        Ok(Directory {
            path,
            upper: marks,
            below,
            base,
            opaque: is_opaque && parent.below == LowerState::Unknown,
        })
    }

    /// The directory below that shows through one in the upperdir: the one of the same name,
    /// unless a rename says otherwise.
    fn base_of(
        &self,
        parent: &Directory,
        name: &[u8],
        path: &EntryPath,
        marks: Option<&DirMarks>,
    ) -> Result<Option<EntryPath>> {
        if marks.is_some_and(|marks| marks.is_opaque) {
            return Ok(None);
        }
        let redirect = marks.and_then(|marks| marks.redirect.as_deref());
        let base = match redirect {
            Some(target) => Some(self.redirected(parent, path, target)?),
            None => parent
                .base
                .as_ref()
                .map(|base| base.join(name))
                .transpose()?,
        };
        let (Some(base), Some(lowers)) = (base, &self.lowers) else {
            return Ok(None);
        };
        match (lowers.shows_directory(&base)?, redirect) {
            (true, _) => Ok(Some(base)),
            (false, None) => Ok(None),
            (false, Some(_)) => Err(Error::refused(format!(
                "it was renamed from {base}, which the directories below do not have"
            ))
            .at_entry(path)
            .hint(Advice::GiveAllLowers)),
        }
    }

    /// Where a redirect leads: from the root, or beside where the directory stood.
    pub(super) fn redirected(
        &self,
        parent: &Directory,
        path: &EntryPath,
        target: &[u8],
    ) -> Result<EntryPath> {
        if self.lowers.is_none() {
            return Err(Error::refused("it was renamed by the mount (redirect)")
                .at_entry(path)
                .hint(Advice::GiveLowersForContent));
        }
        let damaged = || Error::refused("a damaged redirect").at_entry(path);
        if target.first() == Some(&b'/') {
            return EntryPath::parse(target).map_err(|_| damaged());
        }
        let is_name = !target.is_empty() && target.len() <= NAME_MAX && !target.contains(&0);
        if !is_name || target.contains(&b'/') || matches!(target, b"." | b"..") {
            return Err(damaged());
        }
        let base = parent.base.as_ref().ok_or_else(damaged)?;
        base.join(target)
    }

    /// What a directory is to hold.
    pub(super) fn plan(&mut self, directory: &Directory) -> Result<DirectoryPlan> {
        let (mut children, deleted) = self.in_upper(directory)?;
        let mut deletions = Vec::new();
        match &self.lowers {
            None if directory.below == LowerState::Unknown => deletions = deleted,
            Some(lowers) if directory.below == LowerState::Merged => {
                for name in deleted {
                    if lowers.shows(&directory.path.join(&name)?)? {
                        deletions.push(name);
                    }
                }
            }
            Some(lowers) => {
                let base = directory.base.as_ref().filter(|_| directory.was_moved());
                for name in base
                    .map(|base| lowers.names(base))
                    .transpose()?
                    .into_iter()
                    .flatten()
                {
                    // They are sorted.
                    if deleted.binary_search(&name).is_err() {
                        children.entry(name).or_insert(Child::Below);
                    }
                }
                if directory.below == LowerState::Replaced {
                    let names = lowers.names(&directory.path)?.into_iter();
                    deletions.extend(names.filter(|name| !children.contains_key(name)));
                }
            }
            None => {}
        }
        for name in children.keys() {
            refuse_marker(&directory.path, name)?;
        }
        Ok(DirectoryPlan {
            deletions,
            children,
        })
    }

    /// What the upperdir holds, and which names it deletes, sorted.
    fn in_upper(&mut self, directory: &Directory) -> Result<(Children, Names)> {
        let (mut children, mut deleted) = (BTreeMap::new(), Vec::new());
        let Some(marks) = &directory.upper else {
            return Ok((children, deleted));
        };
        let (namespace, mount) = (self.options.namespace, self.mount);
        let fail = |error| reading(&directory.path, error);
        let dir: &Dir = self.upper.dir(&directory.path).map_err(fail)?;
        for name in dir.names().map_err(fail)? {
            // An overlay mount shows what is under it.
            match dir.details(&name) {
                Err(error) if root::is_absent(&error) => continue,
                details => details
                    .map_err(fail)?
                    .check_mount(mount)
                    .map_err(|error| at(&directory.path, &name, error))?,
            }
            let fail = |error| reading_in(&directory.path, &name, error);
            match inspect(dir, marks, &name, namespace).map_err(fail)? {
                Some(Inspected::Whiteout) => deleted.push(name),
                Some(Inspected::Directory) => {
                    let marks = DirMarks::read(dir, &name, namespace).map_err(fail)?;
                    children.insert(name, Child::Directory(marks));
                }
                Some(Inspected::Leaf(stat)) => {
                    children.insert(name, Child::Leaf(stat));
                }
                // Somebody just removed it.
                None => {}
            }
        }
        Ok((children, deleted))
    }
}

fn at(directory: &EntryPath, name: &[u8], error: Error) -> Error {
    match directory.join(name) {
        Ok(path) => error.at_entry(path),
        Err(too_long) => too_long,
    }
}

fn reading_in(directory: &EntryPath, name: &[u8], error: std::io::Error) -> Error {
    match directory.join(name) {
        Ok(path) => reading(&path, error),
        Err(too_long) => too_long,
    }
}

/// A layer would take it for a deletion.
fn refuse_marker(directory: &EntryPath, name: &[u8]) -> Result<()> {
    match name.starts_with(marker::PREFIX) {
        false => Ok(()),
        true => Err(Error::refused(
            "a name that starts with .wh., which means a deletion in a layer",
        )
        .at_entry(directory.join(name)?)
        .hint(Advice::ConvertMarkers)),
    }
}

/// An error of reading the upperdir.
pub fn reading(path: &EntryPath, error: std::io::Error) -> Error {
    Error::io("reading it", error)
        .at_entry(path)
        .during(Operation::ReadTree)
}
