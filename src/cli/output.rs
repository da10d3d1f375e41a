//! What goes to standard output: results, as they are or as JSON.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lowerdir::{Error, Result};
use rustix::io::Errno;
use serde::Serialize;

/// Prints lines of any bytes.
pub fn lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    print(|out| {
        for line in lines {
            out.write_all(line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// Prints one JSON object on a line.
pub fn json(value: &impl Serialize) -> Result<()> {
    print(|out| {
        serde_json::to_writer(&mut *out, value)?;
        out.write_all(b"\n")
    })
}

/// A path in JSON: as it is, or with what is not UTF-8 as `\xff`.
pub fn text(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.into(),
        None => lowerdir::path::display(path.as_os_str().as_bytes()).to_string(),
    }
}

/// Whether an error only says that nobody reads our output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let number = error.downcast_ref::<Error>().and_then(Error::raw_os_error);
    number == Some(Errno::PIPE.raw_os_error())
}

/// Prints a text that has its own line ends.
pub fn bytes(text: &[u8]) -> Result<()> {
    print(|out| out.write_all(text))
}

fn print(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<()> {
    let mut out = io::stdout().lock();
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Error::system("writing to standard output", error))
}
