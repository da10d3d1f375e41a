//! `LayerWriter`: compresses a layer into a blob and computes both digests on the way; the counterpart
//! of [`crate::compress::codec::LayerReader`].
//!
//! [`crate::repack::layout`] and packing write through it. It knows nothing of tar, or of where the blob
//! goes. The same bytes give the same blob: it holds no times and no names.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use crate::compress::codec::Measured;
use crate::digest::{Algorithm, Hasher};
use crate::error::{Error, Result};

/// The compression of a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// None.
    None,
    /// gzip, which every tool reads.
    #[default]
    Gzip,
    /// zstd: smaller and faster; allowed in OCI images since image-spec 1.1.
    Zstd,
}

impl Compression {
    /// The media type of such a layer, in an OCI or a Docker image.
    pub(crate) fn media_type(self, of_docker: bool) -> &'static str {
        match (self, of_docker) {
            (Compression::None, false) => "application/vnd.oci.image.layer.v1.tar",
            (Compression::Gzip, false) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Compression::Zstd, false) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Compression::None, true) => "application/vnd.docker.image.rootfs.diff.tar",
            (Compression::Gzip, true) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Compression::Zstd, true) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }
}

/// Writes the uncompressed bytes of one layer.
pub struct LayerWriter<W: Write> {
    encoder: Encoder<Counted<W>>,
    diff: Hasher,
    uncompressed: u64,
}

enum Encoder<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

/// Hashes and counts the bytes that it passes to a writer.
struct Counted<W> {
    out: W,
    hasher: Hasher,
    count: u64,
}

impl<W: Write> LayerWriter<W> {
    /// Starts a blob. Buffer a writer whose calls are expensive.
    pub fn new(out: W, compression: Compression) -> Result<LayerWriter<W>> {
        let counted = Counted {
            out,
            hasher: Hasher::new(Algorithm::Sha256),
            count: 0,
        };
        let encoder = match compression {
            Compression::None => Encoder::None(counted),
            Compression::Gzip => Encoder::Gzip(GzEncoder::new(counted, Default::default())),
            Compression::Zstd => Encoder::Zstd(
                zstd::stream::write::Encoder::new(counted, zstd::DEFAULT_COMPRESSION_LEVEL)
                    .map_err(writing)?,
            ),
        };
        Ok(LayerWriter {
            encoder,
            diff: Hasher::new(Algorithm::Sha256),
            uncompressed: 0,
        })
    }

    /// Finishes and flushes the blob; returns its digests and sizes.
    pub fn finish(self) -> Result<(W, Measured)> {
        let counted = match self.encoder {
            Encoder::None(out) => Ok(out),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        };
        let mut counted = counted.map_err(writing)?;
        counted.flush().map_err(writing)?;
        let measured = Measured {
            blob: counted.hasher.finish(),
            size: counted.count,
            diff_id: self.diff.finish(),
            uncompressed: self.uncompressed,
        };
        Ok((counted.out, measured))
    }
}

impl<W: Write> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.encoder {
            Encoder::None(out) => out.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }?;
        self.diff.update(&bytes[..count]);
        self.uncompressed += count as u64;
        Ok(count)
    }

    /// Flushes nothing: that would cost compression. [`LayerWriter::finish`] does.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn writing(error: io::Error) -> Error {
    Error::io("writing the blob", error)
}
