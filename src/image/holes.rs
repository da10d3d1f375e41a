//! `Holes`: reads a sparse member of an image archive.
//!
//! [`super::blob`] makes one from extents that [`crate::tar::archive`] has checked: in order, inside the
//! file, and as long as the stored bytes. Only the extents are held in memory.

use std::io::{self, Read};
use std::sync::Arc;

use crate::tar::archive::Extent;

use super::BlobReader;

/// The stored bytes at their offsets, with zeros between them.
#[derive(Debug)]
pub struct Holes {
    stored: Box<BlobReader>,
    extents: Arc<[Extent]>,
    /// The current or next extent.
    index: usize,
    position: u64,
    length: u64,
}

impl Holes {
    /// A reader from the start.
    pub fn new(stored: BlobReader, extents: Arc<[Extent]>, length: u64) -> Holes {
        Holes {
            stored: Box::new(stored),
            extents,
            index: 0,
            position: 0,
            length,
        }
    }

    /// Whether data or zeros come next, and how many bytes of them.
    fn next_run(&mut self) -> (bool, u64) {
        let is_over = |extent: &Extent, position| extent.offset + extent.length <= position;
        while let Some(extent) = self.extents.get(self.index)
            && is_over(extent, self.position)
        {
            self.index += 1;
        }
        match self.extents.get(self.index) {
            Some(extent) if extent.offset <= self.position => {
                (true, extent.offset + extent.length - self.position)
            }
            Some(extent) => (false, extent.offset - self.position),
            None => (false, self.length - self.position),
        }
    }
}

impl Read for Holes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (is_data, count) = self.next_run();
        let most = usize::try_from(count).map_or(buffer.len(), |count| count.min(buffer.len()));
        let buffer = &mut buffer[..most];
        let count = match is_data && most > 0 {
            true => match self.stored.read(buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => count,
            },
            false => {
                buffer.fill(0);
                most
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}
