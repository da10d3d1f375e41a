//! `Database`: the snapshots that there are, in one file, changed in transactions that survive a
//! kill and a power cut. It knows what may be done with a snapshot, and nothing of directories.
//!
//! redb keeps it: a B-tree that is copied on write, with checksums, in Rust alone. A change that was
//! not committed never was; the file is locked while it is open. [`file`] makes and checks the file,
//! [`rows`] reads snapshots of it.

mod file;
mod rows;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use redb::{
    MultimapTable, MultimapTableDefinition, ReadableDatabase, ReadableMultimapTable, ReadableTable,
    Table, TableDefinition, WriteTransaction,
};

use crate::error::Error;
use crate::store::Sync;

use super::failure::{Code, Failure};
use super::snapshot::{Labels, Snapshot, SnapshotKind, Usage};
use rows::{all, existing, find, line};

type Rows = redb::ReadOnlyTable<&'static str, &'static [u8]>;
/// A transaction, and what keeps the database open for it.
type Begun<'a> = (
    WriteTransaction,
    RwLockReadGuard<'a, Option<redb::Database>>,
);
type Snapshots = TableDefinition<'static, &'static str, &'static [u8]>;

/// By name; as JSON.
const SNAPSHOTS: Snapshots = TableDefinition::new("snapshots");
/// The names of those that stand on each.
const CHILDREN: MultimapTableDefinition<'static, &str, &str> =
    MultimapTableDefinition::new("children");
const NUMBERS: TableDefinition<'static, &str, u64> = TableDefinition::new("numbers");
/// The numbers of removed snapshots whose directories may still be there.
const REMOVED: TableDefinition<'static, u64, ()> = TableDefinition::new("removed");

/// What the file is written as.
const FORMAT: u64 = 1;
/// Parents of a snapshot, at most: the kernel stacks no more.
const DEPTH_MAX: usize = crate::limits::MAX_LAYERS;

/// The snapshots that there are.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    redb: RwLock<Option<redb::Database>>,
    owner: u64,
}

/// What is asked for when a snapshot is made.
#[derive(Clone, Copy, Debug)]
pub struct NewSnapshot<'a> {
    /// Of a name that is free.
    pub name: &'a str,
    /// A committed snapshot, or none.
    pub parent: Option<&'a str>,
    /// What may be done with it.
    pub kind: SnapshotKind,
    /// As they are to be kept.
    pub labels: &'a Labels,
}

impl Database {
    /// Whether there is a database; an empty file is none.
    pub fn is_there(path: &Path) -> Result<bool, Failure> {
        file::is_there(path)
    }

    /// Opens a database, and makes it if it is not there; the caller holds a lock that lets no other
    /// process make one meanwhile. Errors: it is open already; it is damaged, of a later version,
    /// or no database.
    pub fn open(path: &Path, sync: Sync) -> Result<Database, Failure> {
        if !file::is_there(path)? {
            file::make(path, sync, |redb| Database::begun(path, redb).map(drop))?;
        }
        Database::begun(path, file::open(path)?)
    }

    fn begun(path: &Path, redb: redb::Database) -> Result<Database, Failure> {
        let mut database = Database {
            path: path.into(),
            redb: RwLock::new(Some(redb)),
            owner: 0,
        };
        database.owner = database.change(|change| change.begin())?;
        Ok(database)
    }

    /// A random number that is this database's own.
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// Changes something, all of it or, on an error, nothing. One change is made at a time.
    pub fn change<T>(
        &self,
        make: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (transaction, _open) = match self.begin_write() {
            Err(failure) if failure.code == Code::Unavailable => {
                self.reopen()?;
                self.begin_write()?
            }
            begun => begun?,
        };
        let made = make(&mut Transaction::open(&transaction)?)?;
        transaction.commit().map_err(Failure::database)?;
        Ok(made)
    }

    /// One snapshot.
    pub fn get(&self, name: &str) -> Result<Snapshot, Failure> {
        self.read(|table| existing(table, name))
    }

    /// All of them, by name.
    pub fn all(&self) -> Result<Vec<Snapshot>, Failure> {
        self.read(all)
    }

    /// A snapshot and those that it stands on, the topmost first.
    pub fn line(&self, name: &str) -> Result<Vec<Snapshot>, Failure> {
        self.read(|table| line(table, name))
    }

