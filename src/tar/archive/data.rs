//! The stored bytes of an entry: read, taken in pieces without a copy, or skipped. If the archive ends
//! before them, it is damaged.

use std::io::{self, Read, Seek, SeekFrom};

use crate::chunk::{Chunks, Piece};
use crate::error::{Error, Result};

use super::{Archive, truncated};

impl Archive<Chunks<'_>> {
    /// The next stored bytes of the current entry, without a copy: at most `most`, and none at the end.
    pub fn piece(&mut self, most: u64) -> Result<Piece> {
        let most = usize::try_from(most.min(self.unread)).unwrap_or(usize::MAX);
        if most == 0 {
            return Ok(Piece::default());
        }
        let piece = self.reader.piece(most);
        let piece = piece.map_err(|error| Error::reading("reading its data", error))?;
        if piece.is_empty() {
            return Err(truncated("inside the data of an entry"));
        }
        self.unread -= piece.len() as u64;
        self.position += piece.len() as u64;
        Ok(piece)
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Seeks past the data of the current entry. The caller checks that the input is long enough.
    pub fn seek_past_data(&mut self) -> Result<()> {
        let distance = self.unread + self.padding;
        self.reader
            .seek(SeekFrom::Current(distance as i64))
            .map_err(|error| Error::system("seeking in the archive", error))?;
        self.position += distance;
        (self.unread, self.padding) = (0, 0);
        Ok(())
    }
}

/// Reads the stored bytes of one entry, and fails if the archive ends before them.
pub struct Data<'a, R> {
    pub(super) archive: &'a mut Archive<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let unread = self.archive.unread;
        let most = buffer
            .len()
            .min(usize::try_from(unread).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.archive.read_retrying(&mut buffer[..most])?;
        if count == 0 {
            return Err(truncated("inside the data of an entry").into());
        }
        self.archive.unread -= count as u64;
        Ok(count)
    }
}
