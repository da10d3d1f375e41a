//! `Snapshotter`: snapshots for containerd. They use layers in a [`Store`](crate::Store) if it has them,
//! and directories of their own otherwise. `lowerdir-snapshotter` serves it.
//!
//! ```text
//!   service     gRPC: the ten methods of containerd's API
//!     │
//!   Snapshotter what each of them does
//!     │
//!     ├── database     the snapshots                        metadata.redb
//!     ├── directories  their upper directories              snapshots/<id>/
//!     ├── layers       chains in the store, pins            STORE/
//!     └── mounts       the mounts that containerd makes
//! ```
//!
//! containerd prepares a snapshot for each layer that it is about to unpack, and gives the chain ID that
//! it will have. If the store has that chain, or a blob that containerd has can be unpacked into it, a
//! committed snapshot of that name is recorded, and the answer is ALREADY_EXISTS: containerd then neither
//! fetches nor unpacks the layer. Everything else works as in containerd's own overlayfs snapshotter.
//!
//! A request is one transaction of the database. Before it commits, the directory or pin that it needs is
//! on disk. So a kill leaves at most directories and pins without a record, which the next start removes.

mod agreement;
mod database;
mod directories;
pub(crate) mod failure;
mod filter;
mod layers;
mod making;
mod mounts;
mod snapshot;
mod usage;

#[allow(unnameable_types)] // `SnapshotKind` becomes that of the interface.
pub(crate) mod api;
pub mod server;
pub(crate) mod service;

use std::fmt;
use std::path::PathBuf;

use crate::dialect::Dialect;
use crate::setters::setters;
use crate::store::Sync;
use crate::unpack::Options;

pub use failure::{Code, Failure};
pub use mounts::Mount;
pub use snapshot::{Labels, Snapshot, SnapshotKind, Usage};

use database::Database;
use directories::Directories;
use filter::Filter;
use layers::{Layers, TARGET};

/// The result of a request.
pub type Result<T> = std::result::Result<T, Failure>;

/// Logs a line about a failure that no answer can report.
pub type Log = Box<dyn Fn(&str) + Send + std::marker::Sync>;

/// The configuration of a snapshotter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The directory for the database and for snapshots that are not in the store. Created if needed.
    pub root: PathBuf,
    /// The store. Created if needed.
    pub store: PathBuf,
    /// containerd's content store, whose blobs can be unpacked into the store.
    pub content_root: Option<PathBuf>,
    /// How layers are translated; layers that were unpacked with other options are not used.
    pub options: Options,
    /// Whether to wait until a change is on disk.
    pub sync: Sync,
    /// Cores to use for one layer; by default all.
    pub jobs: Option<usize>,
}

impl Config {
    /// Without a content store: layers that the store lacks are left to containerd.
    pub fn new(root: impl Into<PathBuf>, store: impl Into<PathBuf>) -> Config {
        Config {
            root: root.into(),
            store: store.into(),
            content_root: None,
            options: Options::default(),
            sync: Sync::default(),
            jobs: None,
        }
    }

    setters! {
        content_root: Option<PathBuf>,
        options: Options,
        sync: Sync,
        jobs: Option<usize>,
    }
}

/// The snapshots. All calls block.
///
/// ```
/// use lowerdir::snapshotter::{Code, Config, Labels, SnapshotKind, Snapshotter};
/// # use lowerdir::{Image, Options, Reference, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let options = Options::rootless(place.path())?;
/// # let image = Image::open(&Reference::parse(&archive)?)?;
/// # let store = Store::open(&place.path().join("store"))?;
/// # store.unpack(&image).options(options.clone()).run()?;
/// # let chain = image.chain_ids();
///
/// let (root, layers) = (place.path().join("snapshots"), place.path().join("store"));
/// let config = Config::new(root, layers).options(options);
/// let snapshotter = Snapshotter::open(&config, Box::new(|what| eprintln!("{what}")))?;
///
/// // What containerd asks before it would fetch a layer; `chain[0]` is in the store.
/// let name = chain[0].to_string();
/// let label = ("containerd.io/snapshot.ref".to_string(), name.clone());
/// let there = snapshotter.prepare("extract", None, Labels::from([label])).unwrap_err();
/// assert_eq!(there.code, Code::AlreadyExists);
/// assert_eq!(snapshotter.stat(&name)?.kind, SnapshotKind::Committed);
///
/// let mounts = snapshotter.prepare("container", Some(&name), Labels::new())?;
/// assert_eq!(mounts[0].kind, "overlay");
/// # Ok(())
/// # }
/// ```
pub struct Snapshotter {
    database: Database,
    directories: Directories,
    layers: Layers,
    /// Options for each overlay mount.
    mount_options: Vec<String>,
    dialect: Dialect,
    /// The prefix of the names of its pins.
    pin_prefix: String,
    log: Log,
}

impl Snapshotter {
    /// Opens the database, the directories and the store, and makes them agree.
    ///
    /// Errors: another process has the root open; a path cannot be passed to containerd; the database is
    /// damaged, or missing although there are directories of snapshots, or has no record of a directory
    /// that is not empty ([`DataLoss`](tonic::Code::DataLoss)); the system's.
    pub fn open(config: &Config, log: Log) -> Result<Snapshotter> {
        let directories = Directories::open(&config.root, config.sync)?;
        let path = config.root.join("metadata.redb");
        let _lock = directories.lock()?;
        if !Database::is_there(&path)? {
            agreement::check_unused(&directories, &path)?;
        }
        let database = Database::open(&path, config.sync)?;
        let dialect = config.options.dialect;
        let snapshotter = Snapshotter {
            pin_prefix: format!("snapshotter-{:016x}-", database.owner()),
            database,
            directories,
            layers: Layers::open(config)?,
            mount_options: mounts::usual_options(dialect),
            dialect,
            log,
        };
        snapshotter.agree()?;
        Ok(snapshotter)
    }

