//! The marks of a layer as entries of an archive, where nothing is known of the layers below:
//! opaque directories, deletions, and the directories that hold them. [`Plan`] decides which.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use crate::error::{Error, Result};
use crate::meta::{Device, Meta, Time};
use crate::overlay::dialect::{Dialect, Marks, Whiteout};
use crate::overlay::lower::{Below, Markers};
use crate::path::EntryPath;
use crate::tar::archive::EntryKind;
use crate::unpack::Tree;
use crate::unpack::settle::Plan;

use super::{Output, empty_file};

/// A directory that comes once more, with its marks and the deletions in it.
pub struct Marked {
    path: EntryPath,
    meta: Meta,
    is_opaque: bool,
    deletions: Vec<(EntryPath, Time)>,
}

/// All of them, parents first.
pub fn of(tree: &mut Tree, markers: &Markers) -> Result<Vec<Marked>> {
    let below = Below::new(None, markers, false)?;
    if below.emptied_at(&EntryPath::root()).is_some() {
        let why = "the root is opaque, which overlayfs ignores on the root of a layer";
        return Err(Error::refused(why)
            .hint("`lowerdir unpack-layer` with --parent deletes what the layers below have"));
    }
    let plan = Plan::new(tree, &below)?;
    let mut deletions: BTreeMap<EntryPath, Vec<(EntryPath, Time)>> = BTreeMap::new();
    for (path, time) in plan.deletions {
        let parent = path.parent().expect("a whiteout has a name");
        deletions.entry(parent).or_default().push((path, time));
    }
    // What is added to a directory changes its time.
    let added = plan.implied.iter().map(|&id| &tree.directory(id).path);
    let mut touched: BTreeSet<EntryPath> = added.filter_map(EntryPath::parent).collect();
    touched.extend(deletions.keys().chain(&plan.opaque).cloned());
    let mut marked = Vec::new();
    for id in tree.directories() {
        let path = tree.directory(id).path.clone();
        // Of an implied one the archive says nothing (rule I2), and a reader would make something up.
        if tree.directory(id).is_described && !touched.contains(&path) {
            continue;
        }
        let meta = tree.take_meta(id);
        marked.push(Marked {
            meta: meta.unwrap_or_else(Meta::of_implied_directory),
            is_opaque: plan.opaque.contains(&path),
            deletions: deletions.remove(&path).unwrap_or_default(),
            path,
        });
    }
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
