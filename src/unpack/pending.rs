//! `Pending`: a layer that is unpacked, but not settled against the layers below.

use crate::image::ImageSigns;
use crate::layer::apply::Unsettled;
use crate::layer::below::Markers;
use crate::layer::report::Report;

use super::created::Created;

/// A layer whose entries are on disk, and which `settle` has to finish.
#[derive(Debug)]
pub struct Pending {
    /// Its tree; none of its directories has its attributes yet.
    pub layer: Unsettled,
    /// The attributes of new inodes there.
    pub created: Created,
    /// Its deletions.
    pub markers: Markers,
    /// Whether the layer looks like an image archive.
    pub signs: ImageSigns,
    /// The report so far.
    pub report: Report,
}
