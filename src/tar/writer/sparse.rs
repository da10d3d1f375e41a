//! Sparse files in format 1.0: a map of decimal lines, padded to a block, then the data of the extents.
//! Pure. Called by the writer alone.
//!
//! GNU tar starts the data of each extent at a block, while Go, libarchive and Python read the extents
//! back to back. They agree if every extent but the last fills whole blocks, as in archives of GNU tar
//! itself. So extents are widened to blocks here, with zeros.

use std::collections::VecDeque;

use crate::error::{Error, Result};
use crate::tar::archive::{Extent, FileShape};

use super::BLOCK;

/// A file's data in the archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SparseBody {
    /// The map before the data.
    pub map: Vec<u8>,
    /// Its stored bytes, and the zeros between them.
    pub runs: VecDeque<SparseRun>,
}

/// A number of zeros, then a number of bytes of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SparseRun {
    pub zeros: usize,
    pub data: u64,
}

impl SparseBody {
    /// Errors: extents out of order, or beyond the file's end.
    pub fn of(shape: &FileShape) -> Result<SparseBody> {
        let Some(extents) = &shape.extents else {
            let (zeros, data) = (0, shape.size);
            return Ok(SparseBody {
                map: Vec::new(),
                runs: VecDeque::from([SparseRun { zeros, data }]),
            });
        };
        check(extents, shape.size)?;
        let parts: Vec<&Extent> = extents.iter().filter(|extent| extent.length > 0).collect();
        let wide = widened(&parts, shape.size);
        Ok(SparseBody {
            runs: runs(&parts, &wide),
            map: map(wide, shape.size),
        })
    }

    /// How many bytes of data follow the map.
    pub fn len(&self) -> u64 {
        self.runs
            .iter()
            .map(|run| run.zeros as u64 + run.data)
            .sum()
    }
}

/// The extents widened to whole blocks and merged if they touch; the last ends with the file.
fn widened(parts: &[&Extent], size: u64) -> Vec<Extent> {
    let block = BLOCK as u64;
    let mut wide: Vec<Extent> = Vec::new();
    for part in parts {
        let offset = part.offset / block * block;
        let end = (part.offset + part.length)
            .checked_next_multiple_of(block)
            .map_or(size, |end| end.min(size));
        match wide.last_mut() {
            Some(last) if offset <= last.offset + last.length => last.length = end - last.offset,
            _ => wide.push(Extent {
                offset,
                length: end - offset,
            }),
        }
    }
    wide
}

/// Less than two blocks of zeros each.
fn runs(parts: &[&Extent], wide: &[Extent]) -> VecDeque<SparseRun> {
    let mut runs = VecDeque::new();
    let mut parts = parts.iter().peekable();
    for Extent { offset, length } in wide {
        let (mut at, end) = (*offset, offset + length);
        while let Some(part) = parts.next_if(|part| part.offset < end) {
            let (zeros, data) = ((part.offset - at) as usize, part.length);
            runs.push_back(SparseRun { zeros, data });
            at = part.offset + part.length;
        }
        let (zeros, data) = ((end - at) as usize, 0);
        runs.push_back(SparseRun { zeros, data });
    }
    runs
}

fn map(mut extents: Vec<Extent>, size: u64) -> Vec<u8> {
    let end = extents.last().map_or(0, |last| last.offset + last.length);
    // GNU tar takes the file's size from the map.
    if end < size {
        let (offset, length) = (size, 0);
        extents.push(Extent { offset, length });
    }
    let mut map = format!("{}\n", extents.len());
    for extent in extents {
        map += &format!("{}\n{}\n", extent.offset, extent.length);
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

fn check(extents: &[Extent], size: u64) -> Result<()> {
    let mut end = 0;
    for extent in extents {
        let next = extent.offset.checked_add(extent.length);
        match next {
            Some(next) if extent.offset >= end && next <= size => end = next,
            _ => return Err(Error::refused("a sparse map that does not fit its file")),
        }
    }
    Ok(())
}
