//! The limit on open files (`ulimit -n`), and how work that opens many adapts to it.
//!
//! Work of any size must fit: with fewer open files it takes longer. Called by [`crate::store::pipeline`]
//! and the caches of open directories.

use rustix::process::{Resource, getrlimit};

/// Files that are always open: standard streams, the store and its locks, an archive.
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

/// How many of these jobs, each unpacking a layer, may run at once; at least one.
pub fn jobs(wanted: usize) -> usize {
    let most = limit().saturating_sub(ALWAYS) / LAYER;
    wanted.min(most).max(1)
}

/// How many directories a cache may keep open, at most `wanted`.
pub fn cached(wanted: usize) -> usize {
    wanted.min(limit() / PART)
}
