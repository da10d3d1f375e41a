//! What goes to standard output: results, as they are or as JSON.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

/// Prints lines of any bytes.
pub fn lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Prints one JSON object on a line.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
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
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints a text that has its own line ends.
pub fn bytes(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}
