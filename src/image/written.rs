//! `Written`: an archive that is written anew each time it is read, for a layer that is kept in another form.
//!
//! A thread writes it, and the reader takes the pieces from a channel: nothing is spooled. Used by
//! [`super::blob`] alone.

use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use crate::error::{Error, Operation, Result};
use crate::threads::caught;

/// So many pieces wait for the reader at most.
const PIECES: usize = 4;
/// The size of a piece in bytes.
const PIECE: usize = 256 << 10;

type WriteAll = dyn Fn(&mut dyn Write) -> Result<()> + Send + Sync;

/// What writes the archive: the same bytes each time.
#[derive(Clone)]
pub struct Written(Arc<WriteAll>);

impl Written {
    pub fn new(write: impl Fn(&mut dyn Write) -> Result<()> + Send + Sync + 'static) -> Written {
        Written(Arc::new(write))
    }

    /// A reader from the start. Nothing is written before it is first read.
    pub fn open(&self) -> Pieces {
        Pieces(State::New(self.clone()))
    }

    fn start(&self) -> Result<Receiver<io::Result<Vec<u8>>>> {
        let (to, pieces) = sync_channel(PIECES);
        let write = Arc::clone(&self.0);
        let work = move || {
            let mut out = BufWriter::with_capacity(PIECE, Sender(&to));
            let written = caught("archive", || {
                write(&mut out)?;
                let flushed = out.flush();
                flushed.map_err(|error| Error::reading("passing on the archive", error))
            });
            // Without its content: the reader gets the error instead.
            drop(out.into_parts());
            if let Err(error) = written {
                // A reader that is gone does not want to know.
                let _ = to.send(Err(error.into()));
            }
        };
        let started = Builder::new().name("archive".into()).spawn(work);
        let failed = |error| {
            let doing = "starting a thread to write an archive";
            Error::system(doing, error).during(Operation::StartThread)
        };
        started.map(|_| pieces).map_err(failed)
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Written")
    }
}

/// Fails once nobody reads any more.
struct Sender<'a>(&'a SyncSender<io::Result<Vec<u8>>>);

impl Write for Sender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(Ok(bytes.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what a [`Written`] writes.
#[derive(Debug)]
pub struct Pieces(State);

#[derive(Debug)]
enum State {
    New(Written),
    Reading {
        pieces: Receiver<io::Result<Vec<u8>>>,
        piece: Vec<u8>,
        /// So much of the piece was read.
        taken: usize,
    },
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.0 {
                State::New(written) => {
                    let pieces = written.start()?;
                    let (piece, taken) = (Vec::new(), 0);
                    self.0 = State::Reading {
                        pieces,
                        piece,
                        taken,
                    };
                }
                State::Reading {
                    pieces,
                    piece,
                    taken,
                } => {
                    let count = (&piece[*taken..]).read(buffer)?;
                    *taken += count;
                    if count > 0 || buffer.is_empty() {
                        return Ok(count);
                    }
                    match pieces.recv() {
                        Ok(next) => (*piece, *taken) = (next?, 0),
                        Err(_) => return Ok(0),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn it_is_written_for_each_reader() {
        let bytes: Vec<u8> = (0..3 * PIECE + 7).map(|at| (at % 251) as u8).collect();
        let all = bytes.clone();
        let written = Written::new(move |out| {
            out.write_all(&all).expect("it is read");
            Ok(())
        });
        for _ in 0..2 {
            let mut read = Vec::new();
            written.open().read_to_end(&mut read).unwrap();
            assert!(read == bytes);
        }
        // A reader that leaves early ends its writer, which fails.
        let mut some = [0; 5];
        written.open().read_exact(&mut some).unwrap();
        assert_eq!(some, bytes[..5]);
    }

    #[test]
    fn an_error_of_the_writer_is_the_reader_s() {
        let written = Written::new(|out| {
            out.write_all(b"begun").unwrap();
            Err(Error::conflict("it changed"))
        });
        let error = written.open().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(Error::reading("reading", error).kind(), Kind::Conflict);
    }

    #[test]
    fn a_panic_of_the_writer_is_an_error() {
        let written = Written::new(|_| panic!("on purpose"));
        let error = written.open().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(Error::reading("reading", error).kind(), Kind::Internal);
    }
}
