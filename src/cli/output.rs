//! Standard output: results, as text or as JSON.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use crate::escape::is_control;
use crate::{Error, Result};
use rustix::io::Errno;
use serde::Serialize;

/// Prints lines, which may hold any bytes.
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
    print(|out| json_line(out, value))
}

/// Writes one JSON object on a line.
pub fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    let line = printable_json(&text).into_owned() + "\n";
    // In one call, so that the lines of several threads do not mix.
    out.write_all(line.as_bytes())
}

/// JSON with every character escaped that a terminal acts on: JSON itself requires that of control
/// characters in ASCII alone. They can only occur in strings.
fn printable_json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return text.into();
    }
    let escaped = |character: char| match is_control(character) {
        true => format!("\\u{:04x}", u32::from(character)),
        false => character.into(),
    };
    text.chars().map(escaped).collect::<String>().into()
}

/// Whether an error only means that the reader of our output is gone.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let number = error.downcast_ref::<Error>().and_then(Error::raw_os_error);
    number == Some(Errno::PIPE.raw_os_error())
}

/// Prints a text that has its own line ends.
pub fn bytes(text: &[u8]) -> Result<()> {
    print(|out| out.write_all(text))
}

/// Standard output with a buffer, for verbs whose lines are many. Its errors say that it is standard output.
pub fn buffered() -> BufWriter<Stdout> {
    BufWriter::new(Stdout(io::stdout().lock()))
}

/// Standard output, whose errors are errors of the library.
pub struct Stdout(io::StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

/// `Interrupted` stays what it is: a writer tries again.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted => error,
        _ => io::Error::other(Error::system("writing to standard output", error)),
    }
}

fn print(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<()> {
    let mut out = io::stdout().lock();
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Error::system("writing to standard output", error))
}
