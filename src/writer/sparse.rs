//! The map of a sparse file, format 1.0: decimal lines before the data, filled up to a block. Pure.

use crate::archive::{Extent, FileShape};
use crate::error::{Error, Result};

use super::BLOCK;

/// The map of a file, if it has holes. Errors: parts out of order, or past the file's end.
pub fn map(shape: &FileShape) -> Result<Option<Vec<u8>>> {
    let Some(extents) = &shape.extents else {
        return Ok(None);
    };
    check(extents, shape.size)?;
    let mut extents = extents.clone();
    let end = extents.last().map_or(0, |last| last.offset + last.length);
    // GNU tar takes the size from it.
    if end < shape.size {
        extents.push(Extent {
            offset: shape.size,
            length: 0,
        });
    }
    let mut map = format!("{}\n", extents.len());
    for extent in extents {
        map += &format!("{}\n{}\n", extent.offset, extent.length);
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    Ok(Some(map))
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
