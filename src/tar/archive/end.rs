//! Where an archive ends, and where what is read is none (rule T1).
//!
//! Behind its end mark an archive may have anything: writers fill up to a record, and some leave
//! garbage. But a file system image begins with zeros too, and would be an empty archive: so an
//! end mark in the very first block must have nothing but zeros behind it.

use std::io::Read;

use crate::error::{Error, Result};
use crate::magic;

use super::{Archive, BLOCK};

const BUFFER: usize = 128 * BLOCK;

impl<R: Read> Archive<R> {
    /// Reads the input to its last byte, also what is behind the end of the archive, and gives the
    /// reader back: a compression keeps its checksums there.
    ///
    /// Errors: what is wrong there.
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

/// The error about an input that has these bytes at this offset, where an archive has others.
pub fn not_tar(offset: u64, window: &[u8]) -> Error {
    let Some(found) = magic::find(offset, window) else {
        return Error::refused(match offset {
            0 => "this is not a tar archive, or its first header is damaged".into(),
            _ => format!(
                "this is not a tar archive: it begins with zeros, as an empty one does, \
                 and has other bytes at {offset}"
            ),
        });
    };
    let error = Error::refused(format!("this is not a tar archive: it is {}", found.name));
    match found.undo {
        Some(command) => error.hint(format!("undo that first: `{command} FILE`")),
        None if found.is_text() => error
            .hint("a server may have sent that instead of the blob: read it, and fetch it again"),
        None => error,
    }
}

/// The error about an input that is shorter than a header.
pub fn too_short(bytes: &[u8]) -> Error {
    match magic::find(0, bytes) {
        Some(_) => not_tar(0, bytes),
        None => Error::refused("this is not a tar archive: it is too short"),
    }
}
