//! The same bytes and digests on any number of threads, and a stage that panics.

use std::io::{self, Read};

use super::*;
use crate::compress::encoder::{Compression, LayerWriter};
use crate::error::Kind;
use crate::progress::Silent;
use crate::store::pipeline::watch::LowestFailure;
use crate::threads::{ThreadBudget, caught};

/// Bytes of several chunks, of which a compression leaves several too.
fn bytes() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..3_000_000).map(|_| next()).collect()
}

fn blob_of(compression: Compression) -> (Vec<u8>, Measured) {
    let mut writer = LayerWriter::new(Vec::new(), compression).unwrap();
    io::Write::write_all(&mut writer, &bytes()).unwrap();
    writer.finish().unwrap()
}

/// Reads a blob on at most so many threads besides this one.
fn read(blob: impl Read + Send, threads: usize) -> Result<(Vec<u8>, Measured)> {
    let budget = ThreadBudget::with_limit(4, threads);
    let (share, failure) = (budget.share(), LowestFailure::none());
    let watch = Watch {
        index: 0,
        progress: &Silent,
        failure: &failure,
    };
    let (expected, limits) = (Expected::default(), Limits::default());
    staged(
        blob,
        &expected,
        limits,
        watch,
        Some(&share),
        |mut chunks| {
            let mut all = Vec::new();
            let read = chunks.read_to_end(&mut all);
            read.map_err(|error| Error::reading("reading it", error))?;
            Ok(all)
        },
    )
}

#[test]
fn any_number_of_threads_reads_the_same() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let (blob, written) = blob_of(compression);
        for threads in 0..5 {
            let (read, measured) = read(&*blob, threads).unwrap();
            assert_eq!(read, bytes(), "{compression:?} on {threads} threads");
            assert_eq!(measured.blob, written.blob);
            assert_eq!(measured.diff_id, written.diff_id);
            assert_eq!(measured.size, written.size);
            assert_eq!(measured.uncompressed, written.uncompressed);
        }
    }
}

/// Panics where its bytes end.
struct Panics<'a>(&'a [u8]);

impl Read for Panics<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.0.is_empty(), "as the test wants");
        self.0.read(buffer)
    }
}

#[test]
fn a_stage_that_panics_is_no_fault_of_the_blob() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let (blob, _) = blob_of(compression);
        for threads in 0..5 {
            let read = caught("test", || read(Panics(&blob[..1_500_000]), threads));
            let error = read.expect_err("it panics");
            assert_eq!(
                error.kind(),
                Kind::Internal,
                "{compression:?} on {threads} threads"
            );
        }
    }
}
