//! Making compressed blobs, and reading them by the product, for the other tests to look at.

use std::io::{Read, Write};

use lowerdir::Digest;
use lowerdir::image::{Expected, Measured};
use lowerdir::internals::LayerReader;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// With a checksum, as the `zstd` command writes it.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zstd frame that decodes to nothing.
pub fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_le_bytes();
    [&[0x5a, 0x2a, 0x4d, 0x18][..], &length, bytes].concat()
}

/// What a blob decodes to, and what it was measured to be.
pub fn decode(blob: &[u8], expected: Expected) -> lowerdir::Result<(Vec<u8>, Measured)> {
    let mut reader = LayerReader::open(blob, expected)?;
    let mut bytes = Vec::new();
    let reading = |error| lowerdir::Error::reading("reading", error);
    reader.read_to_end(&mut bytes).map_err(reading)?;
    Ok((bytes, reader.finish()?))
}

/// The kind of error that a blob gets.
pub fn refusal(blob: &[u8], expected: Expected) -> lowerdir::Kind {
    match decode(blob, expected) {
        Err(error) => error.kind(),
        Ok((bytes, _)) => panic!("{} bytes of a bad blob", bytes.len()),
    }
}

/// All that an image can promise.
pub fn promise(blob: &[u8], diff: &[u8]) -> Expected {
    Expected {
        blob: Some(Digest::of(blob)),
        size: Some(blob.len() as u64),
        diff_id: Some(Digest::of(diff)),
    }
}
