//! Decompression: the format is detected by its first bytes, whatever the media type says, and both
//! digests are computed on the way.
//!
//! [`crate::store::pipeline`] opens each layer through [`LayerReader`]; [`crate::image`] opens whole
//! compressed archives through [`Decoder`]. This module knows nothing of tar.
//! Formats: RFC 1952 (gzip, with several members), RFC 8878 (zstd, with several and skippable
//! frames), the .xz file format (with several streams).

use std::io::{self, BufRead, BufReader, Read};

use crate::chunk::Filling;
use crate::digest::{Algorithm, Digest, Hasher, HashingReader};
use crate::error::{Error, Result};
use crate::limits::Limits;

const BUFFER: usize = 256 * 1024;
/// What the decoders' errors say when they exceed the memory limit.
const WINDOW_DENIED: [&str; 2] = ["too much memory", "memory limit reached"];
/// Memory that an xz decoder needs besides its dictionary, rounded up, in bytes.
const XZ_OVERHEAD: u64 = 1 << 20;
/// A decompressed stream.
pub enum Decoder<R: Read> {
    /// Not compressed, or in an unknown format.
    Plain(Buffered<R>),
    /// One or more gzip members.
    Gzip(Box<flate2::bufread::MultiGzDecoder<Buffered<R>>>),
    /// One or more zstd frames.
    Zstd(Box<zstd::stream::read::Decoder<'static, Buffered<R>>>),
    /// One or more xz streams.
    Xz(Box<liblzma::bufread::XzDecoder<Buffered<R>>>),
}

/// A reader whose buffer is filled completely, so that the first read has the magic bytes.
pub type Buffered<R> = BufReader<Filling<R>>;

impl<R: Read> Decoder<R> {
    /// Detects the format by the first bytes. Errors: a compression that no image specification allows
    /// ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn open(reader: R) -> Result<Decoder<R>> {
        Decoder::with_limits(reader, &Limits::default())
    }

    /// The same, with the given limits.
    pub fn with_limits(reader: R, limits: &Limits) -> Result<Decoder<R>> {
        let mut reader = BufReader::with_capacity(BUFFER, Filling::new(reader));
        let start = reader
            .fill_buf()
            .map_err(|error| Error::reading("reading the first bytes", error))?;
        match start {
            [0x1f, 0x8b, ..] => Ok(Decoder::Gzip(Box::new(
                flate2::bufread::MultiGzDecoder::new(reader),
            ))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                zstd(reader, limits)
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => xz(reader, limits),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => {
                Err(unsupported("bzip2", "bzip2 -dc"))
            }
            [0x04, 0x22, 0x4d, 0x18, ..] => Err(unsupported("lz4", "lz4 -dc")),
            _ => Ok(Decoder::Plain(reader)),
        }
    }

    /// Whether the bytes come through as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self, Decoder::Plain(_))
    }

    fn get_ref(&self) -> &R {
        let buffered = match self {
            Decoder::Plain(reader) => reader,
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
            Decoder::Xz(decoder) => decoder.get_ref(),
        };
        buffered.get_ref().get_ref()
    }

    fn get_mut(&mut self) -> &mut R {
        let buffered = match self {
            Decoder::Plain(reader) => reader,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
            Decoder::Xz(decoder) => decoder.get_mut(),
        };
        buffered.get_mut().get_mut()
    }

    /// The reader itself, wherever it stands.
    pub fn into_inner(self) -> R {
        let buffered = match self {
            Decoder::Plain(reader) => reader,
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
            Decoder::Xz(decoder) => decoder.into_inner(),
        };
        buffered.into_inner().into_inner()
    }
}

fn unsupported(name: &str, undo: &str) -> Error {
    let text = format!("{name} compression is not supported: gzip, zstd and xz are");
    Error::refused(text).hint(format!(
        "decompress it first: `{undo} FILE | lowerdir VERB - ...`"
    ))
}

fn zstd<R: Read>(reader: Buffered<R>, limits: &Limits) -> Result<Decoder<R>> {
    let open = || {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        decoder.window_log_max(limits.window.max(1).ilog2())?;
        Ok(Decoder::Zstd(Box::new(decoder)))
    };
    open().map_err(|error: io::Error| Error::reading("starting zstd", error))
}

fn xz<R: Read>(reader: Buffered<R>, limits: &Limits) -> Result<Decoder<R>> {
    let flags = liblzma::stream::CONCATENATED;
    let stream = liblzma::stream::Stream::new_stream_decoder(limits.window + XZ_OVERHEAD, flags)
        .map_err(|error| Error::reading("starting xz", error.into()))?;
    let decoder = liblzma::bufread::XzDecoder::new_stream(reader, stream);
    Ok(Decoder::Xz(Box::new(decoder)))
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(reader) => reader.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Xz(decoder) => decoder.read(buffer),
        }
    }
}

/// The expected digests and size of a blob; those that are not known are not checked.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The digest of the blob as it is stored.
    pub blob: Option<Digest>,
    /// The size of the blob as it is stored, in bytes.
    pub size: Option<u64>,
    /// The digest of the uncompressed archive.
    pub diff_id: Option<Digest>,
}

