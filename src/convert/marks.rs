//! The marks of a tree, directory by directory, from the top down: what is written is the new form,
//! and then the old one goes.

use std::collections::BTreeSet;
use std::io;

use crate::dialect::{self, Dialect, Whiteout};
use crate::error::Result;
use crate::lower::Found;
use crate::meta::Time;
use crate::path::EntryPath;
use crate::root::Dir;
use crate::whiteout;

use super::contents::{Contents, Deletion};
use super::form::{FUSE_OPAQUE, Form};
use super::walk::{changing, is_directory, xattrs};
use super::{Change, Converter, make};

/// A directory, and whether what is above it hides all that is below it (rule W4).
struct Place {
    path: EntryPath,
    alone: bool,
}

impl Converter<'_> {
    pub(super) fn rewrite_marks(&mut self) -> Result<()> {
        let path = EntryPath::root();
        let mut todo = vec![Place { path, alone: false }];
        while let Some(place) = todo.pop() {
            let directory = self
                .top
                .open_beneath(&place.path)
                .map_err(|error| changing(&place.path, error))?;
            todo.extend(self.directory(&place, &directory)?);
            if !self.options.dry_run {
                self.journal
                    .restore_time(&directory)
                    .map_err(|error| changing(&place.path, error))?;
            }
        }
        Ok(())
    }

    /// Rewrites the marks of one directory, and returns those in it, the last one first.
    fn directory(&mut self, place: &Place, directory: &Dir) -> Result<Vec<Place>> {
        let path = &place.path;
        let contents = self
            .contents(path, directory)
            .map_err(|error| changing(path, error))?;
        let mut emptied = BTreeSet::new();
        let is_hidden = place.alone || contents.opaque;
        for name in &contents.bookkeeping {
            self.drop_name(directory, path, name)?;
        }
        // The new mark comes before any that it makes needless goes.
        self.opaque(place, directory, &contents)?;
        for (name, deletion) in &contents.deletions {
            let target = path.join(name)?;
            match contents.names.get(name) {
                Some(stat) if is_directory(stat) => {
                    // Rule W2: what is new stands, alone.
                    emptied.insert(name);
                    self.empty(directory, name, &target, is_hidden)?;
                    // In an image that is how it is said.
                    if self.options.to != Form::Oci {
                        self.remove_marker(directory, &target, name, deletion)?;
                    }
                }
                Some(_) => self.needless(directory, &target, name, deletion)?,
                None if is_hidden || !self.may_show(&target)? => {
                    self.needless(directory, &target, name, deletion)?;
                }
                None => self.delete(directory, path, name, deletion, contents.opaque)?,
            }
        }
        self.remove_old_marks(directory, path, &contents)?;
        let subdirectories = contents.names.iter().rev();
        let subdirectories = subdirectories.filter(|(_, stat)| is_directory(stat));
        subdirectories
            .map(|(name, _)| {
                Ok(Place {
                    path: path.join(name)?,
                    alone: is_hidden || emptied.contains(name),
                })
            })
            .collect()
    }

    /// Whether the layers below show, or may show, something at a path (rule W3).
    fn may_show(&self, path: &EntryPath) -> Result<bool> {
        match &self.parents {
            Some(view) => Ok(!matches!(*view.lookup(path)?, Found::Absent)),
            None => Ok(true),
        }
    }

    fn may_show_directory(&self, path: &EntryPath) -> Result<bool> {
        match &self.parents {
            Some(view) => Ok(matches!(*view.lookup(path)?, Found::Directory(_))),
            None => Ok(true),
        }
    }

    /// Rules O1 to O3, for a directory that is marked.
    fn opaque(&mut self, place: &Place, directory: &Dir, contents: &Contents) -> Result<()> {
        let path = &place.path;
        if !contents.opaque {
            return Ok(());
        }
        if path.is_root() && !self.options.to.has_marker_files() {
            return self.empty_root(directory, contents);
        }
        if place.alone || !self.may_show_directory(path)? {
            return self.told(Change::Needless, path);
        }
        self.told(Change::Opaque, path)?;
        self.mark_opaque(directory)
            .map_err(|error| changing(path, error))
    }

    /// Rule O3: the kernel ignores the mark there, so each name below is deleted.
    fn empty_root(&mut self, directory: &Dir, contents: &Contents) -> Result<()> {
        let (root, time) = (EntryPath::root(), contents.opaque_file.unwrap_or_default());
        let names = match &self.parents {
            Some(view) => view.names(&root)?,
            None => return Ok(()),
        };
        for name in names
            .iter()
            .filter(|name| !contents.names.contains_key(*name))
        {
            let known = contents.deletions.get(name);
            let deletion = Deletion {
                marker: None,
                node: known.and_then(|known| known.node),
                time,
            };
            self.delete(directory, &root, name, &deletion, false)?;
        }
        Ok(())
    }

    /// Rule W2: a directory that stands in the place of a deleted name.
    fn empty(
        &mut self,
        parent: &Dir,
        name: &[u8],
        path: &EntryPath,
        is_hidden: bool,
    ) -> Result<()> {
        if is_hidden || !self.may_show_directory(path)? {
            return self.told(Change::Needless, path);
        }
        if self.options.to == Form::Oci {
            return Ok(());
        }
        self.told(Change::Opaque, path)?;
        let name = EntryPath::root().join(name)?;
        parent
            .open_beneath(&name)
            .and_then(|directory| self.mark_opaque(&directory))
            .map_err(|error| changing(path, error))
    }

    fn mark_opaque(&self, directory: &Dir) -> io::Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        if let Form::Overlay(dialect) = self.options.to {
            let name = dialect.opaque_xattr().as_bytes();
            return directory.set_xattr(b".", name, dialect::OPAQUE);
        }
        if directory.stat(whiteout::OPAQUE)?.is_none() {
            self.journal.keep_time(directory)?;
            make::marker(directory, whiteout::OPAQUE, Time::default())?;
        }
        match self.options.to {
            Form::FuseOverlayfs => directory.set_xattr(b".", FUSE_OPAQUE, dialect::OPAQUE),
            _ => Ok(()),
        }
    }

    /// Writes a deletion in its new form, and removes the old one.
    fn delete(
        &mut self,
        directory: &Dir,
        path: &EntryPath,
        name: &[u8],
        deletion: &Deletion,
        is_opaque: bool,
    ) -> Result<()> {
        let target = path.join(name)?;
        let fail = |error| changing(&target, error);
        let Some(dialect) = self.options.to.dialect() else {
            if deletion.node.is_none() {
                return Ok(());
            }
            self.told(Change::Deletion, &target)?;
            if self.options.dry_run {
                return Ok(());
            }
            let marker = [whiteout::PREFIX, name].concat();
            self.journal.keep_time(directory).map_err(fail)?;
            make::marker(directory, &marker, deletion.time).map_err(fail)?;
            return directory.remove_file(name).map_err(fail);
        };
        self.told(Change::Deletion, &target)?;
        if self.options.dry_run {
            return Ok(());
        }
        self.hold_whiteouts(directory, dialect, is_opaque, deletion.node.is_none())
            .map_err(fail)?;
        self.journal.keep_time(directory).map_err(fail)?;
        let is_there = deletion.node == Some(Whiteout::Device);
        if !is_there || dialect.whiteout != Whiteout::Device {
            make::node(directory, name, dialect, deletion.time).map_err(fail)?;
        }
        self.remove_marker_file(directory, name, deletion)
            .map_err(fail)
    }

    /// What a directory needs for its whiteouts to count, and to be hidden (rule W3).
    fn hold_whiteouts(
        &self,
        directory: &Dir,
        dialect: Dialect,
        is_opaque: bool,
        is_new: bool,
    ) -> io::Result<()> {
        if dialect.whiteout == Whiteout::Xattr && !is_opaque {
            let (name, value) = (dialect.opaque_xattr(), dialect::HOLDS_XATTR_WHITEOUTS);
            directory.set_xattr(b".", name.as_bytes(), value)?;
        }
        let had_origin = match self.options.from.dialect() {
            Some(from) => directory.short_xattr(b".", from.origin_xattr())?,
            None => None,
        };
        let has_mark = had_origin.is_some_and(|value| value.is_empty());
        let from_markers = is_new && self.options.from.has_marker_files();
        match self.parents.is_none() && (from_markers || has_mark) {
            true => directory.set_xattr(b".", dialect.origin_xattr().as_bytes(), b""),
            false => Ok(()),
        }
    }

    /// Removes a deletion that hides nothing.
    fn needless(
        &mut self,
        directory: &Dir,
        target: &EntryPath,
        name: &[u8],
        deletion: &Deletion,
    ) -> Result<()> {
        self.told(Change::Needless, target)?;
        if deletion.node.is_some() {
            self.remove(directory, target, name, false)?;
        }
        self.remove_marker(directory, target, name, deletion)
    }

    fn remove_marker(
        &mut self,
        directory: &Dir,
        target: &EntryPath,
        name: &[u8],
        deletion: &Deletion,
    ) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        self.journal
            .keep_time(directory)
            .and_then(|()| self.remove_marker_file(directory, name, deletion))
            .map_err(|error| changing(target, error))
    }

    fn remove_marker_file(
        &self,
        directory: &Dir,
        name: &[u8],
        deletion: &Deletion,
    ) -> io::Result<()> {
        let marker = [whiteout::PREFIX, name].concat();
        match deletion.marker {
            Some(true) => directory.remove_dir(&marker),
            Some(false) => directory.remove_file(&marker),
            None => Ok(()),
        }
    }

    /// Bookkeeping, and what an earlier run did not finish.
    fn drop_name(&mut self, directory: &Dir, path: &EntryPath, name: &[u8]) -> Result<()> {
        let is_ours = name == make::UNFINISHED;
        if !is_ours && self.options.to.has_marker_files() {
            return Ok(());
        }
        self.remove(directory, &path.join(name)?, name, true)
    }

    fn remove(
        &mut self,
        directory: &Dir,
        target: &EntryPath,
        name: &[u8],
        all: bool,
    ) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        let remove = |directory: &Dir| match all {
            true => directory.remove_tree(name),
            false => directory.remove_file(name),
        };
        self.journal
            .keep_time(directory)
            .and_then(|()| remove(directory))
            .map_err(|error| changing(target, error))
    }

    /// What the old form said of a directory, and of the files in it.
    fn remove_old_marks(
        &self,
        directory: &Dir,
        path: &EntryPath,
        contents: &Contents,
    ) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        let fail = |error| changing(path, error);
        let (from, to) = (self.options.from, self.options.to);
        if contents.opaque_file.is_some() && !to.has_marker_files() {
            self.journal.keep_time(directory).map_err(fail)?;
            directory.remove_file(whiteout::OPAQUE).map_err(fail)?;
        }
        if from == Form::FuseOverlayfs {
            directory.remove_xattr(b".", FUSE_OPAQUE).map_err(fail)?;
        }
        let Some(dialect) = from.dialect() else {
            return Ok(());
        };
        if !self.leaves_overlay() {
            return self.unmark_holder(directory, dialect).map_err(fail);
        }
        let own = [Box::from(&b"."[..])];
        let files = contents
            .names
            .iter()
            .filter(|(_, stat)| !is_directory(stat));
        for name in own.iter().chain(files.map(|(name, _)| name)) {
            for xattr in xattrs(directory, name).map_err(fail)? {
                if dialect.is_order(&xattr.name) {
                    directory.remove_xattr(name, &xattr.name).map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    /// From xattr whiteouts to devices in one namespace.
    fn unmark_holder(&self, directory: &Dir, dialect: Dialect) -> io::Result<()> {
        let to = self.options.to.dialect().map(|dialect| dialect.whiteout);
        let value = directory.short_xattr(b".", dialect.opaque_xattr())?;
        let holds = value.as_deref() == Some(dialect::HOLDS_XATTR_WHITEOUTS);
        match holds && to == Some(Whiteout::Device) {
            true => directory.remove_xattr(b".", dialect.opaque_xattr().as_bytes()),
            false => Ok(()),
        }
    }
}
