//! Sparse files: which parts of a file an archive stores, in the four forms that GNU tar wrote.
//!
//! Source: GNU tar manual, "Storing Sparse Files". A map is checked before it is used: in order,
//! without overlap, inside the file, and as long as the stored data.

use std::io::Read;

use crate::error::{Error, Result};
use crate::limits::Limits;

use super::number;

const PAIR: usize = 24;

/// A part of a file that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its offset in the file.
    pub offset: u64,
    /// Its length in bytes; may be 0, at the end of a file that ends with a hole.
    pub length: u64,
}

/// Extents from alternating offsets and lengths.
pub fn pairs(numbers: &[u64], limits: &Limits) -> Result<Vec<Extent>> {
    limits.check_extents((numbers.len() / 2).saturating_sub(1))?;
    match numbers.len() % 2 {
        0 => Ok(numbers
            .chunks_exact(2)
            .map(|pair| Extent {
                offset: pair[0],
                length: pair[1],
            })
            .collect()),
        _ => Err(Error::refused("a sparse map with a part left over")),
    }
}

/// Checks a map against the file's size and the number of stored bytes.
pub fn check(extents: &[Extent], size: u64, stored: u64) -> Result<()> {
    let refuse = |why: &str| Err(Error::refused(format!("a sparse map {why}")));
    let (mut end, mut total) = (0, 0u64);
    for extent in extents {
        if extent.offset < end {
            return refuse("out of order");
        }
        end = match extent.offset.checked_add(extent.length) {
            Some(end) if end <= size => end,
            _ => return refuse("that reaches past the file's size"),
        };
        total += extent.length;
    }
    if size > i64::MAX as u64 {
        return refuse("of a file whose size overflows");
    }
    match total == stored {
        true => Ok(()),
        false => refuse("that does not cover the stored data"),
    }
}

/// Old GNU format: four pairs in the header, 21 in each block that continues it.
pub fn old_gnu(
    header: &tar::Header,
    limits: &Limits,
    mut next_block: impl FnMut() -> Result<[u8; 512]>,
) -> Result<(u64, Vec<Extent>)> {
    let bytes = header.as_bytes();
    if &bytes[257..263] != b"ustar " {
        // star uses the same type with another layout.
        return Err(Error::refused(
            "a sparse file in a header that is not GNU tar's",
        ));
    }
    let mut extents = Vec::new();
    let mut is_full = push_pairs(&mut extents, &bytes[386..482], limits)?;
    let mut goes_on = bytes[482] != 0;
    while goes_on {
        // GNU tar would read the next block as data, and Go as more of the map.
        if !is_full {
            return Err(Error::refused("a sparse map that goes on after its end"));
        }
        let block = next_block()?;
        is_full = push_pairs(&mut extents, &block[..504], limits)?;
        goes_on = block[504] != 0;
    }
    let size = number::field(&bytes[483..495], "real size")?;
    let size = u64::try_from(size).map_err(|_| Error::refused("a sparse file of negative size"))?;
    Ok((size, extents))
}

/// Adds pairs up to the first empty one; false if the map ended there.
fn push_pairs(extents: &mut Vec<Extent>, table: &[u8], limits: &Limits) -> Result<bool> {
    for pair in table.chunks_exact(PAIR) {
        if pair.iter().all(|&byte| byte == 0) {
            return Ok(false);
        }
        let part = |field: &[u8]| {
            let value = number::field(field, "sparse map")?;
            u64::try_from(value).map_err(|_| Error::refused("a negative number in a sparse map"))
        };
        limits.check_extents(extents.len())?;
        extents.push(Extent {
            offset: part(&pair[..12])?,
            length: part(&pair[12..])?,
        });
    }
    Ok(true)
}

/// Format 1.0: decimal lines at the start of the data, padded to a block.
pub fn map_in_data(data: &mut impl Read, limits: &Limits) -> Result<Vec<Extent>> {
    let mut lines = Lines {
        data,
        block: [0; 512],
        next: 512,
    };
    let count = lines.number()?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut extents = Vec::new();
    for _ in 0..count {
        limits.check_extents(extents.len())?;
        extents.push(Extent {
            offset: lines.number()?,
            length: lines.number()?,
        });
    }
    Ok(extents)
}

struct Lines<'a, R> {
    data: &'a mut R,
    block: [u8; 512],
    next: usize,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return number::decimal(&digits, "sparse map"),
                // A 64-bit number has at most 20 digits.
                _ if digits.len() == 20 => return Err(Error::refused("a damaged sparse map")),
                digit => digits.push(digit),
            }
        }
    }

    fn byte(&mut self) -> Result<u8> {
        if self.next == self.block.len() {
            self.data
                .read_exact(&mut self.block)
                .map_err(|error| Error::reading("reading a sparse map", error))?;
            self.next = 0;
        }
        self.next += 1;
        Ok(self.block[self.next - 1])
    }
}
