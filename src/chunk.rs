//! `Chunks`: the bytes of a layer in shared pieces, so that one thread can hash what another writes,
//! without a copy.
//!
//! [`crate::store::pipeline`] fills them, [`crate::tar::archive`] reads them, and [`crate::unpack`] writes
//! them to files. None of them trusts the content.

use std::io::{self, Read};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The size of every chunk but the last, in bytes: small enough for a core's cache.
pub const CHUNK: usize = 256 * 1024;

/// Shared, immutable bytes.
pub type Chunk = Arc<Buffer>;

/// The bytes of a [`Chunk`]. The last user returns the memory to the pool.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

/// Reused memory for chunks: fresh memory costs more than reading into it.
#[derive(Clone, Debug, Default)]
pub struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// The next chunk of a reader, or `None` at its end.
    pub fn next<R: Read>(&self, reader: &mut Filling<R>) -> io::Result<Option<Chunk>> {
        let mut bytes = self.free().pop().unwrap_or_default();
        bytes.resize(CHUNK, 0);
        let count = reader.read(&mut bytes)?;
        bytes.truncate(count);
        let pool = self.clone();
        Ok((!bytes.is_empty()).then(|| Arc::new(Buffer { bytes, pool })))
    }

    fn put(&self, bytes: Vec<u8>) {
        if bytes.capacity() >= CHUNK {
            self.free().push(bytes);
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a chunk.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    chunk: Chunk,
    start: usize,
    end: usize,
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk[self.start..self.end]
    }
}

impl Piece {
    /// All of a chunk.
    pub fn of_all(chunk: Chunk) -> Piece {
        let (start, end) = (0, chunk.len());
        Piece { chunk, start, end }
    }

    /// Takes up to this many bytes from its front.
    pub fn take(&mut self, most: usize) -> Piece {
        let end = self.start + most.min(self.len());
        let taken = Piece {
            chunk: Arc::clone(&self.chunk),
            start: self.start,
            end,
        };
        self.start = end;
        taken
    }
}

/// Returns the next chunk, which is not empty, or `None` at the end.
pub type NextChunk<'a> = Box<dyn FnMut() -> io::Result<Option<Chunk>> + 'a>;

/// Reads bytes that come in chunks.
pub struct Chunks<'a> {
    next: NextChunk<'a>,
    left: Piece,
}

impl<'a> Chunks<'a> {
    /// Reads the chunks from `next`.
    pub fn new(next: NextChunk<'a>) -> Chunks<'a> {
        let left = Piece::default();
        Chunks { next, left }
    }

    /// Reads from a reader, on the calling thread.
    pub fn of_reader(reader: impl Read + 'a) -> Chunks<'a> {
        let (pool, mut reader) = (Pool::default(), Filling::new(reader));
        Chunks::new(Box::new(move || pool.next(&mut reader)))
    }

    /// The next bytes, at most so many; none at the end.
    pub fn piece(&mut self, most: usize) -> io::Result<Piece> {
        self.look()?;
        Ok(self.left.take(most))
    }

    /// The bytes that come next, at least one but at the end.
    fn look(&mut self) -> io::Result<&[u8]> {
        if self.left.is_empty() {
            // Its memory may be reused for the next chunk.
            self.left = Piece::default();
            if let Some(chunk) = (self.next)()? {
                self.left = Piece::of_all(chunk);
            }
        }
        Ok(&self.left)
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.look()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.left.start += count;
        Ok(count)
    }
}

/// Reads until the buffer is full or the input ends: a pipe may give less, down to one byte.
pub struct Filling<R> {
    reader: R,
    /// An error of the reader after some bytes, because it may not return it again.
    failed: Option<io::Error>,
}

impl<R> Filling<R> {
    /// Wraps a reader.
    pub fn new(reader: R) -> Filling<R> {
        let failed = None;
        Filling { reader, failed }
    }

    /// The reader.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }

    /// The reader, mutable.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reader
    }

    /// Returns the reader, wherever it is.
    pub fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: Read> Read for Filling<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() && self.failed.is_none() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failed = Some(error),
            }
        }
        match self.failed.take_if(|_| filled == 0) {
            Some(error) => Err(error),
            None => Ok(filled),
        }
    }
}
