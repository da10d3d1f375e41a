//! `Pending`: what an unpacked layer still needs the layers below for.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::image::ImageSigns;
use crate::overlay::lower::{Below, Markers};
use crate::path::EntryPath;

use super::created::Created;
use crate::layer::report::Report;
use crate::layer::tree::Tree;

/// A layer whose entries are on disk, and which `settle` will finish.
#[derive(Debug)]
pub struct Pending {
    /// All that it has; none of its directories has its attributes yet.
    pub tree: Tree,
    /// What an inode is like that was just made there.
    pub created: Created,
    /// The deletions that it asks for.
    pub markers: Markers,
    /// Names that the layer did not have when one of its paths led through them: if one of them
    /// is a symbolic link below, the path leads elsewhere (rule N4).
    pub(super) sought: BTreeSet<EntryPath>,
    /// A hard link did not find its target in this layer (rule H2), or a path led in a circle.
    pub(super) postponed: bool,
    /// Whether the layer looks like something else.
    pub signs: ImageSigns,
    /// What was done so far.
    pub report: Report,
}

impl Pending {
    pub(super) fn new(created: Created) -> Pending {
        Pending {
            tree: Tree::of_root(),
            created,
            markers: Markers::default(),
            sought: BTreeSet::new(),
            postponed: false,
            signs: ImageSigns::default(),
            report: Report::default(),
        }
    }

    /// Whether the layer must be unpacked once more, now knowing what is below it: because of a
    /// hard link to a lower layer, or of a parent that is a symbolic link there. Both are rare.
    pub fn needs_second_pass(&self, below: &Below, keep_dirlinks: bool) -> Result<bool> {
        if self.postponed {
            return Ok(true);
        }
        if keep_dirlinks {
            for path in &self.sought {
                if below.symlink(path)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
