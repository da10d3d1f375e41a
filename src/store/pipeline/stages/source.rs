//! The stages that make chunks: [`Blob`] reads and hashes the blob of a layer, [`Archive`] turns it
//! into the tar archive that it holds.

use std::io::Read;

use crate::chunk::{Filling, Pool};
use crate::compress::codec::{Measured, Opened};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::Result;
use crate::limits::Limits;

use super::Helpers;
use super::ahead::{Ahead, Hash, Passed, Stage};

/// Reads a blob to its end, and hashes it.
pub struct Blob<R> {
    reader: Filling<R>,
    pool: Pool,
    hasher: Hasher,
    size: u64,
}

impl<R: Read + Send> Blob<R> {
    /// Hashes with an algorithm.
    pub fn new(reader: R, algorithm: Algorithm) -> Blob<R> {
        Blob {
            reader: Filling::new(reader),
            pool: Pool::default(),
            hasher: Hasher::new(algorithm),
            size: 0,
        }
    }
}

impl<R: Read + Send> Stage for Blob<R> {
    /// Its digest and its size.
    type Summary = (Digest, u64);

    fn next(&mut self) -> Option<Passed> {
        let passed = self.pool.next(&mut self.reader).transpose()?;
        if let Ok(chunk) = &passed {
            self.hasher.update(chunk);
            self.size += chunk.len() as u64;
        }
        Some(passed)
    }

    fn finish(self) -> Result<(Digest, u64)> {
        Ok((self.hasher.finish(), self.size))
    }
}

/// Decompresses a blob, and hashes what comes out.
pub struct Archive<'scope, 'env, R: Read + Send + 'scope> {
    reader: Filling<Opened<Ahead<'scope, 'env, Blob<R>>>>,
    pool: Pool,
    /// `None` if the blob is its own archive: one digest serves for both.
    diff: Option<Hash<'scope, 'env>>,
}

impl<'scope, 'env, R: Read + Send + 'scope> Archive<'scope, 'env, R> {
    /// Finds out the compression. The algorithms are those of the blob and of the archive. Errors:
    /// those of [`Opened::new`].
    pub fn open(
        blob: Ahead<'scope, 'env, Blob<R>>,
        (blob_algorithm, diff_algorithm): (Algorithm, Algorithm),
        limits: Limits,
        helpers: Helpers<'scope, 'env>,
    ) -> Result<Archive<'scope, 'env, R>> {
        let opened = Opened::new(blob, limits)?;
        let is_same = opened.is_plain() && blob_algorithm == diff_algorithm;
        Ok(Archive {
            reader: Filling::new(opened),
            pool: Pool::default(),
            diff: (!is_same).then(|| Hash::new(diff_algorithm, helpers)),
        })
    }
}

impl<'scope, R: Read + Send + 'scope> Stage for Archive<'scope, '_, R> {
    type Summary = Measured;

    fn next(&mut self) -> Option<Passed> {
        if let Some(diff) = &mut self.diff {
            diff.try_move();
        }
        self.reader.get_mut().blob_mut().try_move();
        let passed = self.pool.next(&mut self.reader).transpose()?;
        if let (Some(diff), Ok(chunk)) = (&mut self.diff, &passed) {
            diff.update(chunk);
        }
        Some(passed)
    }

    fn finish(self) -> Result<Measured> {
        let opened = self.reader.into_inner();
        let uncompressed = opened.uncompressed();
        let blob = opened.into_blob().finish();
        let diff = self.diff.map(Hash::finish).transpose();
        let (blob, size) = blob?;
        Ok(Measured {
            diff_id: diff?.unwrap_or_else(|| blob.clone()),
            blob,
            size,
            uncompressed,
        })
    }
}
