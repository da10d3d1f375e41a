//! `Members`: the files of an image archive, found once and then read in place.
//!
//! An archive that is compressed as a whole is not copied: its small files are kept in memory, and
//! its layers are decompressed again when they are read. One that comes through a pipe is first
//! written to an unnamed temporary file (`TMPDIR`, else `/var/tmp`): the documents that name the
//! layers mostly come after them, and a layer may have to be read twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use crate::compress::codec::Decoder;
use crate::copy::copy;
use crate::error::{Error, Operation, Result};
use crate::limits::Limits;
use crate::path::EntryPath;
use crate::tar::archive::{Archive, EntryKind, FileShape};

use super::blob::{Blob, DOCUMENT_MAX};
use super::compressed::Compressed;

/// Old Docker archives link equal layers to each other, in short chains.
const MAX_LINKS: usize = 8;
/// How much of a compressed archive is kept in memory, in bytes, so that it need not be read again.
/// Only files small enough to be documents are kept.
const MEMORY_MAX: u64 = 16 << 20;

/// The regular files and links of an archive, by name.
#[derive(Debug)]
pub struct Members(BTreeMap<EntryPath, Member>);

#[derive(Debug)]
enum Member {
    File(Blob),
    /// The target, relative to the directory of the link.
    Symlink(Box<[u8]>),
    HardLink(EntryPath),
}

impl Members {
    /// Lists an archive.
    pub fn read(mut file: File) -> Result<Members> {
        let metadata = file
            .metadata()
            .map_err(|error| Error::system("looking at the archive", error))?;
        let decoder = Decoder::open(
            file.try_clone()
                .map_err(|error| Error::system("opening the archive", error))?,
        )?;
        match (metadata.is_file(), decoder.is_plain()) {
            (true, true) => {
                drop(decoder);
                plain(file, metadata.len())
            }
            (true, false) => compressed(file),
            (false, _) => {
                let mut decoder = decoder;
                file = spool(&mut decoder)?;
                let length = file
                    .metadata()
                    .map_err(|error| Error::system("looking at the temporary file", error))?;
                plain(file, length.len())
            }
        }
    }

    /// Finds a file by its name, through links inside the archive.
    pub fn find(&self, name: &str) -> Option<Blob> {
        let mut path = EntryPath::parse(name.as_bytes()).ok()?;
        for _ in 0..MAX_LINKS {
            match self.0.get(&path)? {
                Member::File(blob) => return Some(blob.clone()),
                Member::HardLink(target) => path = target.clone(),
                Member::Symlink(target) => path = beside(&path, target)?,
            }
        }
        None
    }
}

/// Lists a file, from header to header.
fn plain(mut file: File, length: u64) -> Result<Members> {
    file.rewind()
        .map_err(|error| Error::system("seeking in the archive", error))?;
    let file = Arc::new(file);
    let mut archive = Archive::with_limits(&*file, limits());
    let members = list(&mut archive, |archive| {
        let blob = Blob::in_file(&file, archive.position(), archive.stored());
        archive.seek_past_data()?;
        match archive.position() > length {
            true => Err(Error::refused("the image archive is truncated")
                .hint("the file is incomplete: fetch it again")),
            false => Ok(blob),
        }
    })?;
    Ok(Members(members))
}

/// Lists a compressed archive, decompressing all of it once.
fn compressed(file: File) -> Result<Members> {
    let file = Arc::new(Compressed::new(file));
    let mut archive = Archive::with_limits(file.read()?, limits());
    let mut room = MEMORY_MAX;
    let members = list(&mut archive, |archive| {
        let size = archive.stored();
        if size > room.min(DOCUMENT_MAX) {
            return Ok(Blob::in_compressed(&file, archive.position(), size));
        }
        let mut bytes = Vec::new();
        archive
            .data()
            .read_to_end(&mut bytes)
            .map_err(|error| Error::reading("reading the archive", error))?;
        room -= size;
        Ok(Blob::in_memory(bytes))
    })?;
    // The compression keeps its checksums at the end.
    archive.finish()?;
    Ok(Members(members))
}

/// Limits for the archive itself. No option raises the limit on holes: see [`with_holes`].
fn limits() -> Limits {
    Limits {
        bytes: u64::MAX,
        ..Limits::default()
    }
}

/// Lists an archive; `blob` gives the stored data of the current entry.
fn list<R: Read>(
    archive: &mut Archive<R>,
    mut blob: impl FnMut(&mut Archive<R>) -> Result<Blob>,
) -> Result<BTreeMap<EntryPath, Member>> {
    let mut members = BTreeMap::new();
    let mut extents = 0;
    while let Some(entry) = archive.next_entry()? {
        let member = match entry.kind {
            EntryKind::File(shape) => {
                let blob = blob(archive).and_then(|blob| with_holes(blob, shape, &mut extents));
                Member::File(blob.map_err(|error| error.at_entry(&entry.path))?)
            }
            EntryKind::Symlink(target) => Member::Symlink(target),
            EntryKind::HardLink(target) => Member::HardLink(target),
            _ => continue,
        };
        members.insert(entry.path, member);
    }
    Ok(members)
}

/// A member with its holes, which `tar -S`, bsdtar and the `tar` crate leave out. `extents` counts
/// those of all members, because they are kept in memory.
fn with_holes(stored: Blob, shape: FileShape, extents: &mut usize) -> Result<Blob> {
    let Some(parts) = shape.extents else {
        return Ok(stored);
    };
    let limits = Limits::default();
    *extents += parts.len();
    if *extents > limits.extents {
        let what = format!("sparse files of over {} parts in all", limits.extents);
        return Err(Error::limit(what).hint("make the archive without holes: tar without -S"));
    }
    let most = limits.ratio.saturating_mul(stored.len().max(1 << 20));
    if shape.size > most {
        let (size, stored) = (shape.size, stored.len());
        let what = format!("a sparse file of {size} bytes, of which {stored} are stored");
        return Err(Error::limit(what).hint("make the archive without holes: tar without -S"));
    }
    Ok(stored.with_holes(parts, shape.size))
}

/// The target of a symbolic link at `path`, resolved lexically.
fn beside(path: &EntryPath, target: &[u8]) -> Option<EntryPath> {
    let mut at = match target.starts_with(b"/") {
        true => EntryPath::root(),
        false => path.parent()?,
    };
    for name in target.split(|&byte| byte == b'/') {
        at = match name {
            b"" | b"." => at,
            b".." => at.parent()?,
            _ => at.join(name).ok()?,
        };
    }
    Some(at)
}

/// Copies a stream to an unnamed temporary file.
pub(super) fn spool(stream: &mut impl Read) -> Result<File> {
    let mut file = tempfile::tempfile_in(temporary()).map_err(spooling)?;
    let reading = |error| Error::reading("reading the archive", error);
    copy(stream, &mut file, reading, spooling)?;
    Ok(file)
}

/// The directory for temporary files of any size.
pub fn temporary() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// The error if a temporary file cannot be created or written.
pub fn spooling(error: io::Error) -> Error {
    let doing = format!("writing a temporary file in {}", temporary().display());
    Error::system(doing, error).during(Operation::Spool)
}