    fn read<T>(&self, look: impl Fn(&Rows) -> Result<T, Failure>) -> Result<T, Failure> {
        match self.read_once(&look) {
            Err(failure) if failure.code == Code::Unavailable => {
                self.reopen()?;
                self.read_once(&look)
            }
            done => done,
        }
    }

    fn read_once<T>(&self, look: impl Fn(&Rows) -> Result<T, Failure>) -> Result<T, Failure> {
        let open = self.redb.read().unwrap_or_else(PoisonError::into_inner);
        let redb = open.as_ref().ok_or_else(Failure::closed)?;
        let transaction = redb.begin_read().map_err(Failure::database)?;
        look(
            &transaction
                .open_table(SNAPSHOTS)
                .map_err(Failure::database)?,
        )
    }

    fn begin_write(&self) -> Result<Begun<'_>, Failure> {
        let open = self.redb.read().unwrap_or_else(PoisonError::into_inner);
        let redb = open.as_ref().ok_or_else(Failure::closed)?;
        let transaction = redb.begin_write().map_err(Failure::database)?;
        Ok((transaction, open))
    }

    /// Opens the file anew: redb does nothing more once a read or a write has failed, even when the
    /// full disk that it failed for has room again.
    fn reopen(&self) -> Result<(), Failure> {
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        // Its lock on the file goes with it.
        drop(redb.take());
        *redb = Some(file::open(&self.path)?);
        Ok(())
    }
}

/// A change in the making.
pub struct Transaction<'a> {
    snapshots: Table<'a, &'static str, &'static [u8]>,
    children: MultimapTable<'a, &'static str, &'static str>,
    numbers: Table<'a, &'static str, u64>,
    removed: Table<'a, u64, ()>,
}