/// The actual digests and sizes of a blob.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// The digest of the blob as it is stored.
    pub blob: Digest,
    /// The size of the blob as it is stored, in bytes.
    pub size: u64,
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The size of the uncompressed archive, in bytes.
    pub uncompressed: u64,
}

/// A decompressed layer, within limits.
pub struct Opened<R: Read> {
    decoder: Decoder<Counted<R>>,
    uncompressed: u64,
    limits: Limits,
}

impl<R: Read> Opened<R> {
    /// Opens a blob. Errors: those of [`Decoder::open`].
    pub fn new(blob: R, limits: Limits) -> Result<Opened<R>> {
        Ok(Opened {
            decoder: Decoder::with_limits(Counted { blob, count: 0 }, &limits)?,
            uncompressed: 0,
            limits,
        })
    }

    /// Whether the bytes come through as they are.
    pub fn is_plain(&self) -> bool {
        self.decoder.is_plain()
    }

    /// How many decompressed bytes were read so far.
    pub fn uncompressed(&self) -> u64 {
        self.uncompressed
    }

    fn blob(&self) -> &R {
        &self.decoder.get_ref().blob
    }

    /// The reader of the blob, which must not be read from.
    pub fn blob_mut(&mut self) -> &mut R {
        &mut self.decoder.get_mut().blob
    }

    /// The reader of the blob, wherever it stands.
    pub fn into_blob(self) -> R {
        self.decoder.into_inner().blob
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer).map_err(|error| {
            let denied = WINDOW_DENIED
                .iter()
                .any(|text| error.to_string().contains(text));
            match denied {
                true => self.limits.window_reached().into(),
                false => error,
            }
        })?;
        self.uncompressed += count as u64;
        let blob = self.decoder.get_ref().count;
        self.limits.check_bytes(self.uncompressed, blob)?;
        Ok(count)
    }
}

/// A blob, and how many of its bytes were read.
struct Counted<R> {
    blob: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// The uncompressed bytes of one layer, hashed before and after decompression.
pub struct LayerReader<R: Read> {
    opened: Opened<HashingReader<R>>,
    /// `None` if the blob is not compressed: one digest serves for both.
    diff: Option<Hasher>,
    expected: Expected,
}

impl<R: Read> LayerReader<R> {
    /// Opens a blob. Nothing is verified until [`finish`](LayerReader::finish).
    pub fn open(blob: R, expected: Expected) -> Result<LayerReader<R>> {
        LayerReader::with_limits(blob, expected, Limits::default())
    }

    /// The same, with the given limits.
    pub fn with_limits(blob: R, expected: Expected, limits: Limits) -> Result<LayerReader<R>> {
        let (blob_algorithm, diff_algorithm) = expected.algorithms();
        let opened = Opened::new(HashingReader::new(blob, blob_algorithm), limits)?;
        let same = opened.is_plain() && blob_algorithm == diff_algorithm;
        Ok(LayerReader {
            opened,
            diff: (!same).then(|| Hasher::new(diff_algorithm)),
            expected,
        })
    }

    /// Reads the rest, to the blob's last byte, and verifies it. Errors: a digest or size differs
    /// ([`Kind::Mismatch`](crate::Kind::Mismatch)), or the rest is damaged.
    pub fn finish(mut self) -> Result<Measured> {
        io::copy(&mut self, &mut io::sink())
            .map_err(|error| Error::reading("reading the blob to its end", error))?;
        let (blob, size) = self.opened.blob().result();
        let measured = Measured {
            diff_id: self.diff.map_or_else(|| blob.clone(), Hasher::finish),
            blob,
            size,
            uncompressed: self.opened.uncompressed(),
        };
        self.expected.compare(&measured)?;
        Ok(measured)
    }
}

impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.opened.read(buffer)?;
        if let Some(diff) = &mut self.diff {
            diff.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl Expected {
    /// The algorithms of the blob's digest and of the diff ID.
    pub fn algorithms(&self) -> (Algorithm, Algorithm) {
        let of =
            |digest: &Option<Digest>| digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        (of(&self.blob), of(&self.diff_id))
    }

    /// Errors: a digest or size differs ([`Kind::Mismatch`](crate::Kind::Mismatch)).
    pub fn compare(&self, measured: &Measured) -> Result<()> {
        let differs = |what: &str, is: &dyn ToString, promised: &dyn ToString| {
            let (is, promised) = (is.to_string(), promised.to_string());
            Err(
                Error::mismatch(format!("the {what} is {is}, the image says {promised}"))
                    .hint("the blob is damaged, or is another one: fetch the image again"),
            )
        };
        match (&self.size, &self.blob, &self.diff_id) {
            (Some(size), _, _) if *size != measured.size => {
                differs("blob's size", &measured.size, size)
            }
            (_, Some(blob), _) if *blob != measured.blob => {
                differs("blob's digest", &measured.blob, blob)
            }
            (_, _, Some(diff_id)) if *diff_id != measured.diff_id => {
                differs("diff ID", &measured.diff_id, diff_id)
            }
            _ => Ok(()),
        }
    }
}
