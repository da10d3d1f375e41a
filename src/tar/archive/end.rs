//! The end of an archive, and input that is not an archive (rule T1).
//!
//! Anything may follow the end mark of an archive: writers pad to a full record, and some leave
//! garbage. But file system images begin with zeros too, and would pass for empty archives. So if the
//! very first block is an end mark, only zeros may follow.

use std::io::Read;

use crate::error::{Error, Result};
use crate::magic;

use super::{Archive, BLOCK};

const BUFFER: usize = 128 * BLOCK;

impl<R: Read> Archive<R> {
    /// Reads the input to its last byte, beyond the end of the archive, because compressions keep their
    /// checksums there. Returns the reader.
    ///
    /// Errors: damage there.
    pub fn finish(mut self) -> Result<R> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.read_retrying(&mut buffer) {
                Ok(0) => return Ok(self.reader),
                Ok(_) => {}
                Err(error) => return Err(Error::reading("reading the blob to its end", error)),
            }
        }
    }

    /// Reads to the end of an input whose first block is all zeros. Errors: a byte that is not zero.
    pub(super) fn expect_zeros(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let start = self.position;
            let count = self.fill(&mut buffer)?;
            let bytes = &buffer[..count];
            if let Some(at) = bytes.iter().position(|&byte| byte != 0) {
                let block = at / BLOCK * BLOCK;
                return Err(not_tar(start + block as u64, &bytes[block..]));
            }
            if count < BUFFER {
                return Ok(());
            }
        }
    }

    /// Fills a buffer, up to the end of the input.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_input(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }
}

/// The error for an input whose bytes at this offset are not those of an archive.
pub fn not_tar(offset: u64, window: &[u8]) -> Error {
    let Some(found) = magic::find(offset, window) else {
        return Error::refused(match offset {
            0 => "this is not a tar archive, or its first header is damaged".into(),
            _ => format!(
                "this is not a tar archive: it begins with zeros, like an empty one, \
                 but has other bytes at {offset}"
            ),
        });
    };
    let error = Error::refused(format!("this is not a tar archive: it is {}", found.name));
    match found.undo {
        Some(command) => error.hint(format!("decode it first: `{command} FILE`")),
        None if found.is_text() => error.hint(
            "a server may have sent this instead of the blob: read it, then fetch the blob again",
        ),
        None => error,
    }
}

/// The error for an input that is shorter than a header.
pub fn too_short(bytes: &[u8]) -> Error {
    match magic::find(0, bytes) {
        Some(_) => not_tar(0, bytes),
        None => Error::refused("this is not a tar archive: it is too short"),
    }
}
