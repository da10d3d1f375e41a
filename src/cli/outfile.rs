//! Where a verb's archive goes: a file, which appears when it is complete, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use lowerdir::Error;
use lowerdir::newfile::NewFile;
use lowerdir::store::check_outside;

use super::interrupt;

const BUFFER: usize = 1 << 20;

/// An output that is open.
pub struct OutFile(Place);

enum Place {
    File(Box<BufWriter<NewFile>>, PathBuf),
    Stdout(BufWriter<File>),
}

/// Whether a path stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

impl OutFile {
    /// Opens what the user named; `-` is standard output. Listens for Ctrl-C.
    pub fn open(path: &Path) -> anyhow::Result<OutFile> {
        interrupt::listen()?;
        Ok(OutFile(match is_stdout(path) {
            true => {
                let file = File::from(rustix::io::dup(io::stdout())?);
                Place::Stdout(BufWriter::with_capacity(BUFFER, file))
            }
            false => {
                check_outside(path, "the output")?;
                let file = BufWriter::with_capacity(BUFFER, NewFile::beside(path)?);
                Place::File(Box::new(file), path.into())
            }
        }))
    }

    /// Gives the file its name.
    pub fn keep(self) -> anyhow::Result<()> {
        match self.0 {
            Place::File(file, path) => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                Ok(file.keep(&path)?)
            }
            Place::Stdout(mut out) => Ok(out.flush()?),
        }
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Place::File(file, _) => file.write(bytes),
            Place::Stdout(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Place::File(file, _) => file.flush(),
            Place::Stdout(out) => out.flush(),
        }
    }
}

/// Passes on what is written until the user gives up.
pub struct Stoppable<W>(pub W);

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match interrupt::received() {
            Some(_) => Err(Error::cancelled().into()),
            None => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
