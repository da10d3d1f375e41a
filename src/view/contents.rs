//! The content of files: the second reading of an image, for the files whose content is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::image::{Image, Layer};
use crate::layer::report::Report;
use crate::progress::Progress;
use crate::store::pipeline::{LowestFailure, Run};
use crate::tar::archive::FileShape;
use crate::threads::ThreadBudget;

use super::read::{read_archive, threads, watch};
use super::tree::{Body, Id, ImageTree, Source, Stored};

/// The wanted files of one layer, by their numbers among the entries of its archive.
type WantedFiles<'a> = BTreeMap<u64, (Id, &'a FileShape)>;

/// Reads the stored bytes of files, and passes each to `take`: first files in layers, in the order of their
/// archives, then files on this machine. Only the extents of a sparse file are stored. Layers without a
/// wanted file are not read; the others are read to the end, and verified.
///
/// `layers` are those of the image that the tree was read from.
pub fn contents(
    image: &Image,
    tree: &ImageTree,
    wanted: &BTreeSet<Id>,
    run: Run<'_>,
    mut take: impl FnMut(Id, &FileShape, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut by_layer: BTreeMap<u32, WantedFiles<'_>> = BTreeMap::new();
    let mut on_host = Vec::new();
    for &id in wanted {
        let Body::File(Stored { shape, source }) = &tree.inode(id).body else {
            continue;
        };
        match source {
            Source::Layer { layer, entry } => {
                let files = by_layer.entry(*layer).or_default();
                files.insert(*entry, (id, shape));
            }
            Source::Host(path) => on_host.push((id, shape, path)),
        }
    }
    let threads = threads(run);
    for layer in &image.layers {
        if let Some(files) = by_layer.remove(&(layer.number as u32)) {
            of_layer(layer, files, run, &threads, &mut take)
                .map_err(|error| error.in_layer(layer.label()))?;
        }
    }
    for (id, shape, path) in on_host {
        let fail = |error| Error::system(format!("reading {}", path.display()), error);
        let file = File::open(path).map_err(fail)?;
        let mut exactly = Exactly {
            inner: file.take(shape.size),
        };
        take(id, shape, &mut exactly)?;
    }
    Ok(())
}

/// The offset and the length of each part of a file that is stored, in order.
pub fn parts(shape: &FileShape) -> impl Iterator<Item = (u64, u64)> + '_ {
    let whole = shape.extents.is_none().then_some((0, shape.size));
    let extents = shape.extents.iter().flatten();
    whole
        .into_iter()
        .chain(extents.map(|extent| (extent.offset, extent.length)))
}

/// Reads the stored parts of a file, and passes their bytes to `take`, with their offsets in the file,
/// which never decrease.
pub fn read_parts(
    shape: &FileShape,
    reader: &mut dyn Read,
    buffer: &mut [u8],
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    for (mut offset, mut left) in parts(shape) {
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            let count = reader
                .read(&mut buffer[..most])
                .map_err(|error| Error::reading("reading its data", error))?;
            if count == 0 {
                return Err(Error::refused("its data is not of the size that it says"));
            }
            take(offset, &buffer[..count])?;
            offset += count as u64;
            left -= count as u64;
        }
    }
    Ok(())
}

/// The files of a tree that are not empty.
pub fn file_ids(tree: &ImageTree) -> BTreeSet<Id> {
    let files = tree.walk().filter(|item| match &item.inode.body {
        Body::File(stored) => stored.shape.size > 0,
        _ => false,
    });
    files.map(|item| item.name.inode).collect()
}

fn of_layer(
    layer: &Layer,
    mut files: WantedFiles<'_>,
    run: Run<'_>,
    threads: &ThreadBudget,
    take: &mut impl FnMut(Id, &FileShape, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let (index, label) = (layer.number - 1, layer.label());
    let failure = LowestFailure::none();
    let watch = watch(index, run, &failure);
    let mut report = Report::default();
    run.progress.begins(index, &label, layer.blob.get()?.len());
    read_archive(layer, &run.limits, watch, threads, |archive| {
        let mut number = 0;
        while !files.is_empty()
            && let Some(entry) = archive.next_entry()?
        {
            if let Some((id, shape)) = files.remove(&number) {
                report.entries += 1;
                report.bytes += archive.stored();
                let mut counted = Counted {
                    inner: archive.data(),
                    progress: run.progress,
                    index,
                };
                take(id, shape, &mut counted).map_err(|error| error.at_entry(&entry.path))?;
            }
            number += 1;
        }
        match files.is_empty() {
            true => Ok(()),
            // The first reading found them, and the blob was the same.
            false => Err(Error::mismatch("the blob changed while it was read")),
        }
    })?;
    run.progress.ends(index, &label, &report);
    Ok(())
}

/// Reports how much is read.
struct Counted<'a, R> {
    inner: R,
    progress: &'a dyn Progress,
    index: usize,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.read(self.index, count as u64);
        Ok(count)
    }
}

/// Fails if a file on this machine has shrunk.
struct Exactly {
    inner: io::Take<File>,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match count == 0 && !buffer.is_empty() && self.inner.limit() > 0 {
            true => Err(io::Error::other(
                "the file became shorter while it was read",
            )),
            false => Ok(count),
        }
    }
}
