//! `DirCache`: open directories of a tree, by the id that the tree's owner gives each of them.
//!
//! Used for the directories of the layers below (`overlay`) and of the layer being unpacked (`unpack`). It
//! opens and closes directories; it never reads, creates or removes one.
//!
//! A directory is opened from its nearest open ancestor, so a walk through a tree of any depth costs a
//! constant number of steps per directory, even on the way back up: on the way down to a distant directory
//! the cache keeps those at half of the distance, at three quarters, and so on.

#[cfg(test)]
pub mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use crate::fs::descriptors;
use crate::fs::root::{Dir, Mounts};
use crate::path::PATH_MAX;

/// The directories of a tree, or of several trees.
pub trait DirPath {
    /// Identifies a directory. It must not be reused while the cache may hold that directory.
    type Id: Copy + Eq + Hash;

    /// The parent of a directory, and its name there: a single component. `None` for a root.
    fn parent(&self, id: Self::Id) -> Option<(Self::Id, &[u8])>;

    /// A root, open.
    ///
    /// Errors: the system's.
    fn open_root(&self, id: Self::Id) -> io::Result<Arc<Dir>>;
}

/// Open directories, at most `capacity` of them: the least recently used one is closed first.
#[derive(Debug)]
pub struct DirCache<Id> {
    open: HashMap<Id, Slot>,
    capacity: usize,
    mounts: Mounts,
    /// Counts the uses.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    dir: Arc<Dir>,
    used: u64,
}

impl<Id: Copy + Eq + Hash> DirCache<Id> {
    /// An empty cache that keeps at most `capacity` descriptors open, fewer if the process may open few.
    /// With 0 it keeps none.
    pub fn new(capacity: usize) -> DirCache<Id> {
        DirCache {
            open: HashMap::new(),
            capacity: descriptors::cached(capacity),
            mounts: Mounts::Entered,
            clock: 0,
        }
    }

    /// The same, but no path into a mount below the root is opened.
    pub fn on_one_mount(capacity: usize) -> DirCache<Id> {
        DirCache {
            mounts: Mounts::Refused,
            ..DirCache::new(capacity)
        }
    }

    /// A directory, opened if needed. No symbolic link on the way is followed: it is an error, and nothing
    /// leaves the root.
    ///
    /// Errors: the system's. When the process has no descriptor left, the cache first closes all of its own.
    pub fn get(&mut self, id: Id, paths: &impl DirPath<Id = Id>) -> io::Result<Arc<Dir>> {
        // The directories to open and their names, topmost last.
        let mut missing = Vec::new();
        let mut at = id;
        let mut dir = loop {
            if let Some(dir) = self.find(at) {
                break dir;
            }
            let Some((parent, name)) = paths.parent(at) else {
                let root = self.open_with(|| paths.open_root(at))?;
                self.keep(at, &root);
                break root;
            };
            missing.push((at, name));
            at = parent;
        };
        while !missing.is_empty() {
            let (id, path) = take_half(&mut missing);
            let mounts = self.mounts;
            dir = self.open_with(|| dir.open_dir(&path, mounts).map(Arc::new))?;
            self.keep(id, &dir);
        }
        Ok(dir)
    }

    /// Closes a directory that was removed. Those below it stay open until they are the least recently
    /// used ones.
    pub fn forget(&mut self, id: Id) {
        self.open.remove(&id);
    }

    /// Closes all directories.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    fn find(&mut self, id: Id) -> Option<Arc<Dir>> {
        self.clock += 1;
        let slot = self.open.get_mut(&id)?;
        slot.used = self.clock;
        Some(Arc::clone(&slot.dir))
    }

    /// Adds a directory that the caller has opened.
    pub fn keep(&mut self, id: Id, dir: &Arc<Dir>) {
        if self.open.len() >= self.capacity {
            let oldest = self.open.iter().min_by_key(|(_, slot)| slot.used);
            let Some((&oldest, _)) = oldest else {
                return;
            };
            self.open.remove(&oldest);
        }
        self.clock += 1;
        let (dir, used) = (Arc::clone(dir), self.clock);
        self.open.insert(id, Slot { dir, used });
    }

    /// Opens a directory; if there is no descriptor left, keeps fewer from then on.
    fn open_with(&mut self, open: impl Fn() -> io::Result<Arc<Dir>>) -> io::Result<Arc<Dir>> {
        match open() {
            Err(error) if is_out_of_descriptors(&error) && !self.open.is_empty() => {
                self.capacity = self.open.len() / 2;
                self.clear();
                open()
            }
            other => other,
        }
    }
}

/// Takes the upper half of a list of directories, the topmost last, as one path; less where that would be
/// longer than the system takes.
fn take_half<Id: Copy>(missing: &mut Vec<(Id, &[u8])>) -> (Id, Vec<u8>) {
    let left = missing.len() / 2;
    let (mut last, name) = missing.pop().expect("there is at least one");
    let mut path = name.to_vec();
    while missing.len() > left
        && let Some((id, name)) =
            missing.pop_if(|(_, name)| path.len() + 1 + name.len() <= PATH_MAX)
    {
        path.push(b'/');
        path.extend_from_slice(name);
        last = id;
    }
    (last, path)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
