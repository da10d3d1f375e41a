//! Finishing a layer against the layers below it: its deletions, its opaque directories, the
//! attributes of all its directories (rules W2 to W5, W7, W8, O1 to O3, I1, I2, M1).
//!
//! [`crate::store::pipeline`] calls it, bottom to top, once the layer's entries are on disk and the
//! layers below are settled. It adds whiteouts, implied directories and marks; it never touches a
//! file of the layer.
//!
//! The order: first the directories that a mark needs, then the whiteouts, then every directory's
//! attributes from the bottom up, because whatever is added to a directory changes its time.

mod plan;

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use crate::error::{Error, Operation, Result};
use crate::fs::root::{Dir, Root};
use crate::meta::{Device, Meta, Time};
use crate::overlay::dialect::{Marks, Whiteout};
use crate::overlay::lower::Below;
use crate::path::EntryPath;
use crate::unpack::{
    Created, DirId, Fresh, Inode, Kind, NewInode, Options, Pending, Report, Tree, Warning, apply,
    system,
};

pub use plan::Plan;

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
    let mut plan = Plan::new(&mut settler.tree, below)?;
    if options.dialect.whiteout == Whiteout::Xattr {
        plan.empty_by_opaque_marks(&settler.tree, below)?;
    }
    settler.make_directories(&plan.implied)?;
    for (path, time) in &plan.deletions {
        settler.write_whiteout(path, *time)?;
    }
    settler.finish_directories(&plan.opaque)?;
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
    /// Makes the directories that the marks need.
    fn make_directories(&mut self, implied: &[DirId]) -> Result<()> {
        for &id in implied {
            let path = &self.tree.directory(id).path;
            let (parent, name) = path.split().expect("the root is always there");
            self.root
                .dir(&parent)
                .and_then(|parent| parent.make_dir(name))
                .map_err(|error| system("making it", error).at_entry(path))?;
        }
        Ok(())
    }

    fn write_whiteout(&mut self, path: &EntryPath, time: Time) -> Result<()> {
        let (parent, name) = path.split().expect("a whiteout has a name");
        let meta = self.options.whiteout_meta(time);
        let meta = meta.map_err(|error| error.at_entry(path))?;
        let write = |error| {
            let error = Error::system("writing a whiteout", error);
            error.during(Operation::Whiteout).at_entry(path)
        };
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

    /// Gives every directory its attributes, children before parents (rule M1).
    fn finish_directories(&mut self, opaque: &BTreeSet<EntryPath>) -> Result<()> {
        for id in self.tree.directories().into_iter().rev() {
            let path = self.tree.directory(id).path.clone();
            let mut meta = match self.tree.take_meta(id) {
                Some(meta) => meta,
                None => self.implied_meta(&path)?,
            };
            let marks = Marks {
                is_opaque: opaque.contains(&path),
                holds_whiteouts: self.whiteouts_in.contains(&path),
                is_over_unknown: self.below.is_unknown(),
            };
            // Rule X3: last, so that nothing which the entry brings can stand for them.
            meta.xattrs.extend(self.options.dialect.marks(marks));
            self.report.opaque += u64::from(marks.is_opaque);
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
        match inherited {
            Some(meta) => Ok(meta),
            None => self
                .options
                .implied_meta()
                .map_err(|error| error.at_entry(path)),
        }
    }
}
