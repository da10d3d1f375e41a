//! What the cache opens, what it costs, and what it refuses to follow.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{DirCache, DirPath};
use crate::fs::root::{Dir, Mounts, is_absent};

/// A chain of directories, each of the same name, with the root as 0.
struct Chain {
    root: Arc<Dir>,
    name: Vec<u8>,
    /// How many parents were asked for.
    asked: Cell<usize>,
}

impl Chain {
    fn make(path: &Path, name: &str, depth: usize) -> Chain {
        let root = Arc::new(Dir::open(path).unwrap());
        let mut dir = root.open_dir(b"", Mounts::Entered).unwrap();
        for _ in 0..depth {
            dir.make_dir(name.as_bytes()).unwrap();
            dir = dir.open_dir(name.as_bytes(), Mounts::Entered).unwrap();
        }
        let (name, asked) = (name.into(), Cell::new(0));
        Chain { root, name, asked }
    }
}

impl DirPath for Chain {
    type Id = usize;

    fn parent(&self, id: usize) -> Option<(usize, &[u8])> {
        self.asked.set(self.asked.get() + 1);
        Some((id.checked_sub(1)?, &self.name))
    }

    fn open_root(&self, _: usize) -> io::Result<Arc<Dir>> {
        Ok(Arc::clone(&self.root))
    }
}

/// Without a disk where there is one in memory: thousands of directories are made.
pub fn scratch() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// The processor time of this thread, which other processes do not change much.
pub fn processor_time() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = times.split(' ').next().unwrap();
    Duration::from_nanos(nanoseconds.parse().unwrap())
}

fn inode(dir: &Dir) -> u64 {
    dir.stat_self().unwrap().st_ino
}

#[test]
fn a_directory_deeper_than_the_capacity_is_opened() {
    let scratch = scratch();
    let chain = Chain::make(scratch.path(), "d", 100);
    for capacity in [0, 1, 2, 5] {
        let mut cache = DirCache::new(capacity);
        let mut path = scratch.path().to_path_buf();
        for depth in 1..=100 {
            path.push("d");
            let expected = path.metadata().unwrap().ino();
            assert_eq!(inode(&cache.get(depth, &chain).unwrap()), expected);
            assert!(cache.open.len() <= capacity);
        }
        let last = path.metadata().unwrap().ino();
        cache.get(0, &chain).unwrap();
        assert_eq!(inode(&cache.get(100, &chain).unwrap()), last);
    }
}

#[test]
fn a_path_longer_than_the_system_takes_is_opened() {
    let scratch = scratch();
    let name = "n".repeat(255);
    let chain = Chain::make(scratch.path(), &name, 70);
    let deepest = DirCache::new(0).get(70, &chain).unwrap();
    assert!(deepest.names().unwrap().is_empty());
    let above = DirCache::new(8).get(69, &chain).unwrap();
    assert_eq!(above.names().unwrap(), [name.as_bytes().into()]);
}

#[test]
fn going_back_up_costs_little_more_than_going_down() {
    const DEPTH: usize = 900;
    let scratch = scratch();
    let chain = Chain::make(scratch.path(), "d", DEPTH);
    let mut cache = DirCache::new(64);
    for depth in (0..=DEPTH).rev() {
        cache.get(depth, &chain).unwrap();
    }
    // The binary logarithm of 900 is 10.
    assert!(chain.asked.get() < 10 * DEPTH, "{}", chain.asked.get());
}

#[test]
fn an_open_directory_is_not_opened_again() {
    let scratch = scratch();
    let chain = Chain::make(scratch.path(), "d", 20);
    let mut cache = DirCache::new(8);
    let first = cache.get(20, &chain).unwrap();
    let asked = chain.asked.get();
    assert!(Arc::ptr_eq(&first, &cache.get(20, &chain).unwrap()));
    assert_eq!(chain.asked.get(), asked);
    cache.forget(20);
    assert!(!Arc::ptr_eq(&first, &cache.get(20, &chain).unwrap()));
    assert_eq!(chain.asked.get(), asked + 1);
    cache.clear();
    assert!(cache.open.is_empty());
}

#[test]
fn a_symbolic_link_on_the_way_is_not_followed() {
    let scratch = scratch();
    let chain = Chain::make(scratch.path(), "d", 2);
    std::fs::rename(scratch.path().join("d/d"), scratch.path().join("e")).unwrap();
    std::os::unix::fs::symlink("../e", scratch.path().join("d/d")).unwrap();
    let error = DirCache::new(8).get(2, &chain).unwrap_err();
    assert!(is_absent(&error), "{error}");
    std::fs::create_dir(scratch.path().join("e/d")).unwrap();
    let error = DirCache::new(8).get(3, &chain).unwrap_err();
    assert!(is_absent(&error), "{error}");
}

#[test]
fn without_descriptors_left_the_cache_closes_its_own() {
    let scratch = scratch();
    let chain = Chain::make(scratch.path(), "d", 40);
    let mut cache = DirCache::new(64);
    for depth in 1..=40 {
        cache.get(depth, &chain).unwrap();
    }
    let refused = Cell::new(false);
    let opened = cache.open_with(|| match refused.replace(true) {
        false => Err(rustix::io::Errno::MFILE.into()),
        true => Ok(Arc::clone(&chain.root)),
    });
    opened.unwrap();
    assert!(cache.open.is_empty());
    for depth in 1..=40 {
        cache.get(depth, &chain).unwrap();
    }
    assert_eq!(cache.open.len(), 20);
}
