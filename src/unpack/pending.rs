//! `Pending`: a layer that is unpacked and still needs the layers below.

use crate::image::ImageSigns;
use crate::layer::apply::Unsettled;
use crate::layer::below::Markers;
use crate::layer::report::Report;

use super::created::Created;

/// A layer whose entries are on disk, and which `settle` will finish.
#[derive(Debug)]
pub struct Pending {
    /// All that it has; none of its directories has its attributes yet.
    pub layer: Unsettled,
    /// What an inode is like that was just made there.
    pub created: Created,
    /// The deletions that it asks for.
    pub markers: Markers,
    /// Whether the layer looks like something else.
    pub signs: ImageSigns,
    /// What was done so far.
    pub report: Report,
}
