//! [`staged`]: the stages that every layer's bytes go through: read and hash the blob, decompress,
//! hash the archive, and hand it over. [`super::work`] and [`crate::view`] call it.
//!
//! Each stage begins on the calling thread, and moves to one of its own as soon as the layer's
//! [`ThreadShare`] has one for it; from there it works ahead of the next stage. The order in which
//! stages move is that of their cost: decompression, the hash of the archive, the blob. The result is
//! the same on any number of threads.

mod ahead;
mod source;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::thread::Scope;

use crate::chunk::Chunks;
use crate::compress::codec::{Expected, Measured};
use crate::error::{Error, Result};
use crate::image;
use crate::limits::Limits;
use crate::threads::ThreadShare;

use super::watch::Watch;
use ahead::Ahead;
use source::{Archive, Blob};

/// Bytes of a blob whose stages are not worth threads of their own.
const SMALL: u64 = 128 * 1024;

/// The threads that stages may move to.
#[derive(Clone, Copy)]
struct Helpers<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    share: Option<&'scope ThreadShare<'scope>>,
}

/// Whether threads bring more than they cost for the stages of a layer.
pub fn is_worth_stages(blob: &image::Blob) -> bool {
    blob.len() >= SMALL
}

/// Opens a blob, gives its uncompressed bytes to `work`, which reads them to their end, and
/// compares them with what was expected. Without a `share`, all stages stay on this thread.
///
/// Errors: a stage panicked, before all others ([`Kind::Internal`](crate::Kind::Internal)); those of
/// `work`; something is not as expected ([`Kind::Mismatch`](crate::Kind::Mismatch)).
pub fn staged<O>(
    blob: impl Read + Send,
    expected: &Expected,
    limits: Limits,
    watch: Watch<'_>,
    share: Option<&ThreadShare<'_>>,
    work: impl FnOnce(Chunks<'_>) -> Result<O>,
) -> Result<(O, Measured)> {
    let algorithms = expected.algorithms();
    std::thread::scope(|scope| {
        let helpers = Helpers { scope, share };
        let blob = Ahead::new("read", Blob::new(blob, algorithms.0), helpers);
        let archive = Archive::open(blob, algorithms, limits, helpers)?;
        let mut archive = Ahead::new("inflate", archive, helpers);
        let done = work(Chunks::new(Box::new(|| {
            watch.check()?;
            archive.try_move();
            archive.next().transpose()
        })));
        let drained = match done {
            Ok(_) => archive.drain(),
            Err(_) => Ok(()),
        };
        // A stage that panicked looks like the end of the blob, which `work` may have refused.
        let measured = archive.finish()?;
        let done = done?;
        drained.map_err(|error| Error::reading("reading the blob to its end", error))?;
        expected.compare(&measured)?;
        Ok((done, measured))
    })
}
