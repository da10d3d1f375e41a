//! Compression: recognised by its first bytes, read to its last one, and verified on the way.

use std::io::{self, Read, Write};

use lowerdir::Digest;
use lowerdir::Kind;
use lowerdir::image::{Algorithm, Expected};
use lowerdir::internals::{Decoder, Hasher};

use crate::blobs::{decode, gzip, promise, refusal, skippable, xz, zstd};

/// A gzip member with every optional field of its header.
fn decorated_gzip(bytes: &[u8]) -> Vec<u8> {
    let builder = flate2::GzBuilder::new().mtime(7);
    let builder = builder.filename("layer.tar").comment("c").extra(*b"extra");
    let mut encoder = builder.write(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_form_is_recognised_and_measured() {
    let (a, b) = (b"first ".repeat(500), b"second".repeat(700));
    let both = [&a[..], &b].concat();
    let unchecked_zstd = zstd::stream::encode_all(&both[..], 19).unwrap();
    for (name, blob) in [
        ("plain", both.clone()),
        ("gzip", gzip(&both)),
        ("gzip members", [gzip(&a), gzip(b""), gzip(&b)].concat()),
        ("gzip with a decorated header", decorated_gzip(&both)),
        ("zstd", zstd(&both)),
        ("zstd without a checksum", unchecked_zstd),
        (
            "zstd frames",
            [zstd(&a), skippable(b"x"), zstd(&b), skippable(b"")].concat(),
        ),
        (
            "zstd after skippable frames",
            [skippable(b"toc"), skippable(b""), zstd(&both)].concat(),
        ),
        ("xz", xz(&both)),
        ("xz streams", [xz(&a), xz(b""), xz(&b)].concat()),
        ("xz padding", [&xz(&a)[..], &[0; 8], &xz(&b)].concat()),
    ] {
        let (bytes, measured) = decode(&blob, promise(&blob, &both))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(bytes == both, "{name}");
        assert_eq!(measured.blob, Digest::of(&blob), "{name}");
        assert_eq!(measured.diff_id, Digest::of(&both), "{name}");
        let sizes = (blob.len() as u64, both.len() as u64);
        assert_eq!((measured.size, measured.uncompressed), sizes, "{name}");
    }
}

#[test]
fn nothing_decodes_to_nothing() {
    for blob in [vec![], gzip(b""), zstd(b""), xz(b""), skippable(b"x")] {
        let (bytes, measured) = decode(&blob, promise(&blob, b"")).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(measured.diff_id, Digest::of(b""));
    }
}

#[test]
fn every_number_of_a_skippable_frame_is_known() {
    for number in 0x50..=0x5f {
        let mut frame = skippable(b"payload");
        frame[0] = number;
        let blob = [frame, zstd(b"content")].concat();
        assert_eq!(decode(&blob, Expected::default()).unwrap().0, b"content");
    }
}

#[test]
fn garbage_after_a_stream_is_refused() {
    for blob in [gzip(b"content"), zstd(b"content"), xz(b"content")] {
        // Zeros, too, as Go's gzip has it; four make a padding that xz allows.
        for garbage in [&b"x"[..], b"garbage and more of it", &[0; 3], &[0; 513]] {
            let blob = [&blob[..], garbage].concat();
            let kind = refusal(&blob, Expected::default());
            assert_eq!(kind, Kind::Refused, "{}", garbage.escape_ascii());
        }
    }
}

#[test]
fn forms_do_not_mix() {
    let blobs = [gzip(b"content"), zstd(b"content"), xz(b"content")];
    for (first, second) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let blob = [&blobs[first][..], &blobs[second]].concat();
        assert_eq!(refusal(&blob, Expected::default()), Kind::Refused);
    }
}

#[test]
fn what_differs_is_a_mismatch() {
    let other = Some(Digest::of(b"other"));
    for blob in [b"content".to_vec(), gzip(b"content"), zstd(b"content")] {
        let good = promise(&blob, b"content");
        let differing = |what| {
            let mut expected = good.clone();
            match what {
                "blob's digest" => expected.blob = other.clone(),
                "diff ID" => expected.diff_id = other.clone(),
                _ => expected.size = Some(blob.len() as u64 + 1),
            }
            expected
        };
        for what in ["blob's digest", "size", "diff ID"] {
            let error = decode(&blob, differing(what)).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), Kind::Mismatch);
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}

#[test]
fn each_digest_has_the_algorithm_that_was_promised() {
    let sha512 = |bytes: &[u8]| {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(bytes);
        hasher.finish()
    };
    for blob in [b"content".to_vec(), gzip(b"content")] {
        for (of_blob, of_diff) in [
            (sha512(&blob), Digest::of(b"content")),
            (Digest::of(&blob), sha512(b"content")),
            (sha512(&blob), sha512(b"content")),
        ] {
            let expected = Expected {
                blob: Some(of_blob.clone()),
                size: None,
                diff_id: Some(of_diff.clone()),
            };
            let measured = decode(&blob, expected).unwrap().1;
            assert_eq!((measured.blob, measured.diff_id), (of_blob, of_diff));
        }
    }
}

#[test]
fn a_compression_that_is_not_read_is_named_with_what_undoes_it() {
    for (name, magic, command) in [
        ("bzip2", &b"BZh91AY&SY"[..], "`bzip2 -dc FILE |"),
        ("lz4", b"\x04\x22\x4d\x18\x64\x40", "`lz4 -dc FILE |"),
    ] {
        let error = decode(magic, Expected::default()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains(name), "{error}");
        assert!(error.hint_text().unwrap().contains(command));
    }
}

#[test]
fn a_zstd_window_ends_at_128_mib() {
    // A frame of one empty raw block. The window's byte is exponent * 8 + eighths, from 1 KiB on.
    let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
    assert!(decode(&frame(17 << 3), Expected::default()).is_ok());
    for window in [17 << 3 | 1, 18 << 3, 21 << 3, 0xff] {
        let kind = refusal(&frame(window), Expected::default());
        assert_eq!(kind, Kind::Limit, "{window:#x}");
    }
}

#[test]
fn an_xz_dictionary_ends_at_128_mib() {
    // The dictionary's size stands in the first block's header, under a CRC of its own.
    let with_dictionary = |size: u8| {
        let mut blob = xz(b"content");
        assert_eq!(blob[12..16], [2, 0, 0x21, 1], "LZMA2 alone");
        blob[16] = size;
        let mut crc = flate2::Crc::new();
        crc.update(&blob[12..20]);
        blob[20..24].copy_from_slice(&crc.sum().to_le_bytes());
        blob
    };
    // 64 MiB, as `xz -9` has it, and 128; then 192 MiB, and 4 GiB.
    for size in [28, 30] {
        let good = with_dictionary(size);
        assert_eq!(decode(&good, Expected::default()).unwrap().0, b"content");
    }
    for size in [31, 40] {
        let kind = refusal(&with_dictionary(size), Expected::default());
        assert_eq!(kind, Kind::Limit);
    }
}

/// Gives some bytes, then an error, and after that it ends: as a thread does that has died of it.
struct FailsOnce<'a>(&'a [u8], Option<io::Error>);

impl Read for FailsOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.0.is_empty(), self.1.take()) {
            (true, Some(error)) => Err(error),
            (_, error) => {
                self.1 = error;
                self.0.read(buffer)
            }
        }
    }
}

#[test]
fn an_error_of_the_reader_is_no_end() {
    let bytes = b"content".repeat(100);
    for blob in [bytes.clone(), gzip(&bytes), zstd(&bytes), xz(&bytes)] {
        for length in [1, blob.len() - 1, blob.len()] {
            let failure = Some(io::Error::other("the disk is gone"));
            let decoder = Decoder::open(FailsOnce(&blob[..length], failure));
            let mut decoder = decoder.unwrap_or_else(|error| panic!("{length}: {error}"));
            let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), "the disk is gone", "{length}");
        }
    }
}
