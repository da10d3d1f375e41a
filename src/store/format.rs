//! `FormatFile`: the number of a directory's format. It is the first file in a new store, and is checked
//! whenever one is opened, so that no version of the program misreads the store of another. The root of
//! the snapshotter has one too.
//!
//! The file appears complete and on disk, or not at all. If several processes create a directory at once,
//! one of them writes it, and the others check it.

use std::io::{self, Read, Write};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;

use super::staging::random_name;
use super::{Sync, sync_directory};

/// The prefix of unfinished files.
const UNFINISHED: &str = ".format-";
/// More bytes than any number has.
const LONGEST: u64 = 32;

/// The file `format` in a directory, which may not exist.
#[derive(Debug)]
pub(crate) struct FormatFile<'a> {
    pub directory: &'a Dir,
    /// The directory, in the words of errors: `the store /var/lib/lowerdir`.
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

    /// The error for a directory with content but without a format.
    pub fn missing(&self) -> Error {
        self.unreadable("was made before there were format numbers")
    }

    /// Writes it into an otherwise empty directory. Errors: another process has written a different number
    /// meanwhile.
    pub fn write(&self) -> Result<()> {
        if self.is_there()? {
            return Ok(());
        }
        let written = self.write_new();
        written.map_err(|error| self.failed("writing", error))?;
        // Another process may have been faster.
        self.is_there().map(drop)
    }

    /// Removes unfinished files of killed processes. Errors do not matter.
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
            // Another process was faster, and may have removed this file as one of a dead process.
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

/// Whether a name is that of an unfinished file, which is ignored.
pub(crate) fn is_unfinished(name: &[u8]) -> bool {
    name.starts_with(UNFINISHED.as_bytes())
}
