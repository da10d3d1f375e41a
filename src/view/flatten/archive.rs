//! A tree as one tar archive.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};

use crate::copy::copy;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::layer::report::Report;
use crate::path::EntryPath;
use crate::store::pipeline::Run;
use crate::tar::archive::{Entry, EntryKind};
use crate::tar::writer::{Writer, stored};
use crate::view::{Body, ImageTree, Item};

use super::spool::Spool;

const BUFFER: usize = 256 * 1024;

/// Writes every path of a tree, a directory before what is in it, and a file before its other
/// names. The same tree gives the same bytes. Returns the writer, flushed, and what was
/// written.
///
/// The content goes through an unnamed temporary file (`TMPDIR`, else `/var/tmp`).
///
/// Errors: those of reading the blobs; what no archive can hold; the system's.
///
/// ```
/// use lowerdir::view::flatten::write_archive;
/// use lowerdir::view::View;
/// use lowerdir::{Image, Options, Reference, Run};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
///
/// let image = Image::open(&Reference::parse(&archive)?)?;
/// let view = View::read(&image, &Options::default(), Run::default())?;
/// let (archive, report) = write_archive(&image, &view.tree, Vec::new(), Run::default())?;
///
/// // The root and `etc`: the image deletes what was in it.
/// assert_eq!((report.entries, archive.len()), (2, 4 * 512));
/// # Ok(())
/// # }
/// ```
pub fn write_archive<W: Write>(
    image: &Image,
    tree: &ImageTree,
    out: W,
    run: Run<'_>,
) -> Result<(W, Report)> {
    let mut writer = Writer::new(out);
    let spool = Spool::fill(image, tree, run)?;
    let several = tree.links();
    let mut first_names = BTreeMap::new();
    let mut report = Report::default();
    for item in tree.walk() {
        if run.progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        let id = item.name.inode;
        let first = match several.contains_key(&id) {
            true => first_names.get(&id).cloned(),
            false => None,
        };
        let entry = entry(&item, first);
        report.entries += 1;
        writer.entry(&entry)?;
        if let EntryKind::File(shape) = &entry.kind {
            let mut content = BufReader::with_capacity(BUFFER, spool.read(id));
            let reading = |error| Error::io("reading the temporary file", error);
            let writing = |error| Error::io("writing its data", error);
            copy(&mut content, &mut writer, reading, writing)
                .map_err(|error| error.at_entry(&item.path))?;
            report.bytes += stored(shape);
        }
        if several.contains_key(&id) {
            first_names.entry(id).or_insert(item.path);
        }
    }
    Ok((writer.finish()?, report))
}

fn entry(item: &Item<'_>, first: Option<EntryPath>) -> Entry {
    let kind = match (first, &item.inode.body) {
        (Some(first), _) => EntryKind::HardLink(first),
        (None, Body::Directory(_)) => EntryKind::Directory,
        (None, Body::File(stored)) => EntryKind::File(stored.shape.clone()),
        (None, Body::Symlink(target)) => EntryKind::Symlink(target.clone()),
        (None, Body::CharDevice(device)) => EntryKind::CharDevice(*device),
        (None, Body::BlockDevice(device)) => EntryKind::BlockDevice(*device),
        (None, Body::Fifo) => EntryKind::Fifo,
    };
    Entry {
        path: item.path.clone(),
        kind,
        // For further names too: a tool may set the owner again, which clears capabilities.
        meta: item.inode.meta.clone(),
    }
}