    /// Creates an active snapshot, on a committed one or on nothing. Errors:
    /// [`AlreadyExists`](tonic::Code::AlreadyExists), also if the committed snapshot that it would become
    /// exists now.
    pub fn prepare(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>> {
        let labels = snapshot::kept(labels)?;
        if let Some(target) = labels.get(TARGET)
            && self.register(target, parent, &labels)?
        {
            return Err(Failure::exists(format!(
                "snapshot {target} is in the store"
            )));
        }
        self.create(SnapshotKind::Active, key, parent, &labels)
    }

    /// Creates a read-only view.
    pub fn view(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>> {
        self.create(SnapshotKind::View, key, parent, &snapshot::kept(labels)?)
    }

    /// The mounts of an active snapshot or a view.
    pub fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let line = self.database.line(key)?;
        match line[0].kind {
            SnapshotKind::Committed => Err(Failure::precondition(format!(
                "snapshot {key} is committed"
            ))),
            SnapshotKind::Active | SnapshotKind::View => self.mounts_of(&line[0], &line[1..]),
        }
    }

    /// Commits an active snapshot under a name.
    pub fn commit(&self, name: &str, key: &str, labels: Labels) -> Result<()> {
        let labels = snapshot::kept(labels)?;
        let active = self.database.get(key)?;
        let usage = match active.kind {
            SnapshotKind::Active => self.while_there(&active, |directories| {
                directories.sync(active.id)?;
                directories.usage(active.id)
            })?,
            SnapshotKind::View | SnapshotKind::Committed => Usage::default(),
        };
        self.database.change(|change| {
            change.commit(key, name, labels, usage)?;
            Ok(())
        })
    }

    /// Removes a snapshot without children, and its directory.
    pub fn remove(&self, key: &str) -> Result<()> {
        let removed = self.database.change(|change| {
            for id in change.removed()? {
                if !self.directories.has(id)? {
                    change.forget_removed(id)?;
                }
            }
            change.remove(key)
        })?;
        let done = match removed.chain {
            Some(_) => self.layers.unpin(&self.pin_name(removed.id)),
            None => self.directories.remove(removed.id),
        };
        // The database records the removal: a cleanup, or the next start, removes what is left.
        done.unwrap_or_else(|error| self.log(&Failure::from(error).line()));
        Ok(())
    }

    /// One snapshot.
    pub fn stat(&self, key: &str) -> Result<Snapshot> {
        self.database.get(key)
    }

    /// Updates labels: all of them, or those that `fields` lists as `labels.NAME`.
    pub fn update(&self, name: &str, labels: &Labels, fields: &[String]) -> Result<Snapshot> {
        self.database.change(|change| {
            let mut snapshot = change.existing(name)?;
            snapshot.relabel(labels, fields)?;
            change.put(&snapshot)?;
            Ok(snapshot)
        })
    }

    /// The snapshots that any of the filters matches, or all if there are no filters, by name.
    pub fn list(&self, filters: &[String]) -> Result<Vec<Snapshot>> {
        let filter = Filter::parse(filters)?;
        let mut snapshots = self.database.all()?;
        snapshots.retain(|snapshot| filter.matches(snapshot));
        Ok(snapshots)
    }

    /// The disk usage of a snapshot, without its parents.
    pub fn usage(&self, key: &str) -> Result<Usage> {
        let snapshot = self.database.get(key)?;
        match (snapshot.usage, &snapshot.chain) {
            (Some(usage), _) => Ok(usage),
            (None, None) => {
                self.while_there(&snapshot, |directories| directories.usage(snapshot.id))
            }
            (None, Some(chain_id)) => {
                let usage = self.layers.usage(chain_id)?;
                self.database.change(|change| {
                    let found = change.find(key)?.filter(|found| found.id == snapshot.id);
                    found.map_or(Ok(()), |found| {
                        let usage = Some(usage);
                        change.put(&Snapshot { usage, ..found })
                    })
                })?;
                Ok(usage)
            }
        }
    }

    /// Removes directories of removed snapshots that are still there.
    pub fn cleanup(&self) -> Result<()> {
        for name in self.remove_unused()? {
            let text = "belongs to no snapshot, but is not empty: it is left alone";
            self.log(&format!("directory {name} {text}"));
        }
        Ok(())
    }

    /// Reads the directory of a snapshot, which another request may remove meanwhile. Errors: it was
    /// removed.
    fn while_there<T>(
        &self,
        snapshot: &Snapshot,
        look: impl FnOnce(&Directories) -> crate::error::Result<T>,
    ) -> Result<T> {
        look(&self.directories).map_err(|error| match self.database.get(&snapshot.name) {
            Ok(there) if there.id == snapshot.id => error.into(),
            Ok(_) => Failure::not_found(format!("snapshot {} does not exist", snapshot.name)),
            Err(failure) => failure,
        })
    }

    /// Cancels layers that are being unpacked; their requests fail.
    pub fn stop(&self) {
        self.layers.stop();
    }

    fn log(&self, what: &dyn fmt::Display) {
        (self.log)(&what.to_string());
    }

    fn pin_name(&self, id: u64) -> String {
        format!("{}{id}", self.pin_prefix)
    }
}
