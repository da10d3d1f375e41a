//! The writer of tar archives: [`Entry`] in, blocks out; the counterpart of [`crate::tar::archive`].
//!
//! Writes ustar headers, with a PAX header for anything that ustar cannot express: long names, xattrs
//! with any bytes, large numbers, times before 1970 or with nanoseconds, sparse files (format 1.0).
//! The same entries give the same bytes on every machine. It does no IO but `Write`, holds one header
//! in memory, and decides nothing: names, owners, times and order are the caller's.
//!
//! Called by every writer of layers. Format:
//! POSIX.1-2017 `pax`; star(5) for `SCHILY.xattr.*`; the GNU tar manual for sparse files.
//!
//! ```
//! use std::io::Write;
//!
//! use lowerdir::internals::{Entry, EntryKind};
//! use lowerdir::view::{FileShape};
//! use lowerdir::meta::Meta;
//! use lowerdir::path::EntryPath;
//! use lowerdir::internals::Writer;
//!
//! let mut writer = Writer::new(Vec::new());
//! writer.entry(&Entry {
//!     path: EntryPath::parse(b"etc/motd")?,
//!     kind: EntryKind::File(FileShape { size: 6, extents: None }),
//!     meta: Meta { mode: 0o644, ..Meta::default() },
//! })?;
//! writer.write_all(b"hello\n")?;
//! assert_eq!(writer.finish()?.len(), 4 * 512);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod header;
mod pax;
mod sparse;

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::error::{Error, Result};
use crate::path::EntryPath;
use crate::tar::archive::{Entry, EntryKind, FileShape};

use header::Header;
use sparse::{SparseBody, SparseRun};

const BLOCK: usize = 512;
/// Longer than any run of zeros between extents, which are widened to whole blocks at both ends.
const ZEROS: [u8; 4 * BLOCK] = [0; 4 * BLOCK];

/// A writer of a tar archive: call [`entry`](Writer::entry), write the file's stored bytes through
/// [`Write`], go on with the next entry, and call [`finish`](Writer::finish) at the end.
pub struct Writer<W> {
    out: W,
    /// Stored bytes of the current entry that are still to come.
    missing: u64,
    /// The runs of stored bytes, and the zeros between them.
    runs: VecDeque<SparseRun>,
    /// Zeros that follow them.
    padding: usize,
    /// The current entry, for errors.
    path: EntryPath,
}

impl<W: Write> Writer<W> {
    /// Starts an archive. Buffer a writer whose calls are expensive.
    pub fn new(out: W) -> Writer<W> {
        Writer {
            out,
            missing: 0,
            runs: VecDeque::new(),
            padding: 0,
            path: EntryPath::root(),
        }
    }

    /// Begins an entry. For a file, [`stored`] bytes must follow: all of it, or those of its extents.
    /// Extents are widened to whole blocks with zeros, so that all readers agree on them; an empty one
    /// ends the map if the file ends with a hole.
    ///
    /// Errors ([`Kind::Refused`](crate::Kind::Refused)): an xattr whose name contains `=`, a device
    /// number or an owner that does not fit (rule M3), or a sparse map that does not fit its file. Also:
    /// missing data of the previous entry, and errors of the writer.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.end_entry()?;
        self.path = entry.path.clone();
        self.begin(entry)
            .map_err(|error| error.at_entry(&entry.path))
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let (body, missing) = match &entry.kind {
            EntryKind::File(shape) => (SparseBody::of(shape)?, stored(shape)),
            _ => (SparseBody::default(), 0),
        };
        let length = body.len();
        let header = Header::of(entry, body.map.len() as u64 + length)?;
        let mut bytes = header.into_bytes();
        bytes.extend(body.map);
        self.put(&bytes)?;
        (self.missing, self.runs) = (missing, body.runs);
        self.padding = (length.next_multiple_of(BLOCK as u64) - length) as usize;
        Ok(())
    }

    /// Finishes and flushes the archive, and returns the writer.
    pub fn finish(mut self) -> Result<W> {
        self.end_entry()?;
        self.put(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(writing)?;
        Ok(self.out)
    }

    fn end_entry(&mut self) -> Result<()> {
        if self.missing > 0 {
            let what = format!("{} bytes of its data are missing", self.missing);
            return Err(Error::conflict(what)
                .at_entry(&self.path)
                .hint("it shrank while it was read: nothing may write to it meanwhile"));
        }
        let mut zeros = std::mem::take(&mut self.padding);
        zeros += self.runs.drain(..).map(|run| run.zeros).sum::<usize>();
        self.put(&ZEROS[..zeros])
    }

    /// Writes the zeros before the next run; returns how many bytes of the file may follow.
    fn begin_run(&mut self) -> io::Result<u64> {
        while let Some(run) = self.runs.front_mut() {
            self.out.write_all(&ZEROS[..run.zeros])?;
            run.zeros = 0;
            if run.data > 0 {
                return Ok(run.data);
            }
            self.runs.pop_front();
        }
        Ok(0)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(writing)
    }
}

/// How many bytes of a file are stored: those that [`Writer`] expects.
pub fn stored(shape: &FileShape) -> u64 {
    match &shape.extents {
        None => shape.size,
        Some(extents) => extents.iter().map(|extent| extent.length).sum(),
    }
}

/// Writes stored bytes of the current entry. Errors: more than its size.
impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let most = self.begin_run()?;
        let most = usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len()));
        if most == 0 {
            return Err(Error::conflict("it has more bytes than its size")
                .at_entry(&self.path)
                .hint("it grew while it was read: nothing may write to it meanwhile")
                .into());
        }
        let count = self.out.write(&bytes[..most])?;
        self.missing -= count as u64;
        if let Some(run) = self.runs.front_mut() {
            run.data -= count as u64;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn writing(error: io::Error) -> Error {
    Error::io("writing the archive", error)
}
