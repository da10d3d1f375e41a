//! What the markers of a layer come to, when nothing is known of the layers below: opaque
//! directories, deletions, and the directories that hold them (rules W2 to W5, O1 to O3). The same
//! as [`crate::settle`] makes of them, where there is no disk to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::dir_tree::{DirNode, DirTree};
use crate::archive::EntryKind;
use crate::dialect::{self, Dialect, Whiteout};
use crate::error::{Error, Result};
use crate::lower::{Below, Markers};
use crate::meta::{Device, Meta, Time, Xattr};
use crate::path::EntryPath;

use super::{Output, empty_file, marker_meta};

/// A directory that comes once more, with its marks and the deletions in it.
pub struct Marked {
    path: EntryPath,
    meta: Meta,
    opaque: bool,
    deletions: Vec<(EntryPath, Time)>,
}

/// All of them, parents first.
pub fn of(
    tree: &mut DirTree,
    is_leaf: impl Fn(&EntryPath) -> bool,
    markers: &Markers,
) -> Result<Vec<Marked>> {
    let below = Below::new(None, markers, false)?;
    if below.emptied_at(&EntryPath::root()).is_some() {
        let why = "the root is opaque, which overlayfs ignores on the root of a layer";
        return Err(Error::refused(why)
            .hint("`lowerdir unpack-layer` with --parent deletes what the layers below have"));
    }
    let is_here = |tree: &DirTree, path: &EntryPath| tree.contains(path) || is_leaf(path);
    let mut touched = BTreeSet::new();
    for (path, _) in below.deleted() {
        if !is_here(tree, path) {
            let parent = path.parent().expect("a whiteout has a name");
            imply(tree, &is_leaf, &below, &parent, &mut touched);
        }
    }
    for (path, _) in below.emptied() {
        if !below.is_deleted(path) {
            imply(tree, &is_leaf, &below, path, &mut touched);
        }
    }
    let opaque = opaque_directories(tree, &below);
    let mut deletions: BTreeMap<EntryPath, Vec<(EntryPath, Time)>> = BTreeMap::new();
    for (path, time) in below.deleted() {
        let parent = path.parent().expect("a whiteout has a name");
        let is_hidden = opaque.contains(&parent)
            || parent.ancestors().any(|above| opaque.contains(&above))
            || below.is_gone(&parent)
            || below.emptied_at(&parent).is_some()
            || tree.hides_below(&parent);
        if !is_hidden && tree.contains(&parent) && !is_here(tree, path) {
            let deletion = (path.clone(), time);
            deletions.entry(parent).or_default().push(deletion);
        }
    }
    // The archive says nothing of them (rule I2), and a reader would make something up.
    let implied = tree.iter().filter(|(_, node)| node.meta.is_none());
    touched.extend(implied.map(|(path, _)| path.clone()));
    touched.extend(deletions.keys().chain(&opaque).cloned());
    let marked = touched.into_iter().map(|path| Marked {
        meta: meta(tree, &path),
        opaque: opaque.contains(&path),
        deletions: deletions.remove(&path).unwrap_or_default(),
        path,
    });
    Ok(marked.collect())
}

/// Adds a directory that a mark needs, unless the layer hides that place anyway; what is added,
/// and what it is added to, is touched.
fn imply(
    tree: &mut DirTree,
    is_leaf: impl Fn(&EntryPath) -> bool,
    below: &Below,
    path: &EntryPath,
    touched: &mut BTreeSet<EntryPath>,
) {
    let mut missing = Vec::new();
    for above in std::iter::once(path.clone()).chain(path.ancestors()) {
        let is_here = tree.contains(&above);
        let hides = below.is_deleted(&above)
            || (above != *path && below.emptied_at(&above).is_some())
            || (is_here && tree.hides_below(&above))
            || is_leaf(&above);
        if hides {
            return;
        }
        if !is_here {
            missing.push(above);
        }
    }
    for directory in missing.into_iter().rev() {
        touched.extend(directory.parent());
        touched.insert(directory.clone());
        tree.insert(directory, DirNode::default());
    }
}

/// The topmost directories that hide what is below them.
fn opaque_directories(tree: &DirTree, below: &Below) -> BTreeSet<EntryPath> {
    let (mut opaque, mut alone) = (BTreeSet::new(), BTreeSet::new());
    for (path, node) in tree.iter() {
        let Some(parent) = path.parent() else {
            continue;
        };
        let hides = node.replaces || below.is_deleted(path) || below.emptied_at(path).is_some();
        if alone.contains(&parent) {
            alone.insert(path.clone());
        } else if hides {
            opaque.insert(path.clone());
            alone.insert(path.clone());
        }
    }
    opaque
}

fn meta(tree: &DirTree, path: &EntryPath) -> Meta {
    let known = tree.get(path).and_then(|node| node.meta.as_deref());
    known.cloned().unwrap_or_else(Meta::of_implied_directory)
}

impl Marked {
    /// Writes the directory and the deletions in it.
    pub fn write<W: Write>(mut self, out: &mut Output<W>, dialect: Dialect) -> Result<()> {
        let mark = |name: &str, value: &[u8]| Xattr {
            name: name.as_bytes().into(),
            value: value.into(),
        };
        let holds = !self.deletions.is_empty();
        let marks = &mut self.meta.xattrs;
        if self.opaque {
            marks.push(mark(dialect.opaque_xattr(), dialect::OPAQUE));
            out.report.opaque += 1;
        } else if holds && dialect.whiteout == Whiteout::Xattr {
            marks.push(mark(dialect.opaque_xattr(), dialect::HOLDS_XATTR_WHITEOUTS));
        }
        // Rule W3: nobody knows whether the names are visible below.
        if holds {
            marks.push(mark(dialect.origin_xattr(), b""));
        }
        out.entry(self.path, EntryKind::Directory, self.meta)?;
        for (path, time) in self.deletions {
            let mut meta = marker_meta(time);
            let kind = match dialect.whiteout {
                Whiteout::Device => EntryKind::CharDevice(Device::WHITEOUT),
                Whiteout::Xattr => {
                    meta.mode = 0o400;
                    meta.xattrs.push(mark(dialect.whiteout_xattr(), b""));
                    empty_file()
                }
            };
            out.entry(path, kind, meta)?;
            out.report.deletions += 1;
        }
        Ok(())
    }
}
