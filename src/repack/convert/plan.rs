//! The deletions and opaque marks for each directory of the new tree, by rules W2 to W4, W8 and O1 to O3.
//!
//! [`crate::layer`] decides the same for the entries of an archive. Here the marks may be in any form, of
//! the same directory, and nothing but they changes.

use crate::error::Result;
use crate::layer::lower::{Found, Lower};
use crate::meta::Time;
use crate::overlay::merged_view::Seen;
use crate::path::EntryPath;

use super::contents::{Contents, Deletion, is_directory};
use super::{Conversion, Converter};

/// A directory, and what its parent implies for it.
pub struct PlannedDirectory {
    pub path: EntryPath,
    /// Whether an opaque parent hides the layers below (rule W4).
    alone: bool,
    /// Whether it replaces a deleted name (rule W2).
    replaces: bool,
}

impl PlannedDirectory {
    pub fn root() -> PlannedDirectory {
        PlannedDirectory {
            path: EntryPath::root(),
            alone: false,
            replaces: false,
        }
    }
}

/// The plan for one directory.
#[derive(Default)]
pub struct DirectoryPlan {
    /// Whether it is opaque, with the time of its mark.
    pub opaque: Option<Time>,
    /// What it deletes, and the times of the deletions.
    pub deletions: Vec<(Box<[u8]>, Time)>,
    /// The directories in it, the last one first.
    pub directories: Vec<PlannedDirectory>,
}

impl Converter<'_> {
    /// Makes the plan for one directory, and reports each change in it.
    pub(super) fn plan(
        &mut self,
        place: &PlannedDirectory,
        contents: &Contents,
    ) -> Result<DirectoryPlan> {
        let path = &place.path;
        let mut plan = DirectoryPlan::default();
        let is_emptied =
            contents.opaque.is_some() || place.replaces || self.deletes_all(place, contents)?;
        let empties_root = is_emptied && path.is_root() && !self.options.to.has_marker_files();
        if empties_root {
            self.delete_all_below(contents, &mut plan)?;
        } else if is_emptied {
            if place.alone || !self.may_show_directory(path)? {
                self.told(Conversion::Needless, path)?;
            } else {
                self.told(Conversion::Opaque, path)?;
                plan.opaque = Some(contents.opaque.unwrap_or_default());
            }
        }
        for name in &contents.bookkeeping {
            self.told(Conversion::Needless, &path.join(name)?)?;
        }
        let is_hidden = place.alone || is_emptied;
        for (name, deletion) in &contents.deletions {
            if empties_root && self.may_show(&path.join(name)?)? {
                // It is deleted, or replaced, with all others.
                continue;
            }
            self.deletion(path, name, deletion, contents, is_hidden, &mut plan)?;
        }
        for (name, _) in contents
            .names
            .iter()
            .rev()
            .filter(|(_, stat)| is_directory(stat))
        {
            let path = path.join(name)?;
            let replaces = contents.deletions.contains_key(name)
                || (empties_root && self.may_show_directory(&path)?);
            plan.directories.push(PlannedDirectory {
                path,
                alone: is_hidden && !empties_root,
                replaces,
            });
        }
        Ok(plan)
    }

    /// Rule W8: whether nothing that is below remains visible in a directory, so that the form of xattr
    /// whiteouts, which the kernel could never remove with the directory, wants it opaque instead.
    fn deletes_all(&self, place: &PlannedDirectory, contents: &Contents) -> Result<bool> {
        let Some(view) = self
            .parents
            .filter(|_| self.options.to.has_xattr_whiteouts())
        else {
            return Ok(false);
        };
        let Some(directory) = view.directory(&place.path)? else {
            return Ok(false);
        };
        let mut deletes = false;
        for name in view.names(directory)? {
            let is_deleted = contents.deletions.contains_key(&name);
            match contents.names.get(&name) {
                None if is_deleted => deletes = true,
                Some(stat) if is_deleted || !is_directory(stat) => {}
                None => return Ok(false),
                Some(_) => match view.directory(&place.path.join(&name)?)? {
                    Some(child) if !view.names(child)?.is_empty() => return Ok(false),
                    _ => {}
                },
            }
        }
        Ok(deletes && !place.alone && !place.path.is_root())
    }

    fn deletion(
        &mut self,
        path: &EntryPath,
        name: &[u8],
        deletion: &Deletion,
        contents: &Contents,
        is_hidden: bool,
        plan: &mut DirectoryPlan,
    ) -> Result<()> {
        let target = path.join(name)?;
        match contents.names.get(name) {
            // Rule W2: what is new stands, alone, of which its own turn will tell.
            Some(stat) if is_directory(stat) => return Ok(()),
            None if !is_hidden && self.may_show(&target)? => {}
            _ => return self.told(Conversion::Needless, &target),
        }
        if !(deletion.is_marker && self.options.to.has_marker_files()) {
            self.told(Conversion::Deletion, &target)?;
        }
        plan.deletions.push((name.into(), deletion.time));
        Ok(())
    }

    /// Rule O3: the kernel ignores the mark on the root, so each name below is deleted, and what
    /// stands in the place of a directory is opaque itself.
    fn delete_all_below(&mut self, contents: &Contents, plan: &mut DirectoryPlan) -> Result<()> {
        let root = EntryPath::root();
        let names = match &self.parents {
            Some(view) => match view.root() {
                Found::Directory(root) => view.names(root)?,
                _ => Vec::new(),
            },
            None => return Ok(()),
        };
        let time = contents.opaque.unwrap_or_default();
        for name in names {
            if !contents.names.contains_key(&name) {
                self.told(Conversion::Deletion, &root.join(&name)?)?;
                plan.deletions.push((name, time));
            }
        }
        Ok(())
    }

    /// Whether the layers below show, or may show, something at a path (rule W3).
    fn may_show(&self, path: &EntryPath) -> Result<bool> {
        match &self.parents {
            Some(view) => Ok(!matches!(view.see_path(path)?.1, Seen::Absent)),
            None => Ok(true),
        }
    }

    fn may_show_directory(&self, path: &EntryPath) -> Result<bool> {
        match &self.parents {
            Some(view) => Ok(view.directory(path)?.is_some()),
            None => Ok(true),
        }
    }
}
