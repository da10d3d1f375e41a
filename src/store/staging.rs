//! `Staging`: unfinished layers. The directory is locked as long as its owner lives. One without a lock is
//! garbage, and is removed when the store is next opened, or when the next layer is unpacked beside the
//! same target.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "registry")]
use std::sync::mpsc::RecvTimeoutError;
#[cfg(feature = "registry")]
use std::time::Duration;

use rustix::fs::{FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::error::{Error, Operation, Result};
use crate::fs::root::Dir;
use crate::path::EntryPath;
use crate::store::listing;
use crate::threads::ThreadShare;
use crate::unpack::Tree;

use super::{
    FS, LAYER_JSON, Record, Store, Sync, TREE_ZST, layer_name, sync_directory, write_json,
};

/// The number of bytes in a name, at two digits each.
const RANDOM: usize = 8;
/// How often the disk is written while a download is waited for.
#[cfg(feature = "registry")]
const WRITE_PERIOD: Duration = Duration::from_secs(1);
/// The prefix of staging directories outside a store.
const BESIDE: &str = ".lowerdir-";

/// A locked directory in the store's `staging`, or beside a target; removed on drop.
#[derive(Debug)]
pub struct Staging {
    parent: Dir,
    name: String,
    pub(super) directory: Arc<Dir>,
}

/// One layer in it. It holds no descriptor of its own, because an image may have more layers than a process
/// may open files.
#[derive(Debug)]
pub struct StagedLayer {
    name: String,
    staging: Arc<Dir>,
}

/// Makes a staging directory and locks it.
pub(super) fn stage(store: &Store) -> Result<Staging> {
    let parent = store.open_dir("staging")?;
    make_in(parent, "").map_err(|error| Error::system("making a staging directory", error))
}

fn make_in(parent: Dir, prefix: &str) -> io::Result<Staging> {
    loop {
        let name = format!("{prefix}{}", random_name()?);
        match parent.make_dir(name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            other => other?,
        }
        match take(&parent, &name) {
            Ok(None) => {}
            Ok(Some(directory)) => {
                return Ok(Staging {
                    parent,
                    name,
                    directory: Arc::new(directory),
                });
            }
            Err(error) => {
                // It is empty, and ours.
                let _ = parent.remove_dir(name.as_bytes());
                return Err(error);
            }
        }
    }
}

/// Opens and locks a new directory. A process that cleans up at this moment may take it for a dead one and
/// remove it; then the result is `None`.
fn take(parent: &Dir, name: &str) -> io::Result<Option<Dir>> {
    let Some(directory) = parent.find_beneath(&EntryPath::parse(name.as_bytes())?)? else {
        return Ok(None);
    };
    let is_ours = lock(&directory)? && is_there(parent, name)?;
    Ok(is_ours.then_some(directory))
}

pub(super) fn random_name() -> io::Result<String> {
    let mut bytes = [0u8; RANDOM];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock(directory: &Dir) -> io::Result<bool> {
    match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_there(parent: &Dir, name: &str) -> io::Result<bool> {
    Ok(parent.stat(name.as_bytes())?.is_some())
}

/// Removes staging directories that are not locked.
pub(super) fn remove_dead(staging: &Dir) -> io::Result<()> {
    for name in staging.names()? {
        remove_if_dead(staging, &name)?;
    }
    Ok(())
}

fn remove_if_dead(parent: &Dir, name: &[u8]) -> io::Result<()> {
    match parent.find_beneath(&EntryPath::parse(name)?)? {
        Some(directory) if lock(&directory)? => parent.remove_tree(name),
        _ => Ok(()),
    }
}

/// The same in a user's directory: removes only those with lowerdir's name, owner and mode.
fn remove_dead_beside(parent: &Dir) -> io::Result<()> {
    for name in parent.names()? {
        let random = name.strip_prefix(BESIDE.as_bytes()).unwrap_or_default();
        let is_named = random.len() == RANDOM * 2 && random.iter().all(u8::is_ascii_hexdigit);
        if is_named && is_ours(parent, &name)? {
            remove_if_dead(parent, &name)?;
        }
    }
    Ok(())
}

fn is_ours(parent: &Dir, name: &[u8]) -> io::Result<bool> {
    let own = rustix::process::geteuid().as_raw();
    let stat = parent.stat(name)?;
    Ok(stat.is_some_and(|stat| stat.st_uid == own && stat.st_mode & 0o777 == 0o700))
}

impl Staging {
    /// A staging directory in a user's directory, for something that will be renamed to a name there.
    /// Removes those of dead processes.
    pub fn beside(directory: &Path) -> io::Result<Staging> {
        let parent = Dir::open(directory)?;
        // Garbage that cannot be removed does no harm.
        let _ = remove_dead_beside(&parent);
        make_in(parent, BESIDE)
    }

    /// The same in the directory that holds a target.
    pub fn beside_target(target: &Path) -> Result<Staging> {
        let beside = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Staging::beside(beside).map_err(|error| {
            let doing = format!("making a directory in {}", beside.display());
            Error::io(doing, error).during(Operation::WriteOutput)
        })
    }

    /// The directory itself.
    pub fn directory(&self) -> &Dir {
        &self.directory
    }

    /// The directory that it is in.
    pub fn parent(&self) -> &Dir {
        &self.parent
    }

    /// A new directory for a layer.
    pub fn layer(&self, number: usize) -> Result<StagedLayer> {
        let name = number.to_string();
        let make = || -> io::Result<()> {
            self.directory.make_dir(name.as_bytes())?;
            let layer = self
                .directory
                .open_beneath(&EntryPath::parse(name.as_bytes())?)?;
            layer.make_dir(FS.as_bytes())
        };
        make().map_err(|error| Error::system("making a directory for it", error))?;
        let staging = Arc::clone(&self.directory);
        Ok(StagedLayer { name, staging })
    }

    /// Removes it now. Errors: the system's.
    pub(super) fn remove(self) -> io::Result<()> {
        self.parent.remove_tree(self.name.as_bytes())
    }

    /// Does a piece of work that mostly waits, and has the disk written meanwhile, which would be idle: the final
    /// [`sync`](Staging::sync) has less to do then, and is the one that reports failed writes.
    #[cfg(feature = "registry")]
    pub fn written_meanwhile<T>(&self, sync: Sync, work: impl FnOnce() -> T) -> T {
        // A description of its own: what `syncfs(2)` reports to one, it still reports to the other.
        let (Sync::Fs, Ok(own)) = (sync, self.directory.open_beneath(&EntryPath::root())) else {
            return work();
        };
        std::thread::scope(|scope| {
            let (done, is_done) = std::sync::mpsc::channel::<()>();
            let write = move || {
                while is_done.recv_timeout(WRITE_PERIOD) == Err(RecvTimeoutError::Timeout) {
                    let _ = rustix::fs::syncfs(&own);
                }
            };
            // Without a thread, all is written at the end.
            let writer = crate::threads::start(scope, "write", write);
            let worked = work();
            drop(done);
            drop(writer);
            worked
        })
    }

    /// Writes everything staged to disk. The descriptor is older than the first write, so every failed
    /// write is reported (`syncfs(2)`).
    pub fn sync(&self, sync: Sync) -> Result<()> {
        match sync {
            Sync::None => Ok(()),
            Sync::Fs => rustix::fs::syncfs(&self.directory)
                .map_err(|errno| Error::system("writing the layers to disk", errno)),
        }
    }

    /// Gives a layer its final name. If another process was first, its layer is kept: it is the
    /// same by name, and this one goes with the staging directory. A layer that `replaces` a
    /// damaged one stands instead, and that one goes.
    pub fn commit(
        &self,
        store: &Store,
        layer: StagedLayer,
        chain_id: &Digest,
        replaces: bool,
        sync: Sync,
    ) -> Result<()> {
        let name = layer_name(chain_id);
        let rename = |flags| {
            let (staging, store) = (&self.directory, &store.directory);
            rustix::fs::renameat_with(staging, &*layer.name, store, &*name, flags)
        };
        let exchanged = match replaces {
            true => rename(RenameFlags::EXCHANGE),
            false => Err(Errno::NOENT),
        };
        // There may be nothing to replace; any other error must not pass for another's layer.
        let renamed = match exchanged {
            Err(Errno::NOENT) => match rename(RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) if !replaces => Ok(()),
                other => other,
            },
            other => other,
        };
        renamed.map_err(|errno| Error::system("giving the layer its final name", errno))?;
        let directory = store.open_dir(name.rsplit_once('/').expect("it has three parts").0)?;
        sync_directory(directory.as_fd(), sync)
            .map_err(|error| Error::system("writing the layer's name to disk", error))
    }
}

impl StagedLayer {
    /// The layer's own directory, opened once more.
    pub fn fs(&self) -> Result<Dir> {
        self.open(&format!("{}/{FS}", self.name))
    }

    fn open(&self, name: &str) -> Result<Dir> {
        self.staging
            .open_beneath(&EntryPath::parse(name.as_bytes())?)
            .map_err(|error| Error::system("opening the layer's directory", error))
    }

    /// Writes its listing beside it, and returns the tree digest.
    pub fn list(&self, tree: &Tree, selinux: bool, share: &ThreadShare<'_>) -> Result<Digest> {
        let file = self
            .open(&self.name)?
            .make_file(TREE_ZST.as_bytes())
            .map_err(|error| Error::system("making its listing", error))?;
        listing::write(self.fs()?, tree, selinux, file, share)
    }

    /// Writes down what it is; [`Staging::sync`] makes it durable with the rest.
    pub fn record(&self, record: &Record) -> Result<()> {
        write_json(&self.open(&self.name)?, LAYER_JSON, record, Sync::None)
            .map_err(|error| Error::system("writing layer.json", error))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now, the next one to open the store removes.
        let _ = self.parent.remove_tree(self.name.as_bytes());
    }
}
