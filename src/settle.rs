//! Finishing a layer against the layers below it: its deletions, its opaque directories, the
//! attributes of all its directories (rules W2 to W5, W7, O1 to O3, I1, I2, M1).
//!
//! [`crate::pipeline`] calls it, bottom to top, once the layer's entries are on disk and the
//! layers below are settled. It adds whiteouts, implied directories and marks; it never touches a
//! file of the layer.
//!
//! The order: first the directories that a mark needs, then the whiteouts, then every directory's
//! attributes from the bottom up, because whatever is added to a directory changes its time.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use crate::dialect::{self, Whiteout};
use crate::error::{Error, Result};
use crate::lower::Below;
use crate::meta::{Device, Meta, Time, Xattr};
use crate::path::EntryPath;
use crate::root::{Dir, Root};
use crate::unpack::{
    Created, DirId, Fresh, Inode, Kind, NewInode, Options, Pending, Report, Tree, Warning, apply,
    system,
};

/// Finishes the layer in `directory`, and says what was done to it altogether, and what it holds.
///
/// Errors: an opaque root over unknown layers, which has no form that is right over any of them
/// (rule O3), and the system's.
pub fn settle(
    directory: Dir,
    pending: Pending,
    below: &Below,
    options: &Options,
) -> Result<(Report, Tree)> {
    let mut settler = Settler {
        root: Root::new(directory),
        tree: pending.tree,
        created: pending.created,
        report: pending.report,
        whiteouts_in: BTreeSet::new(),
        below,
        options,
    };
    settler.imply_directories_of_marks()?;
    let opaque = settler.opaque_directories()?;
    settler.write_whiteouts(&opaque)?;
    settler.finish_directories(&opaque)?;
    Ok((settler.report, settler.tree))
}

struct Settler<'a> {
    root: Root,
    tree: Tree,
    created: Created,
    report: Report,
    /// Directories that hold a whiteout.
    whiteouts_in: BTreeSet<EntryPath>,
    below: &'a Below,
    options: &'a Options,
}

