//! `copy`: like `std::io::copy`, but the error says which side failed. A full disk is not damage in
//! the image.
//!
//! Whoever passes the bytes of a blob or of a file on calls it.

use std::io::{self, Read, Write};

use crate::error::{Error, Result};

const BUFFER: usize = 32 * 1024;

/// Copies to the end of the reader, and returns how many bytes that were. `reading` and `writing` make
/// the error of their side.
pub fn copy(
    reader: &mut (impl Read + ?Sized),
    writer: &mut (impl Write + ?Sized),
    reading: impl Fn(io::Error) -> Error,
    writing: impl Fn(io::Error) -> Error,
) -> Result<u64> {
    let mut buffer = [0; BUFFER];
    let mut copied = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                writer.write_all(&buffer[..count]).map_err(&writing)?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(reading(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// Fails without a number of the system's, as wrappers of files do.
    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no number"))
        }
    }

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no number"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn kind(reader: &mut dyn Read, writer: &mut dyn Write) -> Kind {
        let reading = |error| Error::reading("reading", error);
        let writing = |error| Error::io("writing", error);
        copy(reader, writer, reading, writing)
            .expect_err("it fails")
            .kind()
    }

    #[test]
    fn only_the_reader_can_be_damaged() {
        assert_eq!(kind(&mut Failing, &mut Vec::new()), Kind::Refused);
        assert_eq!(kind(&mut &b"x"[..], &mut Failing), Kind::System);
    }
}
