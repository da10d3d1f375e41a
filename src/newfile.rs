//! `NewFile`: a file that appears complete and durable under its name, or not at all.
//!
//! [`crate::layout`] writes blobs and documents through it, the command line whatever `-o` names.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file in the making, `.lowerdir-` and something beside its place; dropped, it is removed.
pub struct NewFile(NamedTempFile);

impl NewFile {
    /// Starts one in a directory, as readable as other programs make theirs.
    pub fn in_directory(directory: &Path) -> Result<NewFile> {
        tempfile::Builder::new()
            .prefix(".lowerdir-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map(NewFile)
            .map_err(|error| {
                let place = directory.display();
                Error::system(format!("making a file in {place}"), error)
            })
    }

    /// Starts one beside the place that it is to have.
    pub fn beside(path: &Path) -> Result<NewFile> {
        NewFile::in_directory(&directory_of(path))
    }

    /// Gives it its name; what had that name is gone then.
    pub fn keep(self, path: &Path) -> Result<()> {
        let naming = |error| Error::system(format!("writing {}", path.display()), error);
        self.0.as_file().sync_all().map_err(naming)?;
        self.0.persist(path).map_err(|error| naming(error.error))?;
        let directory = File::open(directory_of(path)).map_err(naming)?;
        directory.sync_all().map_err(naming)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        _ => PathBuf::from("."),
    }
}
