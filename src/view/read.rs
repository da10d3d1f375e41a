//! What layers say: their entries without their content, read from the blobs, several at once, and
//! handed on in order.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::compress::codec::LayerReader;
use crate::error::{Error, Result};
use crate::image::Layer;
use crate::layer::below::Markers;
use crate::layer::intake::Intake;
use crate::layer::options::Options;
use crate::layer::report::{Report, Warning};
use crate::limits::Limits;
use crate::meta::Meta;
use crate::store::pipeline::Run;
use crate::tar::archive::{Archive, Entry, EntryKind};
use crate::threads::start;

const BUFFER: usize = 256 * 1024;

/// What one layer says.
#[derive(Debug, Default)]
pub struct Said {
    /// What it deletes.
    pub markers: Markers,
    /// What it adds, each with its number among all entries of the archive.
    pub entries: Vec<(u64, Entry)>,
    /// How many entries the archive has, markers among them, and what was left out of it.
    pub report: Report,
}

/// Reads layers, and hands on what they say from the first to the last. Of several errors the one
/// in the first layer is returned.
pub fn each_layer(
    layers: &[Layer],
    options: &Options,
    run: Run<'_>,
    mut hand_on: impl FnMut(&Layer, Said) -> Result<()>,
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let stop = || match failed.load(Ordering::Relaxed) || run.progress.is_cancelled() {
        true => Err(Error::cancelled()),
        false => Ok(()),
    };
    let work = |sender: mpsc::Sender<(usize, Result<Said>)>| {
        while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let index = layer.number - layers[0].number;
            let said = read_layer(layer, options, &run.limits, &stop);
            let said = said.map_err(|error| error.in_layer(layer.label()));
            if sender.send((index, said)).is_err() {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..run.jobs.clamp(1, layers.len().max(1)) {
            let sender = sender.clone();
            start(scope, "look", || work(sender))
                .inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        drop(sender);
        let mut ready = BTreeMap::new();
        let mut due = 0;
        for (index, said) in receiver {
            ready.insert(index, said);
            while let Some(said) = ready.remove(&due) {
                let done = said.and_then(|said| hand_on(&layers[due], said));
                if done.is_err() {
                    failed.store(true, Ordering::Relaxed);
                    return done;
                }
                due += 1;
            }
        }
        Ok(())
    })
}

fn read_layer(
    layer: &Layer,
    options: &Options,
    limits: &Limits,
    stop: &dyn Fn() -> Result<()>,
) -> Result<Said> {
    let mut intake = Intake::new(options, limits);
    let mut entries = Vec::new();
    read_archive(layer, limits, stop, |archive| {
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
pub type LayerArchive<'a> = Archive<BufReader<Stoppable<'a, &'a mut dyn Read>>>;

/// Reads the blob of a layer to its last byte, and verifies it.
pub fn read_archive(
    layer: &Layer,
    limits: &Limits,
    stop: &dyn Fn() -> Result<()>,
    read: impl FnOnce(&mut LayerArchive<'_>) -> Result<()>,
) -> Result<()> {
    let blob = layer.blob.get()?.open();
    let mut reader = LayerReader::with_limits(blob, layer.expected.clone(), *limits)?;
    let inner: &mut dyn Read = &mut reader;
    let stoppable = Stoppable { inner, stop };
    let buffered = BufReader::with_capacity(BUFFER, stoppable);
    read(&mut Archive::with_limits(buffered, *limits))?;
    reader.finish().map(drop)
}

/// A reader that gives up when it is told to.
pub struct Stoppable<'a, R> {
    inner: R,
    stop: &'a dyn Fn() -> Result<()>,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.stop)()?;
        self.inner.read(buffer)
    }
}

/// Makes the attributes of an entry into what a mount shows: symbolic links have no mode, and only files
/// and directories `user.*` xattrs (rule X2).
fn as_shown(kind: &EntryKind, meta: &mut Meta) {
    if matches!(kind, EntryKind::Symlink(_)) {
        meta.mode = 0o777;
    }
    if !matches!(kind, EntryKind::File(_) | EntryKind::Directory) {
        meta.xattrs
            .retain(|xattr| !xattr.name.starts_with(b"user."));
    }
}
