//! Reads the entries of layers, without content, from several blobs at once, and passes them on in order.

use std::collections::BTreeMap;
use std::io;

use crate::chunk::Chunks;
use crate::error::{Error, Result};
use crate::fs::descriptors;
#[cfg(feature = "registry")]
use crate::image::Blob;
use crate::image::Layer;
use crate::layer::below::Markers;
use crate::layer::intake::Intake;
use crate::layer::options::Options;
use crate::layer::report::{Report, Warning};
use crate::limits::Limits;
use crate::meta::Meta;
use crate::store::pipeline::{LowestFailure, Run, Watch, is_worth_stages, staged, with_workers};
use crate::tar::archive::{Archive, Entry, EntryKind};
use crate::threads::{ThreadBudget, caught};

/// The entries of one layer.
#[derive(Debug, Default)]
pub struct Said {
    /// Its deletions.
    pub markers: Markers,
    /// Its other entries, each with its number among all entries of the archive.
    pub entries: Vec<(u64, Entry)>,
    /// The number of entries in the archive, including markers, and warnings about what was left out.
    pub report: Report,
}

/// Reads layers, and passes on their entries from the first to the last. Of several errors, that of the
/// lowest layer is returned.
pub fn each_layer(
    layers: &[Layer],
    options: &Options,
    run: Run<'_>,
    mut hand_on: impl FnMut(&Layer, Said) -> Result<()>,
) -> Result<()> {
    let (threads, failure) = (threads(run), LowestFailure::none());
    let read = |index: usize| {
        if failure.is_below(index) {
            return None;
        }
        let layer: &Layer = &layers[index];
        let watch = watch(index, run, &failure);
        let said = caught("look", || read_layer(layer, options, run, watch, &threads));
        if said.is_err() {
            failure.add(index);
        }
        Some((index, said.map_err(|error| error.in_layer(layer.label()))))
    };
    with_workers(&threads, (0..layers.len()).collect(), &read, |workers| {
        let (mut ready, mut due) = (BTreeMap::new(), 0);
        while let Some((index, said)) = workers.next() {
            ready.insert(index, said);
            while let Some(said) = ready.remove(&due) {
                if let Err(error) = said.and_then(|said| hand_on(&layers[due], said)) {
                    // Layers that are still being read are cancelled.
                    failure.add(due);
                    return Err(error);
                }
                due += 1;
            }
        }
        Ok(())
    })
}

/// The threads that views of this run may have.
pub fn threads(run: Run<'_>) -> ThreadBudget {
    ThreadBudget::new(descriptors::jobs(run.jobs))
}

/// Stops reading a layer, counted from 0, once it is no longer needed.
pub fn watch<'a>(index: usize, run: Run<'a>, failure: &'a LowestFailure) -> Watch<'a> {
    Watch {
        index,
        progress: run.progress,
        failure,
    }
}

fn read_layer(
    layer: &Layer,
    options: &Options,
    run: Run<'_>,
    watch: Watch<'_>,
    threads: &ThreadBudget,
) -> Result<Said> {
    let read = || read_once(layer, options, run, watch, threads);
    match read() {
        #[cfg(feature = "registry")]
        Err(_) if layer.blob.get().is_ok_and(Blob::fetch_again) => read(),
        read => read,
    }
}

fn read_once(
    layer: &Layer,
    options: &Options,
    run: Run<'_>,
    watch: Watch<'_>,
    threads: &ThreadBudget,
) -> Result<Said> {
    let mut intake = Intake::new(options, &run.limits);
    let mut entries = Vec::new();
    read_archive(layer, &run.limits, watch, threads, |archive| {
        while let Some(entry) = archive.next_entry()? {
            let path = entry.path.clone();
            let number = intake.report.entries;
            if archive.is_overruled() {
                intake.report.warn(Warning::GlobalHeaderSkipped, &path);
            }
            let taken = intake.take(entry).and_then(|entry| {
                pass_over(archive)?;
                Ok(entry)
            });
            if let Some(mut entry) = taken.map_err(|error| error.at_entry(&path))? {
                as_shown(&entry.kind, &mut entry.meta);
                entries.push((number, entry));
            }
        }
        Ok(())
    })?;
    Ok(Said {
        markers: intake.markers,
        entries,
        report: intake.report,
    })
}

/// Reads the data of the current entry, while it is known whose it is.
fn pass_over(archive: &mut LayerArchive<'_>) -> Result<()> {
    let passed = io::copy(&mut archive.data(), &mut io::sink());
    passed
        .map(drop)
        .map_err(|error| Error::reading("reading its data", error))
}

/// An archive in the blob of a layer.
pub type LayerArchive<'a> = Archive<Chunks<'a>>;

/// Reads the blob of a layer to its last byte, and verifies it.
pub fn read_archive(
    layer: &Layer,
    limits: &Limits,
    watch: Watch<'_>,
    threads: &ThreadBudget,
    read: impl FnOnce(&mut LayerArchive<'_>) -> Result<()>,
) -> Result<()> {
    let blob = layer.blob.get()?;
    let share = threads.share();
    let share = is_worth_stages(blob).then_some(&share);
    let reader = watch.uncounted(blob.open());
    let done = staged(reader, &layer.expected, *limits, watch, share, |chunks| {
        read(&mut Archive::with_limits(chunks, *limits))
    });
    #[cfg(feature = "registry")]
    let done = done.map_err(|error| blob.blame(error, &|| watch.check().is_err()));
    done.map(drop)
}

/// Adjusts the attributes of an entry to what a mount shows: symbolic links have no mode, and only files
/// and directories have `user.*` xattrs (rule X2).
fn as_shown(kind: &EntryKind, meta: &mut Meta) {
    if matches!(kind, EntryKind::Symlink(_)) {
        meta.mode = 0o777;
    }
    if !matches!(kind, EntryKind::File(_) | EntryKind::Directory) {
        meta.xattrs
            .retain(|xattr| !xattr.name.starts_with(b"user."));
    }
}
