//! One layer on several threads: one reads the blob and hashes it, one undoes the compression, one
//! hashes what comes out, and the calling one takes it. They pass on chunks that they share.
//!
//! [`super::work`] calls it for a layer that is worth it and where there are cores for it; the
//! result is that of [`LayerReader`](crate::compress::codec::LayerReader), which does it all on one thread.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::chunk::{Chunk, Chunks, Filling, Pool};
use crate::compress::codec::{Expected, Measured, Opened};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::threads::start;

use super::watch::Watch;

/// Chunks that wait between two threads, at most: what a stage may be ahead of the next.
const QUEUE: usize = 16;

type Passed = io::Result<Chunk>;

/// Opens a blob, gives its uncompressed bytes to `work`, which reads them to their end, and
/// compares what was expected. Errors: those of `work` before all others.
pub fn staged<O>(
    blob: impl Read + Send,
    expected: &Expected,
    limits: Limits,
    watch: Watch<'_>,
    work: impl FnOnce(Chunks<'_>) -> Result<O>,
) -> Result<(O, Measured)> {
    let (blob_algorithm, diff_algorithm) = expected.algorithms();
    std::thread::scope(|scope| {
        let (compressed, to_inflate) = sync_channel(QUEUE);
        let (uncompressed, to_take) = sync_channel::<Passed>(QUEUE);
        let (also_uncompressed, to_hash) = sync_channel(QUEUE);
        let read = move || read_blob(blob, blob_algorithm, &compressed);
        let blob = start(scope, "read", read)?;
        let inflated = start(scope, "inflate", move || {
            let blob = Chunks::new(Box::new(move || to_inflate.recv().ok().transpose()));
            let is_enough = blob_algorithm == diff_algorithm;
            inflate(blob, limits, is_enough, &uncompressed, &also_uncompressed)
        })?;
        let diff = start(scope, "hash", move || hash(diff_algorithm, &to_hash))?;
        let chunks = Chunks::new(Box::new(move || {
            watch.check()?;
            to_take.recv().ok().transpose()
        }));
        let done = work(chunks)?;
        let died = |_| Error::internal("a thread that read the layer died");
        let (uncompressed, is_own_diff) = inflated.join().map_err(died)?;
        let (blob, size) = blob.join().map_err(died)?;
        let diff = diff.join().map_err(died)?;
        let measured = Measured {
            diff_id: match is_own_diff {
                true => blob.clone(),
                false => diff,
            },
            blob,
            size,
            uncompressed,
        };
        expected.compare(&measured)?;
        Ok((done, measured))
    })
}

/// Reads a blob to its end, passes it on, and hashes it.
fn read_blob(blob: impl Read, algorithm: Algorithm, to: &SyncSender<Passed>) -> (Digest, u64) {
    let (pool, mut blob) = (Pool::default(), Filling::new(blob));
    let (mut hasher, mut size) = (Hasher::new(algorithm), 0);
    while let Some(passed) = pool.next(&mut blob).transpose() {
        let chunk = passed.as_ref().ok().map(Arc::clone);
        // If nobody takes it, nobody asks for the digest either.
        let (Ok(()), Some(chunk)) = (to.send(passed), chunk) else {
            break;
        };
        hasher.update(&chunk);
        size += chunk.len() as u64;
    }
    (hasher.finish(), size)
}

/// Undoes the compression. Returns how many bytes came out, and whether there was none, so that
/// the digest of the blob `is_enough`.
fn inflate(
    blob: Chunks<'_>,
    limits: Limits,
    is_enough: bool,
    to: &SyncSender<Passed>,
    also_to: &SyncSender<Chunk>,
) -> (u64, bool) {
    let opened = match Opened::new(blob, limits) {
        Ok(opened) => opened,
        Err(error) => {
            let _ = to.send(Err(error.into()));
            return (0, false);
        }
    };
    let is_own_diff = is_enough && opened.is_plain();
    let (pool, mut opened) = (Pool::default(), Filling::new(opened));
    while let Some(passed) = pool.next(&mut opened).transpose() {
        let is_good = match &passed {
            Ok(chunk) => is_own_diff || also_to.send(Arc::clone(chunk)).is_ok(),
            Err(_) => false,
        };
        if to.send(passed).is_err() || !is_good {
            break;
        }
    }
    (opened.get_ref().uncompressed(), is_own_diff)
}

fn hash(algorithm: Algorithm, chunks: &Receiver<Chunk>) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    for chunk in chunks {
        hasher.update(&chunk);
    }
    hasher.finish()
}
