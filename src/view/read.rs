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
use crate::layer::whiteout::Marker;
use crate::limits::Limits;
use crate::meta::{Device, Meta};
use crate::overlay::lower::Markers;
use crate::path;
use crate::store::pipeline::Run;
use crate::tar::archive::{Archive, Entry, EntryKind};
use crate::threads::start;
use crate::unpack::{
    DeviceZero, ESTARGZ, Options, OverlayXattrs, Report, Warning, leave_out_foreign,
};

const BUFFER: usize = 256 * 1024;

/// What one layer says.
#[derive(Debug, Default)]
pub struct Said {
    /// What it deletes.
    pub markers: Markers,
    /// What it adds, each with its number among all entries of the archive.
    pub entries: Vec<(u64, Entry)>,
    /// How many entries the archive has, markers among them.
    pub count: u64,
    /// What was left out: the warnings alone.
    pub left_out: Report,
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
    let mut said = Said::default();
    read_archive(layer, limits, stop, |archive| {
        while let Some(entry) = archive.next_entry()? {
            let path = entry.path.clone();
            if archive.is_overruled() {
                said.left_out.warn(Warning::GlobalHeaderSkipped, &path);
            }
            said.add(entry, options, limits)
                .and_then(|()| pass_over(archive))
                .map_err(|error| error.at_entry(&path))?;
        }
        Ok(())
    })?;
    Ok(said)
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

impl Said {
    fn add(&mut self, mut entry: Entry, options: &Options, limits: &Limits) -> Result<()> {
        let number = self.count;
        self.count += 1;
        limits.check_entries(self.count)?;
        limits.check_depth(entry.path.components().count())?;
        let time = entry.meta.mtime;
        match Marker::of(&entry.path)? {
            Marker::Remove(path) => drop(self.markers.whiteouts.insert(path, time)),
            Marker::Opaque(path) => drop(self.markers.opaques.insert(path, time)),
            Marker::Reserved => {}
            Marker::None if is_left_out(&entry, options)? => {}
            Marker::None => {
                let (path, meta) = (&entry.path, &mut entry.meta);
                leave_out_foreign(meta, path, options.foreign_xattrs, &mut self.left_out)?;
                as_shown(&entry.kind, meta, options)?;
                match entry.kind {
                    EntryKind::Directory => self.markers.directories.add(&entry.path),
                    _ => self.markers.directories.replace(&entry.path),
                }
                self.entries.push((number, entry));
            }
        }
        Ok(())
    }
}

/// Rules S1 and S3.
fn is_left_out(entry: &Entry, options: &Options) -> Result<bool> {
    if options.drop_estargz && ESTARGZ.contains(&entry.path.as_bytes()) {
        return Ok(true);
    }
    if entry.kind != EntryKind::CharDevice(Device::WHITEOUT) {
        return Ok(false);
    }
    match options.device_zero {
        DeviceZero::Skip => Ok(true),
        DeviceZero::Refuse => Err(Error::refused(
            "a character device 0:0, which overlayfs would read as a deletion",
        )
        .hint("--device-zero=skip leaves it out")),
    }
}

/// Makes the attributes of an entry into what a mount shows: symbolic links have no mode, only files
/// and directories `user.*` xattrs (rule X2), and a label is dropped unless asked for.
fn as_shown(kind: &EntryKind, meta: &mut Meta, options: &Options) -> Result<()> {
    if matches!(kind, EntryKind::Symlink(_)) {
        meta.mode = 0o777;
    }
    let may_have_user = matches!(kind, EntryKind::File(_) | EntryKind::Directory);
    for xattr in std::mem::take(&mut meta.xattrs) {
        let is_dropped = (&*xattr.name == b"security.selinux" && !options.selinux)
            || (xattr.name.starts_with(b"user.") && !may_have_user);
        // Rule X1: an escaped one shows as it was.
        let is_overlays = options.dialect.escape(&xattr.name).is_some();
        match options.overlay_xattrs {
            _ if is_dropped => {}
            OverlayXattrs::Drop if is_overlays => {}
            OverlayXattrs::Refuse if is_overlays => {
                let name = path::display(&xattr.name);
                return Err(Error::refused(format!("the layer brings xattr {name}"))
                    .hint("--overlay-xattrs=escape keeps it as data"));
            }
            _ => meta.xattrs.push(xattr),
        }
    }
    Ok(())
}
