//! `codec`: our decoders beside others, written apart from them: `miniz_oxide` under a gzip reader
//! of a page, `ruzstd`, `lzma-rust2`.
//!
//! What ours accepts, theirs must accept with the same bytes: so nothing that is cut short, damaged
//! under a checksum, or followed by garbage passes. The digests and sizes that come out are those of
//! the bytes, and do not depend on how the blob comes in. What was compressed honestly must come back.
//!
//! The intended differences:
//! - Ours may refuse what theirs takes: a window over the limit, garbage where theirs looks no further.
//! - A dictionary, which no layer has, is an error of its own for each.
//! - `ruzstd` does not compare a frame's checksum; that is done here.

use std::io::{self, Read, Write};

use lowerdir::Digest;
use lowerdir::image::{Expected, Measured};
use lowerdir::internals::LayerReader;
use lowerdir::{Error, Kind, Limits};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::dice::Dice;

/// Enough for a fuzzer, and little enough for all that it asks for.
fn limits() -> Limits {
    Limits::default()
        .bytes(4 << 20)
        .ratio(4 << 20)
        .window(8 << 20)
}

/// The first byte chooses between bytes as they are and parts that are compressed here.
pub fn check(data: &[u8]) {
    let Some((form, rest)) = data.split_first() else {
        return;
    };
    let (blob, content) = match form % 2 {
        0 => parts(Dice::of_bytes(rest)),
        _ => (rest.to_vec(), None),
    };
    let whole = decode(&blob[..]);
    let pieces = decode(Pieces(&blob, 0));
    if let Some(content) = content {
        let (bytes, _) = whole.as_ref().expect("an honest blob");
        assert!(*bytes == content, "what was compressed comes back");
    }
    match (&whole, &pieces) {
        (Ok((bytes, measured)), Ok((in_pieces, measured_too))) => {
            assert!(bytes == in_pieces, "in pieces, and as a whole");
            for measured in [measured, measured_too] {
                assert_eq!(measured.blob, Digest::of(&blob));
                assert_eq!(measured.diff_id, Digest::of(bytes));
                assert_eq!(measured.size, blob.len() as u64);
                assert_eq!(measured.uncompressed, bytes.len() as u64);
            }
            match reference(&blob) {
                Ok(theirs) => assert!(*bytes == theirs, "the reference has other bytes"),
                Err(error) => panic!("the reference refuses it: {error}"),
            }
        }
        (Err(error), Err(other)) => {
            assert_eq!(error.kind(), other.kind(), "in pieces, and as a whole");
            assert!(
                matches!(error.kind(), Kind::Refused | Kind::Limit),
                "{error}"
            );
        }
        (one, other) => panic!("as a whole {}, in pieces {}", one.is_ok(), other.is_ok()),
    }
}

fn decode(blob: impl Read) -> lowerdir::Result<(Vec<u8>, Measured)> {
    let mut reader = LayerReader::with_limits(blob, Expected::default(), limits())?;
    let mut bytes = Vec::new();
    let reading = |error| Error::reading("reading", error);
    reader.read_to_end(&mut bytes).map_err(reading)?;
    Ok((bytes, reader.finish()?))
}

/// Gives a few bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 5 + 1;
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// A blob of several parts of one form, and what it holds unless something is wrong with it.
fn parts(mut dice: Dice) -> (Vec<u8>, Option<Vec<u8>>) {
    let form = dice.below(3);
    let (mut blob, mut content) = (Vec::new(), Vec::new());
    for _ in 0..1 + dice.below(3) {
        let part = vec![dice.byte(); *dice.pick(&[10, 0, 1, 300, 5000])];
        let part = [&part[..], &[dice.byte(), dice.byte()]].concat();
        blob.extend(compressed(form, &part, &mut dice));
        content.extend(part);
        if form == 1 && dice.percent(20) {
            blob.extend([
                0x50 + dice.byte() % 16,
                0x2a,
                0x4d,
                0x18,
                3,
                0,
                0,
                0,
                1,
                2,
                3,
            ]);
        }
        if form == 2 && dice.percent(20) {
            blob.extend([0; 8]);
        }
    }
    let is_honest = !spoil(&mut blob, &mut dice);
    (blob, is_honest.then_some(content))
}

