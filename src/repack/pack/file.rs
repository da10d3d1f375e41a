//! The content of a file, and where its holes are.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tar::archive::{Extent, FileShape};

const BUFFER: usize = 256 * 1024;

/// The size of a file, and its parts if it has holes.
pub fn shape(file: &File, fill_holes: bool) -> io::Result<FileShape> {
    let size = file.metadata()?.len();
    let extents = match fill_holes {
        true => None,
        false => extents(file, size)?,
    };
    Ok(FileShape { size, extents })
}

/// `None` for a file without holes, or with more parts than readers take.
fn extents(file: &File, size: u64) -> io::Result<Option<Vec<Extent>>> {
    let mut extents = Vec::new();
    let mut offset = 0;
    while offset < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start.min(size),
            // There is no data behind this.
            Err(Errno::NXIO) => size,
            // Not every file system knows.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if start < size {
            let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
            let length = end - start;
            extents.push(Extent {
                offset: start,
                length,
            });
            offset = end;
        } else {
            offset = size;
        }
    }
    let stored: u64 = extents.iter().map(|extent| extent.length).sum();
    let readable = extents.len() < Limits::default().extents;
    Ok((stored < size && readable).then_some(extents))
}

/// Writes what a file stores; the error says which side failed. A file that became shorter gives less, which the archive notices.
pub fn copy(file: &File, shape: &FileShape, out: &mut impl Write) -> Result<u64> {
    let reading = |error| Error::io("reading it", error);
    let writing = |error| Error::io("writing its content", error);
    let whole = [Extent {
        offset: 0,
        length: shape.size,
    }];
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    for extent in shape.extents.as_deref().unwrap_or(&whole) {
        let (mut offset, end) = (extent.offset, extent.offset + extent.length);
        while offset < end {
            let most = usize::try_from(end - offset).map_or(BUFFER, |most| most.min(BUFFER));
            let count = file.read_at(&mut buffer[..most], offset).map_err(reading)?;
            if count == 0 {
                return Ok(copied);
            }
            out.write_all(&buffer[..count]).map_err(writing)?;
            offset += count as u64;
            copied += count as u64;
        }
    }
    Ok(copied)
}
