//! What goes to standard output: results, as they are or as JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{Error, Result};
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
    let text = serde_json::to_string(value)
        .map_err(|error| Error::system("writing JSON", io::Error::from(error)))?;
    let line = printable_json(&text).into_owned() + "\n";
    print(|out| out.write_all(line.as_bytes()))
}

/// JSON in which no control character is as it is: those beyond ASCII are orders to some terminals,
/// and JSON lets them stand. They can only be in strings.
pub fn printable_json(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let escaped = |character: char| match character.is_control() {
        true => format!("\\u{:04x}", u32::from(character)),
        false => character.into(),
    };
    text.chars().map(escaped).collect::<String>().into()
}

/// A path in JSON: as it is, or with what is not UTF-8 as `\xff`.
pub fn text(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.into(),
        None => crate::path::display(path.as_os_str().as_bytes()).to_string(),
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
