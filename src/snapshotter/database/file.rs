//! The file that a [`Database`](super::Database) is in: made whole or not at all, and checked from
//! end to end when it is opened. Only [`super`] calls it; what is in the tables is not its business.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::Error;
use crate::store::{Sync, sync_directory};

use super::super::failure::Failure;

/// What a file of redb begins with.
const MAGIC: &[u8] = b"redb\x1a\n\xa9\r\n";
/// Where it has a byte of bits, one of which is set while it is in use.
const STATE: usize = 9;
const NOT_CLOSED: u8 = 2;
/// Where it says how it is laid out: sizes of a page, of a region's head, and of a region.
const LAYOUT: Range<usize> = 12..24;
const SIZES: [u8; 12] = *b"\0\x10\0\0\x82\0\0\0\0\0\x10\0";

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
    let redb = redb::Database::builder()
        .create_with_file_format_v3(true)
        .create_file(file.try_clone().map_err(doing)?)
        .map_err(Failure::database)?;
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
    let opened = contained(|| -> Result<redb::Database, redb::DatabaseError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(redb::DatabaseError::DatabaseAlreadyOpen),
            locked => locked.map_err(io::Error::from)?,
        }
        ask_for_recovery(&file)?;
        let mut redb = redb::Database::builder().create_file(file)?;
        redb.check_integrity()?;
        Ok(redb)
    });
    match opened {
        Some(Ok(redb)) => Ok(redb),
        Some(Err(error)) if !is_damage(&error) => Err(Failure::database(error)),
        Some(Err(error)) => Err(damaged(path, &error.to_string())),
        None => Err(damaged(path, "its parts contradict one another")),
    }
}

/// Marks a file as one that was not closed: only then redb verifies the slots of its header, which
/// lead to all pages. No checksum covers the sizes beside them, and redb believes them: they must be
/// those of all files that it makes without being told otherwise.
fn ask_for_recovery(file: &File) -> io::Result<()> {
    let mut header = [0; LAYOUT.end];
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(MAGIC) || header[LAYOUT] != SIZES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let state = header[STATE] | NOT_CLOSED;
    if header[STATE] != state {
        file.write_all_at(&[state], STATE as u64)?;
    }
    Ok(())
}

fn is_damage(error: &redb::DatabaseError) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Io(error)) => {
            matches!(error.kind(), InvalidData | UnexpectedEof)
        }
        redb::DatabaseError::Storage(redb::StorageError::Corrupted(_))
        | redb::DatabaseError::RepairAborted
        | redb::DatabaseError::UpgradeRequired(_) => true,
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

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic; `None` if it did, and nothing is printed then. redb asserts what the
/// header of a file says before it verifies any of it, so there is no other way to open one that may
/// be damaged.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                usual(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(false);
    done.ok()
}
