//! `Members`: the files of an image archive, found once and then read in place.
//!
//! An archive that is compressed as a whole, or that comes through a pipe, is first written to an
//! unnamed temporary file (`TMPDIR`, else `/var/tmp`): its layers are read several at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::archive::{Archive, EntryKind};
use crate::codec::Decoder;
use crate::error::{Error, Result};
use crate::path::EntryPath;

use super::blob::Blob;

const BUFFER: usize = 256 * 1024;
/// Old Docker archives link equal layers to each other, never far.
const MAX_LINKS: usize = 8;

/// The regular files and links of an archive, by name.
#[derive(Debug)]
pub struct Members {
    whole: Blob,
    members: BTreeMap<EntryPath, Member>,
}

#[derive(Debug)]
enum Member {
    File {
        offset: u64,
        length: u64,
    },
    /// Relative to the directory of its own name.
    Symlink(Box<[u8]>),
    HardLink(EntryPath),
}

impl Members {
    /// Lists an archive.
    pub fn read(file: File) -> Result<Members> {
        let whole = Blob::of_file(seekable(file)?)?;
        let mut archive = Archive::new(whole.open());
        let mut members = BTreeMap::new();
        while let Some(entry) = archive.next_entry()? {
            let member = match entry.kind {
                // A hole in a blob would be a curiosity; it is not read as one.
                EntryKind::File(shape) if shape.extents.is_none() => Member::File {
                    offset: archive.position(),
                    length: shape.size,
                },
                EntryKind::Symlink(target) => Member::Symlink(target),
                EntryKind::HardLink(target) => Member::HardLink(target),
                _ => continue,
            };
            archive.seek_past_data()?;
            if archive.position() > whole.len() {
                return Err(Error::refused("the image archive is truncated")
                    .at_entry(&entry.path)
                    .hint("the file is incomplete: fetch it again"));
            }
            members.insert(entry.path, member);
        }
        Ok(Members { whole, members })
    }

    /// A file, by its name or through links inside the archive.
    pub fn find(&self, name: &str) -> Option<Blob> {
        let mut path = EntryPath::parse(name.as_bytes()).ok()?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&path)? {
                Member::File { offset, length } => return Some(self.whole.part(*offset, *length)),
                Member::HardLink(target) => path = target.clone(),
                Member::Symlink(target) => path = beside(&path, target)?,
            }
        }
        None
    }
}

/// Where a symbolic link at `path` leads, by name alone.
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

/// The archive as a file without compression.
fn seekable(file: File) -> Result<File> {
    let is_file = file
        .metadata()
        .map_err(|error| Error::system("looking at the archive", error))?
        .is_file();
    let mut decoder = Decoder::open(file)?;
    match decoder.is_plain() && is_file {
        true => {
            let mut file = decoder.into_inner();
            file.seek(SeekFrom::Start(0))
                .map_err(|error| Error::system("seeking in the archive", error))?;
            Ok(file)
        }
        false => spool(&mut decoder),
    }
}

/// Writes a stream to a temporary file that has no name.
pub(super) fn spool(stream: &mut impl Read) -> Result<File> {
    let directory = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let writing = |error| {
        let doing = format!("writing a temporary file in {}", directory.display());
        Error::system(doing, error).hint("TMPDIR names another directory for it")
    };
    let mut file = tempfile::tempfile_in(&directory).map_err(writing)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(count) => file.write_all(&buffer[..count]).map_err(writing)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::reading("reading the archive", error)),
        }
    }
}
