//! The reader of tar archives: blocks in, [`Entry`] out.
//!
//! It assembles entries itself, over the field layout of `tar::Header`: PAX records, GNU long
//! names, base-256 numbers and the four sparse forms. `tar::Entries` will not do: it loses names and
//! accepts forged ones, as `tests/formats` shows. The reader takes any `Read`, does no other IO, and
//! trusts nothing: what it returns is within its [`Limits`], and a short read is an error, never a
//! short file.
//!
//! Called by [`crate::unpack`] for layers and by [`crate::image`] for whole image archives.
//! Format: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Header Block"; the GNU tar
//! manual, "Basic Tar Format" and "Storing Sparse Files".

mod data;
mod end;
mod extensions;
mod fields;
mod number;
mod pax;
mod sparse;

use std::io::{self, Read};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::meta::{Device, Meta};
use crate::path::{self, EntryPath};

pub use data::Data;
use end::{not_tar, too_short};
use extensions::Extensions;
use fields::{device, hard_link_target, header_name, meta, symlink_target, unsigned, until_nul};
use pax::Pax;
pub use sparse::Extent;

const BLOCK: usize = 512;

/// One member of an archive, without its data.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The cleaned name.
    pub path: EntryPath,
    /// Its type.
    pub kind: EntryKind,
    /// Owner, mode, time, xattrs.
    pub meta: Meta,
}

/// The type of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file; its stored bytes follow, see [`Archive::data`].
    File(FileShape),
    /// A symbolic link, its target verbatim (rule S2).
    Symlink(Box<[u8]>),
    /// Another name of an earlier entry.
    HardLink(EntryPath),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

/// The size of a file, and the positions of its stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileShape {
    /// Size in bytes, holes included.
    pub size: u64,
    /// The parts that are stored, in order; `None` for a file without holes.
    pub extents: Option<Vec<Extent>>,
}

impl FileShape {
    /// Bytes that are stored in the archive.
    pub fn stored(&self) -> u64 {
        match &self.extents {
            None => self.size,
            Some(extents) => extents.iter().map(|extent| extent.length).sum(),
        }
    }
}

/// A reader of a tar archive.
pub struct Archive<R> {
    reader: R,
    limits: Limits,
    /// How many bytes were consumed so far.
    position: u64,
    /// Stored bytes of the current entry that are still unread.
    unread: u64,
    /// Zeros after them, up to the next block.
    padding: u64,
    /// Bytes of sparse files so far, holes included.
    logical: u64,
    /// Whether a skipped global header would change the entries from here on.
    overruled: bool,
    ended: bool,
}

impl<R: Read> Archive<R> {
    /// Starts reading. Buffer a reader whose calls are expensive.
    pub fn new(reader: R) -> Archive<R> {
        Archive::with_limits(reader, Limits::default())
    }

    /// The same, with the given limits.
    pub fn with_limits(reader: R, limits: Limits) -> Archive<R> {
        Archive {
            reader,
            limits,
            position: 0,
            unread: 0,
            padding: 0,
            logical: 0,
            overruled: false,
            ended: false,
        }
    }

