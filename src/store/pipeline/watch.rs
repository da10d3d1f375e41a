//! `Watch`: watches a layer while it is read. It counts the bytes, and stops the reading once the layer
//! need not be finished.
//!
//! Once a layer has failed, the layers above it are cancelled, and those below it go on. So of several bad
//! layers the lowest is reported, whatever the threads do.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
#[cfg(feature = "registry")]
use crate::image::Blob;
use crate::progress::Progress;

/// The index of the lowest layer that failed so far.
#[derive(Debug)]
pub struct LowestFailure(AtomicUsize);

impl LowestFailure {
    /// None yet.
    pub fn none() -> LowestFailure {
        LowestFailure(AtomicUsize::new(usize::MAX))
    }

    /// A layer failed.
    pub fn add(&self, index: usize) {
        self.0.fetch_min(index, Ordering::Relaxed);
    }

    /// Whether a layer below this one failed.
    pub fn is_below(&self, index: usize) -> bool {
        self.0.load(Ordering::Relaxed) < index
    }
}

/// Decides whether reading a layer goes on.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The index of the layer, from 0.
    pub index: usize,
    /// Shows the progress, and may cancel.
    pub progress: &'a dyn Progress,
    /// The failures of other layers.
    pub failure: &'a LowestFailure,
}

impl<'a> Watch<'a> {
    /// The blob of the layer: its bytes are counted.
    pub fn blob<R: Read>(self, inner: R) -> Watched<'a, R> {
        Watched {
            inner,
            watch: self,
            counts: true,
        }
    }

    /// Some other form of it: a few bytes of the blob may be very many of this.
    pub fn uncounted<R: Read>(self, inner: R) -> Watched<'a, R> {
        Watched {
            inner,
            watch: self,
            counts: false,
        }
    }

    /// Tells the progress what happens to a blob of a registry while it is read.
    #[cfg(feature = "registry")]
    pub fn told<R: Read>(self, inner: R, blob: &'a Blob) -> Told<'a, R> {
        Told {
            inner,
            blob,
            watch: self,
        }
    }

    /// Errors: it was cancelled, or a layer below failed, whose error will be reported.
    pub fn check(self) -> Result<()> {
        match self.progress.is_cancelled() {
            true => Err(Error::cancelled()),
            false if self.failure.is_below(self.index) => Err(Error::cancelled()),
            false => Ok(()),
        }
    }
}

/// See [`Watch::blob`].
pub struct Watched<'a, R> {
    inner: R,
    watch: Watch<'a>,
    counts: bool,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.check()?;
        let count = self.inner.read(buffer)?;
        if self.counts {
            self.watch.progress.read(self.watch.index, count as u64);
        }
        Ok(count)
    }
}

/// See [`Watch::told`].
#[cfg(feature = "registry")]
pub struct Told<'a, R> {
    inner: R,
    blob: &'a Blob,
    watch: Watch<'a>,
}

#[cfg(feature = "registry")]
impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        if let Some((arrived, news)) = self.blob.news() {
            let Watch {
                index, progress, ..
            } = self.watch;
            progress.arrived(index, arrived);
            news.iter().for_each(|text| progress.retries(index, text));
        }
        read
    }
}
