//! `Progress`: the events that [`crate::store::pipeline`] reports while it works, and the question whether to
//! stop. The command line implements it with bars and lines; [`Silent`] ignores the events.
//!
//! Layers are counted from 0 at the bottom. Calls come from several threads at once, and should
//! return soon: the work waits.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::layer::report::Report;

/// How long to wait before looking again whether another process is done.
const MOMENT: Duration = Duration::from_millis(20);

/// Watches layers being unpacked.
pub trait Progress: Sync {
    /// A layer is in the store already, and is not read.
    fn was_there(&self, _layer: usize, _label: &str) {}

    /// Another process is unpacking a layer: this one waits for it.
    fn waits(&self, _layer: usize, _label: &str) {}

    /// Another process is removing something from the store: this one waits for it.
    fn waits_for_store(&self) {}

    /// The wait for another process is over.
    fn goes_on(&self) {}

    /// A layer's blob, of so many bytes, is about to be read.
    fn begins(&self, _layer: usize, _label: &str, _bytes: u64) {}

    /// So many more bytes of the blob were read.
    fn read(&self, _layer: usize, _bytes: u64) {}

    /// So many bytes of the blob have come from a registry.
    fn arrived(&self, _layer: usize, _bytes: u64) {}

    /// The connection to a registry failed, and the blob is asked for again: why, and from where on.
    fn retries(&self, _layer: usize, _text: &str) {}

    /// A layer is unpacked and settled.
    fn ends(&self, _layer: usize, _label: &str, _report: &Report) {}

    /// A layer's blob, of so many bytes, was copied.
    fn copied(&self, _layer: usize, _label: &str, _bytes: u64) {}

    /// A layer was compared with its record: so many differences were found.
    fn verified(&self, _layer: usize, _label: &str, _changes: usize) {}

    /// All layers are; the call waits for the disk.
    fn syncs(&self) {}

    /// Whether to give up: everything unfinished is removed, and the call fails with
    /// [`Kind::Cancelled`](crate::Kind::Cancelled).
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing and never cancels.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {}

/// Waits for another process, a moment at a time, and reports it once. Errors: cancelled.
pub fn waiting<'a>(
    progress: &'a dyn Progress,
    tell: impl Fn() + 'a,
) -> impl FnMut() -> Result<()> + 'a {
    let mut wait = Wait {
        progress,
        told: false,
    };
    move || {
        if !std::mem::replace(&mut wait.told, true) {
            tell();
        }
        std::thread::sleep(MOMENT);
        match progress.is_cancelled() {
            true => Err(Error::cancelled()),
            false => Ok(()),
        }
    }
}

/// Tells when the wait is over, if it told that there was one.
struct Wait<'a> {
    progress: &'a dyn Progress,
    told: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.told {
            self.progress.goes_on();
        }
    }
}
