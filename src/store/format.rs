//! `FormatFile`: the number of the format that a directory is kept in. It is the first thing in a new
//! store, and is checked whenever one is opened, so that no version of the program reads what another
//! one meant otherwise. The root of the snapshotter has one, too.
//!
//! The file appears complete and durable, or not at all. Of several processes that make a directory
//! at once, one writes it, and the others check what that one wrote.

use std::io::{self, Read, Write};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;

use super::staging::random_name;
use super::{Sync, sync_directory};

/// What the names of files in the making begin with.
const UNFINISHED: &str = ".format-";
/// More than any number has.
const LONGEST: u64 = 32;

/// The file `format` in a directory, which is there or not.
#[derive(Debug)]
pub(crate) struct FormatFile<'a> {
    pub directory: &'a Dir,
    /// The directory, as errors call it: `the store /var/lib/lowerdir`.
    pub what: String,
    /// The only format that this program reads and writes.
    pub number: u32,
}

impl FormatFile<'_> {
    /// Its name.
    pub const NAME: &'static str = "format";

    /// Whether it is there. Errors: it has another number.
    pub fn is_there(&self) -> Result<bool> {
        let Some(text) = self.read().map_err(|error| self.failed("reading", error))? else {
            return Ok(false);
        };
        let number = text.trim_ascii_end();
        if number == self.number.to_string().as_bytes() {
            return Ok(true);
        }
        let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
        let found = match is_number {
            true => format!("has format {}", String::from_utf8_lossy(number)),
            false => "has a format file without a number in it".into(),
        };
        Err(self.unreadable(&found))
    }

    /// The error about a directory that has none, but what a format is for.
    pub fn missing(&self) -> Error {
        self.unreadable("was made before there were format numbers")
    }

    /// Writes it into a directory that has nothing else in it. Errors: another process has written
    /// another number meanwhile.
    pub fn write(&self) -> Result<()> {
        if self.is_there()? {
            return Ok(());
        }
        let written = self.write_new();
        written.map_err(|error| self.failed("writing", error))?;
        // The number of another process, if that one was faster.
        self.is_there().map(drop)
    }

    /// Removes what a killed process left of it. Errors are of no consequence.
    pub fn clean(&self, names: &[Box<[u8]>]) {
        for name in names.iter().filter(|name| is_unfinished(name)) {
            let _ = self.directory.remove_file(name);
        }
    }

    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match self
            .directory
            .open_file(&EntryPath::parse(Self::NAME.as_bytes())?)
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        Ok(Some(text))
    }

    fn write_new(&self) -> io::Result<()> {
        let name = format!("{UNFINISHED}{}", random_name()?);
        let mut file = self.directory.make_file(name.as_bytes())?;
        let named = writeln!(file, "{}", self.number)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.name(&name));
        if named.is_err() {
            let _ = self.directory.remove_file(name.as_bytes());
        }
        named
    }

    fn name(&self, unfinished: &str) -> io::Result<()> {
        let directory = self.directory;
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(directory, unfinished, directory, Self::NAME, flags) {
            Ok(()) => {}
            // Another process was faster, and may have taken this one for what a dead one left.
            Err(Errno::EXIST | Errno::NOENT) if self.read()?.is_some() => {
                let _ = directory.remove_file(unfinished.as_bytes());
            }
            Err(errno) => return Err(errno.into()),
        }
        sync_directory(directory, Sync::Fs)
    }

    fn unreadable(&self, found: &str) -> Error {
        let (what, number) = (&self.what, self.number);
        let text = format!("{what} {found}; this version reads format {number}");
        Error::unsupported(text).hint("use the version that made it, or a new directory")
    }

    fn failed(&self, doing: &str, error: io::Error) -> Error {
        Error::system(format!("{doing} the format of {}", self.what), error)
    }
}

/// Whether a name is of a file in the making, which counts for nothing.
pub(crate) fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(UNFINISHED.as_bytes())
}
