//! The file that a [`Database`](super::Database) is in: made whole or not at all, and checked from
//! end to end when it is opened. Only [`super`] calls it; what is in the tables is not its business.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use redb::backends::FileBackend;

use crate::error::Error;
use crate::store::{Sync, sync_directory};

use super::super::failure::Failure;

/// Whether something is in the file; an empty one is what a full disk or a restore that failed leaves.
pub fn is_there(path: &Path) -> Result<bool, Failure> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let text = format!("looking at the database {}", path.display());
            Err(Error::system(text, error).into())
        }
    }
}

/// Makes a database that `set_up` has filled by the time it gets its name.
pub fn make(
    path: &Path,
    sync: Sync,
    set_up: impl FnOnce(redb::Database) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let doing = |error| Error::system(format!("making the database {}", path.display()), error);
    let new = path.with_extension("redb.new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(&new).map_err(doing)?;
    let redb = open_file(file.try_clone().map_err(doing)?).map_err(Failure::database)?;
    set_up(redb)?;
    let name = || -> io::Result<()> {
        if sync == Sync::Fs {
            file.sync_all()?;
        }
        std::fs::rename(&new, path)?;
        sync_directory(File::open(path.parent().unwrap_or(Path::new(".")))?, sync)
    };
    name().map_err(doing)?;
    Ok(())
}

/// Opens the file of a database, with every checksum verified: a page that is damaged is found now,
/// and not by the request that reads it. A file that was in use when its process was killed is
/// as it was after the last change that was committed. Errors: it is open already; it is damaged.
pub fn open(path: &Path) -> Result<redb::Database, Failure> {
    // Of an empty file a new database would be made.
    if !is_there(path)? {
        return Err(damaged(path, "it is empty or absent"));
    }
    let file = OpenOptions::new().read(true).write(true).open(path);
    let opened = file.map_err(Into::into).and_then(open_file);
    opened.map_err(|error| match error {
        redb::DatabaseError::UpgradeRequired(version) => {
            let why = format!("its file format is {version}, which no version of this program has");
            damaged(path, &why)
        }
        error if is_damage(&error) => damaged(path, &error.to_string()),
        error => Failure::database(error),
    })
}

fn open_file(file: File) -> Result<redb::Database, redb::DatabaseError> {
    redb::Database::builder()
        .set_check_integrity_on_open(true)
        .create_with_backend(FileBackend::new(file)?)
}

fn is_damage(error: &redb::DatabaseError) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Io(error)) => {
            matches!(error.kind(), InvalidData | UnexpectedEof)
        }
        redb::DatabaseError::Storage(redb::StorageError::Corrupted(_))
        | redb::DatabaseError::RepairAborted => true,
        _ => false,
    }
}

fn damaged(path: &Path, why: &str) -> Failure {
    let text = format!("the database {} is damaged: {why}", path.display());
    let hint = format!(
        "restore it from a backup; to start afresh, move it and {} away",
        path.with_file_name("snapshots").display()
    );
    Failure::lost(text).hint(hint)
}
