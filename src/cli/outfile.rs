//! Where a verb's archive or page goes: a file, which appears when it is complete; a device or a
//! FIFO, which is written into; or standard output. Every verb that writes a file uses this.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::error::Operation;
use crate::fs::atomic_file::{AtomicFile, Output, check_not_within};
use crate::store::check_outside;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::interrupt;
use super::usage::usage;

const BUFFER: usize = 1 << 20;
/// How often to poll a FIFO without a reader, and to check for Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(50);
/// The descriptors that `std` opens.
const STDOUT: u32 = 1;

/// An output that is open.
pub struct OutFile {
    to: BufWriter<To>,
    /// For errors.
    shown: String,
}

/// The destination, unbuffered.
enum To {
    File(AtomicFile, PathBuf),
    Stream(File),
}

/// The inputs, which the output must not overwrite.
#[derive(Default)]
pub struct Inputs<'a> {
    /// The archive.
    pub file: Option<&'a File>,
    /// Directories.
    pub trees: Vec<&'a Path>,
}

/// Whether a path means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || matches!(Output::at(path), Ok(Output::Descriptor(STDOUT)))
}

impl OutFile {
    /// Opens the output that the user named; `-` is standard output. Installs the signal handlers.
    /// Errors: it is an input, or in one; it is in a store; it is a terminal, and `instead` says what to
    /// type.
    pub fn open(path: &Path, inputs: &Inputs<'_>, instead: &str) -> anyhow::Result<OutFile> {
        interrupt::listen()?;
        let to = match path == Path::new("-") {
            true => To::Stream(stdout(inputs)?),
            false => To::open(path, inputs)?,
        };
        if let To::Stream(file) = &to {
            refuse_terminal(file, instead)?;
        }
        let shown = match is_stdout(path) {
            true => "standard output".into(),
            false => path.display().to_string(),
        };
        let to = BufWriter::with_capacity(BUFFER, to);
        Ok(OutFile { to, shown })
    }

    /// Finishes the output: a file gets its name.
    pub fn keep(self) -> anyhow::Result<()> {
        let shown = self.shown;
        let failed = |error| failed(&shown, error);
        let to = self.to.into_inner();
        match to.map_err(|error| failed(error.into_error()))? {
            To::File(file, path) => Ok(file.keep(&path)?),
            To::Stream(file) => {
                if file.metadata()?.file_type().is_block_device() {
                    file.sync_all().map_err(failed)?;
                }
                Ok(())
            }
        }
    }
}

impl To {
    fn open(path: &Path, inputs: &Inputs<'_>) -> anyhow::Result<To> {
        let found = Output::at(path)?;
        if found == Output::Descriptor(STDOUT) {
            return Ok(To::Stream(stdout(inputs)?));
        }
        inputs.check(std::fs::metadata(path).ok().as_ref(), path)?;
        match found {
            Output::File(real) => {
                check_outside(path, "the output")?;
                Ok(To::File(AtomicFile::beside(&real)?, real))
            }
            Output::Stream => Ok(To::Stream(stream(path, OFlags::empty())?)),
            // The shell may have opened a file that is not empty.
            Output::Descriptor(_) => Ok(To::Stream(stream(path, OFlags::APPEND)?)),
        }
    }
}

impl Inputs<'_> {
    /// Errors: an output is an input, or lies in one.
    fn check(&self, output: Option<&Metadata>, path: &Path) -> anyhow::Result<()> {
        for tree in &self.trees {
            check_not_within(path, "the output", tree)?;
        }
        let (Some(input), Some(output)) = (self.file, output) else {
            return Ok(());
        };
        let input = input.metadata()?;
        let kind = input.file_type();
        let is_same = (input.dev(), input.ino()) == (output.dev(), output.ino());
        match is_same && (kind.is_file() || kind.is_block_device()) {
            true => Err(Error::conflict(format!(
                "{} is the input, and would be lost",
                path.display()
            ))
            .hint("write to another file, and rename it then")
            .into()),
            false => Ok(()),
        }
    }
}

fn stdout(inputs: &Inputs<'_>) -> anyhow::Result<File> {
    let file = File::from(rustix::io::dup(io::stdout())?);
    let found = file.metadata()?;
    if found.is_file() {
        let path = std::fs::read_link("/proc/self/fd/1").unwrap_or_default();
        inputs.check(Some(&found), &path)?;
    }
    Ok(file)
}

/// Errors: an archive would go to a terminal.
pub fn refuse_terminal(output: &impl IsTerminal, instead: &str) -> anyhow::Result<()> {
    match output.is_terminal() {
        true => Err(usage(format!(
            "an archive on a terminal is of no use: {instead}"
        ))),
        false => Ok(()),
    }
}

/// Opens an existing device or FIFO. Waits until a FIFO has a reader, or for Ctrl-C.
fn stream(path: &Path, flags: OFlags) -> anyhow::Result<File> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("they are flags of open(2)");
    let mut options = File::options();
    options.write(true).custom_flags(flags);
    loop {
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                let is_fifo = std::fs::metadata(path)?.file_type().is_fifo();
                if !is_fifo {
                    return Err(failed(&path.display().to_string(), error).into());
                }
            }
            other => {
                return Ok(other.map_err(|error| {
                    Error::system(format!("opening {}", path.display()), error)
                        .during(Operation::WriteOutput)
                })?);
            }
        }
        check_interrupt()?;
        std::thread::sleep(PATIENCE);
    }
}

fn check_interrupt() -> crate::Result<()> {
    match interrupt::received() {
        Some(_) => Err(Error::cancelled()),
        None => Ok(()),
    }
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match self {
            To::File(file, _) => return file.write(bytes),
            To::Stream(file) => file,
        };
        loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            check_interrupt()?;
            wait_for_room(file)?;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for room in a FIFO, for a moment.
fn wait_for_room(file: &File) -> io::Result<()> {
    let time = Timespec::try_from(PATIENCE).expect("it is short");
    let mut wanted = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)];
    match poll(&mut wanted, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Errors name the output, so that they are not mistaken for errors of the input.
impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        written.map_err(|error| named(&self.shown, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        flushed.map_err(|error| named(&self.shown, error))
    }
}

/// Leaves EINTR alone: the standard library retries it.
fn named(shown: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted => error,
        _ => failed(shown, error).into(),
    }
}

fn failed(shown: &str, error: io::Error) -> Error {
    Error::io(format!("writing to {shown}"), error).during(Operation::WriteOutput)
}

/// Passes on what is written, until Ctrl-C.
pub struct Stoppable<W>(pub W);

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check_interrupt()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
