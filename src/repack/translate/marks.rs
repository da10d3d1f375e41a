//! The marks of a layer as entries of an archive, where nothing is known of the layers below:
//! opaque directories, deletions, and the directories that hold them. [`Plan`] decides which.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use crate::dialect::{Dialect, Marks, Whiteout};
use crate::error::{Advice, Error, Result};
use crate::layer::apply::Unsettled;
use crate::layer::below::{Below, Markers};
use crate::layer::lower::Unknown;
use crate::layer::options::Options;
use crate::layer::plan::Plan;
use crate::layer::tree::DirId;
use crate::layer::xattrs;
use crate::limits::Limits;
use crate::meta::{Device, Meta, Time};
use crate::path::EntryPath;
use crate::tar::archive::EntryKind;

use super::{Output, empty_file};

/// A directory that comes once more, with its marks and the deletions in it.
pub struct Marked {
    path: EntryPath,
    meta: Meta,
    is_opaque: bool,
    deletions: Vec<(EntryPath, Time)>,
}

/// All of them, parents first.
pub fn of(
    mut layer: Unsettled,
    markers: &Markers,
    options: &Options,
    limits: &Limits,
) -> Result<Vec<Marked>> {
    let below = Below::new(Unknown, markers, false)?;
    if below.emptied_at(Below::<Unknown>::ROOT).is_some() {
        let why = "the root is opaque, which overlayfs ignores on the root of a layer";
        return Err(Error::refused(why).hint(Advice::DeleteBelow));
    }
    let plan = Plan::new(&mut layer, &below, options, limits)?;
    let tree = &layer.tree;
    let mut deletions: HashMap<DirId, Vec<(EntryPath, Time)>> = HashMap::new();
    for deletion in &plan.deletions {
        let path = tree.path_of(deletion.directory, &deletion.name);
        let of_directory = deletions.entry(deletion.directory).or_default();
        of_directory.push((path, deletion.time));
    }
    // What is added to a directory changes its time.
    let above = |&id| tree.directory(id).parent;
    let mut touched: HashSet<DirId> = plan.implied.iter().map(above).collect();
    touched.extend(deletions.keys().chain(&plan.opaque));
    let mut marked = Vec::new();
    for id in tree.directories() {
        // Of an implied one the archive says nothing (rule I2), and a reader would make something up.
        if tree.directory(id).is_described && !touched.contains(&id) {
            continue;
        }
        let mut meta = match tree.meta(id) {
            Some(meta) => meta,
            None => plan.implied_meta(id, tree, &below, options)?,
        };
        xattrs::escape(&mut meta, options.dialect);
        marked.push(Marked {
            path: tree.path(id),
            meta,
            is_opaque: plan.opaque.contains(&id),
            deletions: deletions.remove(&id).unwrap_or_default(),
        });
    }
    // Neighbours come one after another.
    marked.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(marked)
}

impl Marked {
    /// Writes the directory and the deletions in it.
    pub fn write<W: Write>(mut self, out: &mut Output<W>, dialect: Dialect) -> Result<()> {
        let marks = Marks {
            is_opaque: self.is_opaque,
            holds_whiteouts: !self.deletions.is_empty(),
            is_over_unknown: true,
        };
        self.meta.xattrs.extend(dialect.marks(marks));
        out.report.opaque += u64::from(self.is_opaque);
        out.entry(self.path, EntryKind::Directory, self.meta)?;
        for (path, time) in self.deletions {
            let kind = match dialect.whiteout {
                Whiteout::Device => EntryKind::CharDevice(Device::WHITEOUT),
                Whiteout::Xattr => empty_file(),
            };
            out.entry(path, kind, dialect.whiteout_meta(time))?;
            out.report.deletions += 1;
        }
        Ok(())
    }
}