impl<'a> Transaction<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Transaction<'a>, Failure> {
        let snapshots = transaction.open_table(SNAPSHOTS);
        let children = transaction.open_multimap_table(CHILDREN);
        let numbers = transaction.open_table(NUMBERS);
        let removed = transaction.open_table(REMOVED);
        Ok(Transaction {
            snapshots: snapshots.map_err(Failure::database)?,
            children: children.map_err(Failure::database)?,
            numbers: numbers.map_err(Failure::database)?,
            removed: removed.map_err(Failure::database)?,
        })
    }

    /// Sets a new database up, checks one that was there, and returns its own number.
    fn begin(&mut self) -> Result<u64, Failure> {
        let format = self.number("format")?.unwrap_or(FORMAT);
        if format != FORMAT {
            let text = format!("the database has format {format}; this program knows {FORMAT}");
            return Err(Failure::precondition(text));
        }
        self.set_number("format", FORMAT)?;
        if let Some(owner) = self.number("owner")? {
            return Ok(owner);
        }
        let owner = random().map_err(|errno| Error::system("drawing a number", errno))?;
        self.set_number("owner", owner)?;
        Ok(owner)
    }

    /// A snapshot. Errors: there is none of that name.
    pub fn existing(&self, name: &str) -> Result<Snapshot, Failure> {
        existing(&self.snapshots, name)
    }

    /// A snapshot, if there is one of that name.
    pub fn find(&self, name: &str) -> Result<Option<Snapshot>, Failure> {
        find(&self.snapshots, name)
    }

    /// All of them, by name.
    pub fn all(&self) -> Result<Vec<Snapshot>, Failure> {
        all(&self.snapshots)
    }

    /// A snapshot and those that it stands on, the topmost first.
    pub fn line(&self, name: &str) -> Result<Vec<Snapshot>, Failure> {
        line(&self.snapshots, name)
    }

    /// Makes a snapshot. Errors: the name is taken; the parent is missing, or not committed.
    pub fn create(&mut self, wanted: NewSnapshot<'_>) -> Result<Snapshot, Failure> {
        self.check_free(wanted.name)?;
        if let Some(parent) = wanted.parent {
            let line = self.line(parent)?;
            if line[0].kind != SnapshotKind::Committed {
                return Err(Failure::invalid(format!(
                    "parent {parent} is not committed"
                )));
            }
            if line.len() >= DEPTH_MAX {
                let text = format!("over {DEPTH_MAX} snapshots on one another");
                return Err(Failure::precondition(text));
            }
        }
        let id = self.number("next")?.unwrap_or(1);
        self.set_number("next", id + 1)?;
        let now = SystemTime::now();
        let snapshot = Snapshot {
            id,
            name: wanted.name.into(),
            parent: wanted.parent.map(Into::into),
            kind: wanted.kind,
            labels: wanted.labels.clone(),
            created: now,
            updated: now,
            usage: None,
            chain: None,
        };
        self.put(&snapshot)?;
        Ok(snapshot)
    }

    /// Makes a committed snapshot of the active one of a key, which it replaces; labels are not
    /// inherited. Errors: there is none, or it is none; the name is taken.
    pub fn commit(
        &mut self,
        key: &str,
        name: &str,
        labels: Labels,
        usage: Usage,
    ) -> Result<Snapshot, Failure> {
        let active = existing(&self.snapshots, key)?;
        if active.kind != SnapshotKind::Active {
            return Err(Failure::precondition(format!(
                "snapshot {key} is not active"
            )));
        }
        self.check_free(name)?;
        self.take(&active)?;
        let now = SystemTime::now();
        let committed = Snapshot {
            name: name.into(),
            kind: SnapshotKind::Committed,
            labels,
            created: now,
            updated: now,
            usage: Some(usage),
            ..active
        };
        self.put(&committed)?;
        Ok(committed)
    }

    /// Forgets a snapshot, and says what it was; if it has a directory, its number is kept among
    /// those [`removed`](Self::removed). Errors: there is none; others stand on it.
    pub fn remove(&mut self, name: &str) -> Result<Snapshot, Failure> {
        let snapshot = existing(&self.snapshots, name)?;
        let mut children = self.children.get(name).map_err(Failure::database)?;
        if let Some(child) = children.next() {
            let child = child.map_err(Failure::database)?;
            let text = format!("snapshot {name} has a child, {}", child.value());
            return Err(Failure::precondition(text));
        }
        drop(children);
        self.take(&snapshot)?;
        if snapshot.chain.is_none() {
            self.removed
                .insert(snapshot.id, ())
                .map_err(Failure::database)?;
        }
        Ok(snapshot)
    }

    /// The numbers of removed snapshots whose directories may be there still.
    pub fn removed(&self) -> Result<BTreeSet<u64>, Failure> {
        let rows = self.removed.iter().map_err(Failure::database)?;
        rows.map(|row| Ok(row.map_err(Failure::database)?.0.value()))
            .collect()
    }

    /// The directory of a removed snapshot is gone.
    pub fn forget_removed(&mut self, id: u64) -> Result<(), Failure> {
        self.removed.remove(id).map_err(Failure::database)?;
        Ok(())
    }

    /// Writes a snapshot anew: same name, same parent.
    pub fn put(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let text = serde_json::to_vec(snapshot)
            .map_err(|error| Failure::invalid(format!("snapshot {}: {error}", snapshot.name)))?;
        self.snapshots
            .insert(snapshot.name.as_str(), text.as_slice())
            .map_err(Failure::database)?;
        if let Some(parent) = &snapshot.parent {
            self.children
                .insert(parent.as_str(), snapshot.name.as_str())
                .map_err(Failure::database)?;
        }
        Ok(())
    }

    fn take(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        self.snapshots
            .remove(snapshot.name.as_str())
            .map_err(Failure::database)?;
        if let Some(parent) = &snapshot.parent {
            self.children
                .remove(parent.as_str(), snapshot.name.as_str())
                .map_err(Failure::database)?;
        }
        Ok(())
    }

    fn check_free(&self, name: &str) -> Result<(), Failure> {
        if name.is_empty() {
            return Err(Failure::invalid("a snapshot needs a name"));
        }
        match self.find(name)? {
            None => Ok(()),
            Some(_) => Err(Failure::exists(format!("snapshot {name} exists"))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let number = self.numbers.get(name).map_err(Failure::database)?;
        Ok(number.map(|number| number.value()))
    }

    fn set_number(&mut self, name: &str, number: u64) -> Result<(), Failure> {
        self.numbers
            .insert(name, number)
            .map_err(Failure::database)?;
        Ok(())
    }
}

fn random() -> rustix::io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}
