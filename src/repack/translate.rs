//! Translates a layer from tar to tar: from the form of images to overlayfs's, and back.
//!
//! Deletions become entries for 0:0 character devices, and opaque directories get a PAX xattr, so that any
//! tool that unpacks tar archives (GNU tar, bsdtar, `mkfs.erofs --tar`) makes a layer directory. The result
//! is the same as from `unpack-layer` without --lower. It streams: files are passed on, and only names and
//! the attributes of directories are kept in memory.
//!
//! Markers may come anywhere in a layer, and apply to all of it (rules W1, O1). So their marks are written
//! at the end: a directory with marks or deletions is repeated with its attributes, followed by its
//! deletions. Names whose parents are symbolic links of the same layer get their real path (rule N4), so
//! nothing is written through a link.
//!
//! Some questions need the layers below: which deletions are needed, where a parent leads that is a
//! symbolic link there, the attributes of directories without an entry (here 0755 0:0, rule I2), the target
//! of a hard link to a file there (refused), and what an opaque root deletes (refused).
//!
//! ```
//! use lowerdir::options::Dialect;
//! use lowerdir::repack::translate::{TranslateOptions, to_oci, to_overlay};
//!
//! let mut layer = tar::Builder::new(Vec::new());
//! let mut header = tar::Header::new_gnu();
//! header.set_size(0);
//! layer.append_data(&mut header, "etc/.wh.motd", std::io::empty())?;
//! let layer = layer.into_inner()?;
//!
//! let options = TranslateOptions::default();
//! let (overlay, report) = to_overlay(&layer[..], &options, Vec::new())?;
//! assert_eq!(report.deletions, 1);
//! let (back, report) = to_oci(&overlay[..], &options, Vec::new())?;
//! assert_eq!(report.deletions, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod marks;
mod to_oci;
mod to_overlay;

use std::io::{Read, Write};

use crate::copy::copy;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::image::ImageSigns;
use crate::layer::below::{Below, Markers};
use crate::layer::lower::Unknown;
use crate::layer::options::Options;
use crate::limits::Limits;
use crate::meta::{Meta, Time};
use crate::path::EntryPath;
use crate::setters::setters;
use crate::tar::archive::{Archive, Entry, EntryKind, FileShape};
use crate::tar::writer::Writer;
use crate::unpack::{ForeignXattrs, Report, Warning, leave_out_foreign};

/// The options of a translation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TranslateOptions {
    /// The dialect of overlayfs's form, to write or read.
    pub dialect: Dialect,
    /// Whether `security.selinux` is kept (rule X2).
    pub selinux: bool,
    /// What to do with xattrs of other systems and file systems (rule X2).
    pub foreign_xattrs: ForeignXattrs,
    /// The limits of the layer.
    pub limits: Limits,
}

impl TranslateOptions {
    setters! {
        dialect: Dialect,
        selinux: bool,
        foreign_xattrs: ForeignXattrs,
        limits: Limits,
    }

    /// The engine's options for the layer.
    fn rules(&self) -> Options {
        Options {
            dialect: self.dialect,
            selinux: self.selinux,
            foreign_xattrs: self.foreign_xattrs,
            ..Options::default()
        }
    }
}

/// Translates an uncompressed layer into the form of overlayfs, and returns the writer, flushed. The
/// layer is read to its last byte.
///
/// Errors: what [`Archive`] and the rules refuse in a layer; an opaque root, a hard link to what
/// the layer does not have, a file in the place of a directory that has something in it
/// ([`Kind::Refused`](crate::Kind::Refused)): no tar reader would do the right thing.
pub fn to_overlay<W: Write>(
    layer: impl Read,
    options: &TranslateOptions,
    out: W,
) -> Result<(W, Report)> {
    let rules = options.rules();
    let below = Below::new(Unknown, &Markers::default(), false)?;
    let mut translator = to_overlay::ToOverlay::new(&rules, &options.limits, &below, out);
    each(layer, options, |archive, entry| {
        translator.entry(archive, entry)
    })?;
    translator.finish()
}

/// Translates an archive in the form of overlayfs into a layer, and returns the writer, flushed. The
/// archive is read to its last byte.
///
/// Errors: what [`Archive`] refuses; a renamed directory or a file of attributes only
/// (`overlay.redirect`, `overlay.metacopy`), a name that a layer would read as a deletion
/// ([`Kind::Refused`](crate::Kind::Refused)).
pub fn to_oci<W: Write>(
    archive: impl Read,
    options: &TranslateOptions,
    out: W,
) -> Result<(W, Report)> {
    let mut translator = to_oci::ToOci::new(options, out);
    each(archive, options, |archive, entry| {
        translator.entry(archive, entry)
    })?;
    translator.finish()
}

/// Calls for each entry of an archive, within the limits, and reads the input to its last byte.
fn each<R: Read>(
    archive: R,
    options: &TranslateOptions,
    mut take: impl FnMut(&mut Archive<R>, Entry) -> Result<()>,
) -> Result<()> {
    let mut archive = Archive::with_limits(archive, options.limits);
    let (mut entries, mut signs) = (0, ImageSigns::default());
    while let Some(entry) = archive.next_entry()? {
        entries += 1;
        signs.see(&entry);
        options.limits.check_entries(entries)?;
        let depth = entry.path.components().count();
        let path = entry.path.clone();
        options
            .limits
            .check_depth(depth)
            .and_then(|()| take(&mut archive, entry))
            .map_err(|error| error.at_entry(path))?;
    }
    signs.check()?;
    match archive.position() {
        // An image vouches for an empty blob by its digest; nothing vouches for this input.
        0 => Err(Error::refused("this is not a tar archive: it is empty")),
        _ => archive.finish().map(drop),
    }
}

/// The archive being written, and its report.
struct Output<W> {
    writer: Writer<W>,
    report: Report,
}

impl<W: Write> Output<W> {
    fn new(out: W) -> Output<W> {
        Output {
            writer: Writer::new(out),
            report: Report::default(),
        }
    }

    /// What rule X2 leaves out of an entry, and what is to be told of it.
    fn check<R: Read>(
        &mut self,
        archive: &Archive<R>,
        entry: &mut Entry,
        how: ForeignXattrs,
    ) -> Result<()> {
        if archive.is_overruled() {
            let report = &mut self.report;
            report.warn(Warning::GlobalHeaderSkipped, &entry.path);
        }
        leave_out_foreign(&mut entry.meta, &entry.path, how, &mut self.report)
    }

    fn entry(&mut self, path: EntryPath, kind: EntryKind, meta: Meta) -> Result<()> {
        self.report.entries += 1;
        self.writer.entry(&Entry { path, kind, meta })
    }

    /// Copies the stored bytes of an entry after it.
    fn data<R: Read>(&mut self, archive: &mut Archive<R>) -> Result<()> {
        let reading = |error| Error::reading("reading its data", error);
        let writing = |error| Error::io("writing its data", error);
        self.report.bytes += copy(&mut archive.data(), &mut self.writer, reading, writing)?;
        Ok(())
    }

    fn finish(self) -> Result<(W, Report)> {
        Ok((self.writer.finish()?, self.report))
    }
}

/// A file without content.
fn empty_file() -> EntryKind {
    EntryKind::File(FileShape {
        size: 0,
        extents: None,
    })
}

/// The attributes of a marker: nothing but its time (rule W7).
fn marker_meta(mtime: Time) -> Meta {
    Meta {
        mtime,
        ..Meta::default()
    }
}
