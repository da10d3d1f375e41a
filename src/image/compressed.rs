//! `Compressed`: random access to an archive that is compressed as a whole, without a copy. A reader
//! decodes forward from the start; its decoder is kept, so that the next reader can continue from there.
//!
//! [`super::archive`] finds the members of such an archive, [`super::blob`] reads them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use crate::compress::codec::Decoder;
use crate::error::Result;

/// A compressed file.
#[derive(Debug)]
pub struct Compressed {
    file: Arc<File>,
    idle: Mutex<Vec<Running>>,
}

/// A decoder and its position in the file.
struct Running {
    decoder: Decoder<FromStart>,
    /// How many uncompressed bytes it has returned.
    position: u64,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Reads a file by position, so that several readers can share it.
#[derive(Debug)]
struct FromStart {
    file: Arc<File>,
    position: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Compressed {
    /// Wraps a regular file.
    pub fn new(file: File) -> Compressed {
        Compressed {
            file: Arc::new(file),
            idle: Mutex::default(),
        }
    }

    /// Reads from the start. Errors: those of [`Decoder::open`].
    pub fn read(&self) -> Result<impl Read + use<>> {
        self.start()
    }

    /// A reader of a range of the uncompressed bytes.
    pub fn part(self: &Arc<Self>, offset: u64, length: u64) -> Part {
        Part {
            source: Arc::clone(self),
            running: None,
            offset,
            length,
        }
    }

    fn start(&self) -> Result<Running> {
        let file = FromStart {
            file: Arc::clone(&self.file),
            position: 0,
        };
        Ok(Running {
            decoder: Decoder::open(file)?,
            position: 0,
        })
    }

    /// A decoder positioned at an offset, from the idle one that is closest before it.
    fn at(&self, offset: u64) -> io::Result<Running> {
        let nearest = {
            let mut idle = self.idle.lock().expect("no panic while it is locked");
            let nearest = (0..idle.len())
                .filter(|&index| idle[index].position <= offset)
                .max_by_key(|&index| idle[index].position);
            nearest.map(|index| idle.swap_remove(index))
        };
        let mut running = nearest.map_or_else(|| self.start(), Ok)?;
        let distance = offset - running.position;
        let passed = io::copy(&mut (&mut running).take(distance), &mut io::sink())?;
        match passed == distance {
            true => Ok(running),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// See [`Compressed::part`].
#[derive(Debug)]
pub struct Part {
    source: Arc<Compressed>,
    running: Option<Running>,
    offset: u64,
    length: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let running = match &mut self.running {
            Some(running) => running,
            None => self.running.insert(self.source.at(self.offset)?),
        };
        let read = running.position - self.offset;
        let most = usize::try_from(self.length - read).unwrap_or(usize::MAX);
        let most = buffer.len().min(most);
        let result = running.read(&mut buffer[..most]);
        if result.is_err() {
            // Its position is unknown after an error.
            self.running = None;
        }
        result
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let mut idle = self
                .source
                .idle
                .lock()
                .expect("no panic while it is locked");
            idle.push(running);
        }
    }
}
