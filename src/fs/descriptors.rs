//! How many files this process may have open (`ulimit -n`), and what that means for work that opens many.
//!
//! Work of any size must fit: it takes more time where it may open fewer files. [`crate::store::pipeline`]
//! and caches of open directories ask.

use rustix::process::{Resource, getrlimit};

/// Files that are open whatever is done: standard streams, the store and its locks, an archive.
const ALWAYS: usize = 32;
/// Files that unpacking one layer takes: its blob, the directories on the way to the last one, and a file
/// and a directory for each of its writers.
const LAYER: usize = 24;
/// Of all that may be open, a cache takes one part in so many.
const PART: usize = 8;

fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// As many of these jobs as may be done at once, at least one. Each unpacks a layer.
pub fn jobs(wanted: usize) -> usize {
    let most = limit().saturating_sub(ALWAYS) / LAYER;
    wanted.min(most).max(1)
}

/// The directories that a cache may keep open, at most `wanted`.
pub fn cached(wanted: usize) -> usize {
    wanted.min(limit() / PART)
}