impl Settler<'_> {
    /// Makes the directories that whiteouts and opaque marks are to be written into.
    fn imply_directories_of_marks(&mut self) -> Result<()> {
        let below = self.below;
        for path in below.made() {
            self.imply(path)?;
        }
        // Whiteouts come directory by directory.
        let mut last = None;
        for (path, _) in below.deleted() {
            let parent = path.parent().expect("a whiteout has a name");
            if last.as_ref() != Some(&parent)
                && below.may_show(path)?
                && self.tree.find(path).is_none()
            {
                self.imply(&parent)?;
                last = Some(parent);
            }
        }
        for (path, _) in below.emptied() {
            if below.may_show(path)? && !below.is_deleted(path) {
                self.imply(path)?;
            }
        }
        Ok(())
    }

    /// Makes a directory that the layers below show, or that a marker implies, unless this layer
    /// hides that place anyway (rules W4, W5).
    fn imply(&mut self, path: &EntryPath) -> Result<()> {
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
                return Ok(());
            }
            if directory.is_none() {
                missing.push(above);
            }
        }
        while let Some(directory) = missing.pop() {
            let (parent, name) = directory.split().expect("the root is always there");
            self.root
                .dir(&parent)
                .and_then(|parent| parent.make_dir(name))
                .map_err(|error| system("making it", error).at_entry(&directory))?;
            let parent = self.directory(&parent);
            self.tree.add_directory(parent, directory, None, false);
        }
        Ok(())
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

    fn write_whiteouts(&mut self, opaque: &BTreeSet<EntryPath>) -> Result<()> {
        let below = self.below;
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
            last = Some((parent.clone(), hidden));
            // Where the directory was not made, something of this layer hides the name.
            if !hidden && self.tree.has_directory(&parent) && below.may_show(path)? {
                self.write_whiteout(path, time)?;
            }
        }
        match below.emptied_at(&EntryPath::root()) {
            Some(time) => self.empty_root(time),
            None => Ok(()),
        }
    }

    /// Rule O3: one deletion for each name that the layers below show in the root.
    fn empty_root(&mut self, time: Time) -> Result<()> {
        let root = EntryPath::root();
        let Some(view) = self.below.view() else {
            let why = "the root is opaque, which overlayfs ignores on the root of a layer";
            return Err(Error::refused(why).hint(
                "give each layer below with --parent, or say with --base that there is none",
            ));
        };
        for name in view.names(&root)? {
            self.write_whiteout(&root.join(&name)?, time)?;
        }
        Ok(())
    }

    /// Writes a deletion, unless this layer has something by that name: that hides it anyway.
    fn write_whiteout(&mut self, path: &EntryPath, time: Time) -> Result<()> {
        if self.tree.find(path).is_some() {
            return Ok(());
        }
        let (parent, name) = path.split().expect("a whiteout has a name");
        let meta = self.whiteout_meta(time);
        let write = |error| system("writing a whiteout", error).at_entry(path);
        let fresh = self.fresh();
        let directory = self.root.dir(&parent).map_err(write)?;
        let kind = match self.options.dialect.whiteout {
            Whiteout::Device => {
                let (kind, device) = (FileType::CharacterDevice, Device::WHITEOUT);
                directory.make_node(name, kind, device).map_err(write)?;
                Kind::CharDevice(device)
            }
            Whiteout::Xattr => {
                directory.make_file(name).map_err(write)?;
                let (size, content) = (0, None);
                Kind::File { size, content }
            }
        };
        let inode = Inode::Named(directory, name, kind.file_type());
        apply(&inode, &meta, path, self.options, fresh, &mut self.report)?;
        let inode = NewInode::new(kind);
        let inode = self.created.describe(inode, &meta, self.options);
        self.tree.add(self.directory(&parent), name, inode);
        self.whiteouts_in.insert(parent);
        self.report.deletions += 1;
        Ok(())
    }

    /// A directory that is there.
    fn directory(&self, path: &EntryPath) -> DirId {
        let found = self.tree.find_directory(path);
        found.expect("only what is in a directory of the layer is added to it")
    }

    /// What anything has that was made in the layer's directory.
    fn fresh(&self) -> Fresh {
        let (owner, mode) = (Some(self.created.owner), None);
        Fresh { owner, mode }
    }

    /// Rule W7: the same on every run.
    fn whiteout_meta(&self, mtime: Time) -> Meta {
        let mark = Xattr {
            name: self.options.dialect.whiteout_xattr().as_bytes().into(),
            value: Box::default(),
        };
        // Without root, a `user.*` xattr can be read only where the file can.
        let (mode, xattrs) = match self.options.dialect.whiteout {
            Whiteout::Device => (0, Vec::new()),
            Whiteout::Xattr => (0o400, vec![mark]),
        };
        Meta {
            mode,
            mtime,
            xattrs,
            ..Meta::default()
        }
    }

    /// Gives every directory its attributes, children before parents (rule M1).
    fn finish_directories(&mut self, opaque: &BTreeSet<EntryPath>) -> Result<()> {
        for id in self.tree.directories().into_iter().rev() {
            let path = self.tree.directory(id).path.clone();
            let mut meta = match self.tree.take_meta(id) {
                Some(meta) => meta,
                None => self.implied_meta(&path)?,
            };
            // Rule X3: last, so that nothing which the entry brings can stand for them.
            meta.xattrs.extend(self.marks(&path, opaque));
            // The layer's own directory may have its group from the one around it.
            let fresh = match path.is_root() {
                true => Fresh::default(),
                false => self.fresh(),
            };
            let directory = self
                .root
                .dir(&path)
                .map_err(|error| system("opening it", error).at_entry(&path))?;
            let inode = Inode::Open(directory.as_fd());
            let report = &mut self.report;
            apply(&inode, &meta, &path, self.options, fresh, report)?;
            let inode = self.tree.inode_of(id);
            let (created, options) = (self.created, self.options);
            let inode = self.tree.inode_mut(inode);
            created.complete(inode, &meta, options);
            // With --owners=caller it has those that the directory around it gave to it.
            inode.must_be_read |= path.is_root();
        }
        Ok(())
    }

    /// Rule I1, else I2.
    fn implied_meta(&mut self, path: &EntryPath) -> Result<Meta> {
        if self.below.is_unknown() {
            self.report.warn(Warning::ParentNotKnown, path);
        }
        let inherited = match self.tree.hides_below(path) {
            true => None,
            false => self.below.directory_meta(path)?,
        };
        Ok(inherited.unwrap_or_else(Meta::of_implied_directory))
    }

    /// The xattrs that overlayfs is to obey on a directory.
    fn marks(&mut self, path: &EntryPath, opaque: &BTreeSet<EntryPath>) -> Vec<Xattr> {
        let dialect = self.options.dialect;
        let holds_whiteouts = self.whiteouts_in.contains(path);
        let mark = |name: &str, value: &[u8]| Xattr {
            name: name.as_bytes().into(),
            value: value.into(),
        };
        let mut marks = Vec::new();
        if opaque.contains(path) {
            marks.push(mark(dialect.opaque_xattr(), dialect::OPAQUE));
            self.report.opaque += 1;
        } else if holds_whiteouts && dialect.whiteout == Whiteout::Xattr {
            let holds = dialect::HOLDS_XATTR_WHITEOUTS;
            marks.push(mark(dialect.opaque_xattr(), holds));
        }
        // Rule W3: nobody knows whether the names are visible below.
        if holds_whiteouts && self.below.is_unknown() {
            marks.push(mark(dialect.origin_xattr(), b""));
        }
        marks
    }
}
