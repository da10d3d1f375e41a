//! Finishes a layer against the layers below it: its deletions, its opaque directories, and the
//! attributes of all its directories (rules W2 to W5, W7, W8, O1 to O3, I1, I2, M1).
//!
//! [`crate::store::pipeline`] calls it, bottom to top, once the layer's entries are on disk and the
//! layers below are settled. It adds whiteouts, implied directories and marks; it never touches a
//! file of the layer.
//!
//! The order: first the directories that marks need, then the whiteouts, then the attributes of all
//! directories from the bottom up, because adding to a directory changes its time.

use std::collections::HashSet;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use crate::dialect::{Marks, Whiteout};
use crate::error::{Error, Operation, Result};
use crate::fs::root::Dir;
use crate::layer::options::Options;
use crate::layer::plan::{Deletion, Plan};
use crate::layer::report::{Report, Warning};
use crate::layer::tree::{DirId, Inode, InodeKind, Tree};
use crate::layer::xattrs;
use crate::limits::Limits;
use crate::meta::{Device, Meta};
use crate::overlay::merged_view::LayersBelow;

use super::attributes::{Fresh, InodeRef, apply, file_type, system};
use super::created::Created;
use super::layer_dir::LayerDir;
use super::pending::Pending;

/// Finishes the layer in `directory`, and returns the full report and the tree.
///
/// Errors: an opaque root over unknown layers, which has no form that is right over any of them
/// (rule O3); limits; the system's.
pub fn settle(
    directory: Dir,
    mut pending: Pending,
    below: &LayersBelow,
    options: &Options,
    limits: &Limits,
) -> Result<(Report, Tree)> {
    let plan = Plan::new(&mut pending.layer, below, options, limits)?;
    let mut settler = Settler {
        directory: LayerDir::new(directory),
        tree: pending.layer.tree,
        created: pending.created,
        report: pending.report,
        whiteouts_in: HashSet::new(),
        below,
        options,
    };
    settler.make_directories(&plan.implied)?;
    for deletion in &plan.deletions {
        settler.write_whiteout(deletion)?;
    }
    settler.finish_directories(&plan)?;
    Ok((settler.report, settler.tree))
}

struct Settler<'a> {
    directory: LayerDir,
    tree: Tree,
    created: Created,
    report: Report,
    /// Directories that hold a whiteout.
    whiteouts_in: HashSet<DirId>,
    below: &'a LayersBelow,
    options: &'a Options,
}

impl Settler<'_> {
    /// Creates the directories that marks need.
    fn make_directories(&mut self, implied: &[DirId]) -> Result<()> {
        for &id in implied {
            let node = self.tree.directory(id);
            self.directory
                .get(node.parent, &self.tree)
                .and_then(|parent| parent.make_dir(&node.name))
                .map_err(|error| system("creating it", error).at_entry(self.tree.path(id)))?;
        }
        Ok(())
    }

    fn write_whiteout(&mut self, deletion: &Deletion) -> Result<()> {
        let Deletion {
            directory: parent,
            ref name,
            time,
        } = *deletion;
        let path = self.tree.path_of(parent, name);
        let meta = self.options.whiteout_meta(time);
        let meta = meta.map_err(|error| error.at_entry(&path))?;
        let write = |error| {
            let error = Error::system("writing a whiteout", error);
            error.during(Operation::Whiteout).at_entry(&path)
        };
        let directory = self.directory.get(parent, &self.tree).map_err(write)?;
        let kind = match self.options.dialect.whiteout {
            Whiteout::Device => {
                let (kind, device) = (FileType::CharacterDevice, Device::WHITEOUT);
                directory.make_node(name, kind, device).map_err(write)?;
                InodeKind::CharDevice(device)
            }
            Whiteout::Xattr => {
                directory.make_file(name).map_err(write)?;
                let (size, content) = (0, None);
                InodeKind::File { size, content }
            }
        };
        let inode = InodeRef::Named(&directory, name, file_type(kind));
        let (options, fresh) = (self.options, self.fresh());
        apply(&inode, &meta, &path, options, fresh, &mut self.report)?;
        let inode = self.tree.add(parent, name, Inode::new(kind));
        let inode = self.tree.inode_mut(inode);
        self.created.complete(inode, &meta, options);
        self.whiteouts_in.insert(parent);
        self.report.deletions += 1;
        Ok(())
    }

    /// The attributes of new inodes in the layer's directory.
    fn fresh(&self) -> Fresh {
        let (owner, mode) = (Some(self.created.owner), None);
        Fresh { owner, mode }
    }

    /// Gives every directory its attributes, children before parents (rule M1).
    fn finish_directories(&mut self, plan: &Plan) -> Result<()> {
        for id in self.tree.directories().rev() {
            let path = self.tree.path(id);
            self.finish_directory(id, plan)
                .map_err(|error| error.at_entry(path))?;
        }
        Ok(())
    }

    fn finish_directory(&mut self, id: DirId, plan: &Plan) -> Result<()> {
        let (options, path) = (self.options, self.tree.path(id));
        let mut meta = self.directory_meta(id, plan)?;
        let marks = Marks {
            is_opaque: plan.opaque.contains(&id),
            holds_whiteouts: self.whiteouts_in.contains(&id),
            is_over_unknown: self.below.is_unknown(),
        };
        xattrs::escape(&mut meta, options.dialect);
        // Rule X3: last, so that no xattr of the entry can replace them.
        meta.xattrs.extend(options.dialect.marks(marks));
        self.report.opaque += u64::from(marks.is_opaque);
        // The layer directory may have inherited its group.
        let fresh = match path.is_root() {
            true => Fresh::default(),
            false => self.fresh(),
        };
        let directory = self.directory.get(id, &self.tree);
        let directory = directory.map_err(|error| system("opening it", error))?;
        let inode = InodeRef::Open(directory.as_fd());
        apply(&inode, &meta, &path, options, fresh, &mut self.report)?;
        let inode = self.tree.inode_of(id);
        let inode = self.tree.inode_mut(inode);
        self.created.complete(inode, &meta, options);
        // With --owners=caller the layer directory keeps its inherited owner.
        inode.must_be_read |= path.is_root();
        Ok(())
    }

    /// The attributes of its entry, or else those of rules I1 and I2.
    fn directory_meta(&mut self, id: DirId, plan: &Plan) -> Result<Meta> {
        if let Some(meta) = self.tree.take_meta(id) {
            return Ok(meta);
        }
        if self.below.is_unknown() {
            let path = self.tree.path(id);
            self.report.warn(Warning::ParentNotKnown, &path);
        }
        plan.implied_meta(id, &self.tree, self.below, self.options)
    }
}