    /// The next entry, or `None` at the end: at a zero block, or if the input ends between two
    /// entries. Unread data of the previous entry is skipped.
    ///
    /// Errors: a damaged or truncated archive, an unknown type, a value out of range
    /// ([`Kind::Refused`](crate::Kind::Refused)), an oversized extension header
    /// ([`Kind::Limit`](crate::Kind::Limit)).
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip_rest()?;
        let mut extensions = Extensions::default();
        while !self.ended {
            let Some(header) = self.read_header()? else {
                break;
            };
            let size = unsigned(&header.as_old().size, "size")?;
            match header.as_old().linkflag[0] {
                b'x' | b'X' => {
                    let records = self.read_extension(size)?;
                    extensions.pax = Some(Pax::parse(&records, &self.limits)?);
                }
                b'g' => {
                    let records = self.read_extension(size)?;
                    let global = Pax::parse(&records, &self.limits)?;
                    // Go takes it for a member, so extension headers before it do not carry over.
                    let before = std::mem::take(&mut extensions);
                    self.overruled |= global.changes_entries() || !before.is_empty();
                }
                b'L' => extensions.long_name = Some(self.read_long_name(size)?),
                b'K' => extensions.long_link = Some(self.read_long_name(size)?),
                // A volume label describes the archive.
                b'V' => self.skip_member(size)?,
                _ => return self.assemble(&header, extensions).map(Some),
            }
        }
        match extensions.is_empty() {
            true => Ok(None),
            false => Err(Error::refused(
                "the archive is truncated: it ends after an extension header",
            )),
        }
    }

    /// Whether a global PAX header would change the entry just returned and those that follow. Such
    /// headers are skipped, as in Go and the engines, so that all of them see the same tree.
    pub fn is_overruled(&self) -> bool {
        self.overruled
    }

    /// The stored bytes of the current entry; for a sparse file, its extents give their positions.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { archive: self }
    }

    /// How many stored bytes of the current entry are still to be read.
    pub fn stored(&self) -> u64 {
        self.unread
    }

    /// The offset of the next unread byte in the input.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Stops reading and returns the reader, wherever it is.
    pub fn into_inner(self) -> R {
        self.reader
    }

    fn assemble(&mut self, header: &tar::Header, mut extensions: Extensions) -> Result<Entry> {
        let pax = extensions.pax.take().unwrap_or_default();
        let name = match (pax.name(), &extensions.long_name) {
            (Some(name), _) => name.to_vec(),
            (None, Some(name)) => name.clone(),
            (None, None) => header_name(header),
        };
        let path = EntryPath::parse(&name)?;
        let build = |archive: &mut Archive<R>| {
            let meta = meta(header, &pax)?;
            let kind = archive.kind(header, &pax, &extensions, &name)?;
            Ok((kind, meta))
        };
        let (kind, meta) = build(self).map_err(|error: Error| error.at_entry(&path))?;
        if path.is_root() && kind != EntryKind::Directory {
            let shown = path::display(&name).to_string();
            let why = "the name of the layer's root, on something that is not a directory";
            return Err(Error::refused(why).at_entry(shown));
        }
        Ok(Entry { path, kind, meta })
    }

    fn kind(
        &mut self,
        header: &tar::Header,
        pax: &Pax,
        extensions: &Extensions,
        name: &[u8],
    ) -> Result<EntryKind> {
        let link = || match (pax.get("linkpath"), &extensions.long_link) {
            (Some(link), _) => link.to_vec(),
            (None, Some(link)) => link.clone(),
            (None, None) => until_nul(&header.as_old().linkname).to_vec(),
        };
        // Only files have data, whatever the size field says.
        match header.as_old().linkflag[0] {
            b'\0' if name.ends_with(b"/") => Ok(EntryKind::Directory),
            b'\0' | b'0' | b'7' | b'S' => self.file(header, pax).map(EntryKind::File),
            b'1' => hard_link_target(&link()).map(EntryKind::HardLink),
            b'2' => symlink_target(link()).map(EntryKind::Symlink),
            b'3' => device(header).map(EntryKind::CharDevice),
            b'4' => device(header).map(EntryKind::BlockDevice),
            b'5' => Ok(EntryKind::Directory),
            b'6' => Ok(EntryKind::Fifo),
            unknown => Err(Error::refused(format!(
                "an entry of the unknown type {:?}",
                char::from(unknown)
            ))),
        }
    }

    fn file(&mut self, header: &tar::Header, pax: &Pax) -> Result<FileShape> {
        let stored = match pax.get("size") {
            Some(text) => number::decimal(text, "size")?,
            None => unsigned(&header.as_old().size, "size")?,
        };
        self.expect_data(stored)?;
        let shape = if header.as_old().linkflag[0] == b'S' {
            let limits = self.limits;
            let blocks = sparse::old_gnu(header, &limits, || self.read_continuation())?;
            Some(blocks)
        } else if pax.is_sparse_1_0() {
            let (real_size, limits) = (pax.real_size()?, self.limits);
            let extents = sparse::map_in_data(&mut self.data(), &limits)?;
            Some((real_size, extents))
        } else if let Some(extents) = pax.sparse_map(&self.limits)? {
            Some((pax.real_size()?, extents))
        } else {
            None
        };
        match shape {
            None => Ok(FileShape {
                size: stored,
                extents: None,
            }),
            Some((size, extents)) => {
                sparse::check(&extents, size, self.unread)?;
                self.logical = self.logical.saturating_add(size);
                self.limits.check_logical(self.logical)?;
                let extents = Some(extents);
                Ok(FileShape { size, extents })
            }
        }
    }

    fn expect_data(&mut self, size: u64) -> Result<()> {
        // No file system holds larger files, and sums of sizes must not overflow.
        if size > i64::MAX as u64 - BLOCK as u64 {
            return Err(Error::refused("the size overflows"));
        }
        self.unread = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// The header of the next member, checked; `None` at the end of the archive.
    fn read_header(&mut self) -> Result<Option<tar::Header>> {
        let is_first = self.position == 0;
        let mut header = tar::Header::new_old();
        let end = !self.read_block(header.as_mut_bytes())?;
        if end || header.as_bytes().iter().all(|&byte| byte == 0) {
            self.ended = true;
            if is_first && !end {
                self.expect_zeros()?;
            }
            return Ok(None);
        }
        let is_tar = header.as_bytes()[257..].starts_with(b"ustar");
        number::check_sum(&header).map_err(|error| match is_first && !is_tar {
            true => not_tar(0, header.as_bytes()),
            false => error,
        })?;
        Ok(Some(header))
    }

    /// A block that continues an old GNU sparse map; it comes before the data.
    fn read_continuation(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        match self.read_block(&mut block)? {
            true => Ok(block),
            false => Err(truncated("inside a sparse map")),
        }
    }

    /// Fills a block; false if the input ends before it.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        match self.fill(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            count if self.position < BLOCK as u64 => Err(too_short(&block[..count])),
            _ => Err(truncated("inside a header")),
        }
    }

    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>> {
        self.limits.check_header(size)?;
        self.expect_data(size)?;
        let mut bytes = vec![0; size as usize];
        self.data()
            .read_exact(&mut bytes)
            .map_err(|error| Error::reading("reading an extension header", error))?;
        self.skip_rest()?;
        Ok(bytes)
    }

    fn read_long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        let bytes = self.read_extension(size)?;
        Ok(until_nul(&bytes).to_vec())
    }

    fn skip_member(&mut self, size: u64) -> Result<()> {
        self.expect_data(size)?;
        self.skip_rest()
    }

    fn skip_rest(&mut self) -> Result<()> {
        if self.unread == 0 && self.padding == 0 {
            return Ok(());
        }
        io::copy(&mut self.data(), &mut io::sink())
            .map_err(|error| Error::reading("reading the archive", error))?;
        let mut zeros = [0; BLOCK];
        let whole = self.padding;
        while self.padding > 0 {
            match self.read_input(&mut zeros[..self.padding as usize])? {
                // umoci 0.4 ends a layer without it (umoci issue 436).
                0 if self.padding == whole => self.padding = 0,
                0 => return Err(truncated("inside the padding of an entry")),
                count => self.padding -= count as u64,
            }
        }
        Ok(())
    }

    fn read_input(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.read_retrying(buffer)
            .map_err(|error| Error::reading("reading the archive", error))
    }

    fn read_retrying(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn truncated(place: &str) -> Error {
    Error::refused(format!("the archive is truncated: it ends {place}"))
        .hint("the blob is incomplete: fetch the image again")
}
