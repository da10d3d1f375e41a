//! `Intake`: the checks on every entry of a layer before its path is resolved: limits, markers, and the
//! rules that leave out or refuse entries and xattrs (W1, W6, O1, S1, S3, X1, X2, M3).
//!
//! It handles one entry at a time and knows no tree, so layers can be processed in parallel. Pure.

use crate::error::{Advice, Error, Result};
use crate::limits::Limits;
use crate::meta::Device;
use crate::tar::archive::{Entry, EntryKind};

use super::below::Markers;
use super::marker::Marker;
use super::options::{DeviceZero, Options};
use super::report::{Report, Warning};
use super::xattrs;

/// Names that eStargz adds to a layer's root (stargz-snapshotter, `docs/estargz.md`).
pub(crate) const ESTARGZ: [&[u8]; 3] = [
    b"stargz.index.json",
    b".prefetch.landmark",
    b".no.prefetch.landmark",
];

/// Why rule S1 refuses one.
pub const DEVICE_ZERO: &str = "a character device 0:0, which overlayfs would read as a deletion";

/// Takes the entries of one layer.
pub struct Intake<'a> {
    options: &'a Options,
    limits: &'a Limits,
    /// The deletions so far.
    pub markers: Markers,
    /// Counts of the entries so far, and warnings about what was left out.
    pub report: Report,
}

impl<'a> Intake<'a> {
    /// Starts a layer.
    pub fn new(options: &'a Options, limits: &'a Limits) -> Intake<'a> {
        Intake {
            options,
            limits,
            markers: Markers::default(),
            report: Report::default(),
        }
    }

    /// Checks an entry, and returns it unless it is left out or is a marker, which is recorded. Its
    /// attributes are then those for the layer, with the xattr names of the image.
    ///
    /// Errors: limits ([`Kind::Limit`](crate::Kind::Limit)); what a rule refuses
    /// ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn take(&mut self, mut entry: Entry) -> Result<Option<Entry>> {
        self.report.entries += 1;
        self.limits.check_entries(self.report.entries)?;
        self.limits.check_depth(entry.path.components().count())?;
        let time = entry.meta.mtime;
        match Marker::of(&entry.path)? {
            Marker::Remove(path) => {
                self.markers.whiteouts.insert(path, time);
                return Ok(None);
            }
            Marker::Opaque(path) => {
                self.markers.opaques.insert(path, time);
                return Ok(None);
            }
            Marker::Reserved => return Ok(None),
            Marker::None if self.is_left_out(&entry)? => return Ok(None),
            Marker::None => {}
        }
        let (path, meta) = (&entry.path, &mut entry.meta);
        xattrs::keep(meta, path, self.options, &mut self.report)?;
        // Rule H1: a link's own attributes are not applied.
        if !matches!(entry.kind, EntryKind::HardLink(_)) {
            self.options.ids.map(meta)?;
        }
        match entry.kind {
            _ if path.is_root() => {}
            EntryKind::Directory => self.markers.directories.add(path),
            _ => self.markers.directories.replace(path),
        }
        Ok(Some(entry))
    }

    /// Rules S1 and S3.
    fn is_left_out(&mut self, entry: &Entry) -> Result<bool> {
        if self.options.drop_estargz && ESTARGZ.contains(&entry.path.as_bytes()) {
            return Ok(true);
        }
        if entry.kind != EntryKind::CharDevice(Device::WHITEOUT) {
            return Ok(false);
        }
        match self.options.device_zero {
            DeviceZero::Skip => {
                self.report.warn(Warning::DeviceZeroSkipped, &entry.path);
                Ok(true)
            }
            DeviceZero::Refuse => Err(Error::refused(DEVICE_ZERO).hint(Advice::SkipDeviceZero)),
        }
    }
}