fn compressed(form: u64, part: &[u8], dice: &mut Dice) -> Vec<u8> {
    let written = match form {
        0 => {
            let mut builder = flate2::GzBuilder::new();
            if dice.percent(20) {
                builder = builder.filename("layer.tar").extra(*b"extra").comment("c");
            }
            let level = flate2::Compression::new(dice.below(10) as u32);
            let mut encoder = builder.write(Vec::new(), level);
            encoder.write_all(part).and_then(|()| encoder.finish())
        }
        1 => {
            let level = 1 + dice.below(4) as i32;
            let mut encoder = zstd::Encoder::new(Vec::new(), level).expect("a known level");
            encoder.include_checksum(dice.percent(50)).expect("known");
            encoder.write_all(part).and_then(|()| encoder.finish())
        }
        _ => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(part).and_then(|()| encoder.finish())
        }
    };
    written.expect("memory takes it")
}

/// Damages a blob, now and then; whether it did.
fn spoil(blob: &mut Vec<u8>, dice: &mut Dice) -> bool {
    if !dice.percent(70) {
        return false;
    }
    let at = dice.below(blob.len() as u64) as usize;
    match dice.below(5) {
        0 => blob.truncate(at),
        1 => blob[at] ^= 1 << dice.below(8),
        2 => blob.extend(vec![0; 1 + dice.below(600) as usize]),
        3 => blob.push(dice.byte()),
        _ => {
            let (form, part) = (dice.below(3), [dice.byte(); 3]);
            blob.extend(compressed(form, &part, dice));
        }
    }
    true
}

/// What others make of a blob.
fn reference(blob: &[u8]) -> Result<Vec<u8>, String> {
    match blob {
        [0x1f, 0x8b, ..] => gunzip(blob),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => unzstd(blob),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let mut bytes = Vec::new();
            let decoder = lzma_rust2::XzReader::new(blob, true);
            let most = decoder.take(limits().bytes + 1).read_to_end(&mut bytes);
            most.map(|_| bytes).map_err(|error| error.to_string())
        }
        _ => Ok(blob.to_vec()),
    }
}

/// RFC 1952, member by member.
fn gunzip(mut blob: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while !blob.is_empty() {
        let header = gzip_header(blob).ok_or("a damaged gzip header")?;
        let (member, consumed) = raw_inflate(&blob[header..])?;
        let trailer = blob.get(header + consumed..header + consumed + 8);
        let trailer = trailer.ok_or("a gzip member without its sums")?;
        let mut crc = flate2::Crc::new();
        crc.update(&member);
        let sums = [crc.sum().to_le_bytes(), (member.len() as u32).to_le_bytes()];
        if trailer != sums.concat() {
            return Err("a gzip member with other sums".into());
        }
        bytes.extend(member);
        blob = &blob[header + consumed + 8..];
    }
    Ok(bytes)
}

/// The length of a member's header.
fn gzip_header(member: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b, 8, flags] = *member.first_chunk()? else {
        return None;
    };
    let mut at = 10;
    if flags & 4 != 0 {
        let length = member.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += member.get(at..)?.iter().position(|&byte| byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= member.len()).then_some(at)
}

fn raw_inflate(mut input: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let (mut bytes, mut consumed, mut buffer) = (Vec::new(), 0, vec![0; 1 << 15]);
    loop {
        let step = inflate(&mut state, input, &mut buffer, MZFlush::None);
        bytes.extend(&buffer[..step.bytes_written]);
        consumed += step.bytes_consumed;
        input = &input[step.bytes_consumed..];
        match step.status {
            Ok(MZStatus::StreamEnd) => return Ok((bytes, consumed)),
            Ok(_) if step.bytes_written + step.bytes_consumed > 0 => {}
            other => return Err(format!("deflate: {other:?}")),
        }
    }
}

/// RFC 8878, frame by frame.
fn unzstd(mut blob: &[u8]) -> Result<Vec<u8>, String> {
    let (mut bytes, mut decoder) = (Vec::new(), FrameDecoder::new());
    decoder.set_max_window_size(limits().window);
    while !blob.is_empty() {
        match decoder.init(&mut blob) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let rest = blob.get(length as usize..);
                blob = rest.ok_or("a skippable frame that is cut")?;
                continue;
            }
            Err(error) => return Err(error.to_string()),
        }
        let decoded = decoder.decode_blocks(&mut blob, BlockDecodingStrategy::All);
        decoded.map_err(|error| error.to_string())?;
        bytes.extend(decoder.collect().unwrap_or_default());
        let told = decoder.get_checksum_from_data();
        if told.is_some() && told != decoder.get_calculated_checksum() {
            return Err("a zstd frame with another checksum".into());
        }
    }
    Ok(bytes)
}
