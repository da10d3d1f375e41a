//! Compression: recognised by its first bytes, read to its last one, and verified on the way.

use std::io::{Read, Write};

use lowerdir::Kind;
use lowerdir::codec::{Expected, LayerReader, Measured};
use lowerdir::digest::{Digest, chain_id};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_le_bytes();
    [&[0x5a, 0x2a, 0x4d, 0x18][..], &length, bytes].concat()
}

fn decode(blob: &[u8], expected: Expected) -> lowerdir::Result<(Vec<u8>, Measured)> {
    let mut reader = LayerReader::open(blob, expected)?;
    let mut bytes = Vec::new();
    let reading = |error| lowerdir::Error::reading("reading", error);
    reader.read_to_end(&mut bytes).map_err(reading)?;
    Ok((bytes, reader.finish()?))
}

fn promise(blob: &[u8], diff: &[u8]) -> Expected {
    Expected {
        blob: Some(Digest::of(blob)),
        size: Some(blob.len() as u64),
        diff_id: Some(Digest::of(diff)),
    }
}

#[test]
fn every_form_is_recognised_and_measured() {
    let (a, b) = (b"first ".repeat(500), b"second".repeat(700));
    let both = [&a[..], &b].concat();
    for (name, blob) in [
        ("plain", both.clone()),
        ("gzip", gzip(&both)),
        ("gzip members", [gzip(&a), gzip(&b)].concat()),
        ("zstd", zstd(&both)),
        (
            "zstd frames",
            [zstd(&a), skippable(b"x"), zstd(&b), skippable(b"")].concat(),
        ),
        (
            "zstd after a skippable frame",
            [skippable(b"toc"), zstd(&both)].concat(),
        ),
        ("xz", xz(&both)),
        ("xz streams", [xz(&a), xz(&b)].concat()),
    ] {
        let (bytes, measured) = decode(&blob, promise(&blob, &both))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert!(bytes == both, "{name}");
        assert_eq!(measured.blob, Digest::of(&blob), "{name}");
        assert_eq!(measured.diff_id, Digest::of(&both), "{name}");
        let sizes = (blob.len() as u64, both.len() as u64);
        assert_eq!((measured.size, measured.uncompressed), sizes, "{name}");
    }
    assert!(decode(b"", promise(b"", b"")).unwrap().0.is_empty());
}

#[test]
fn a_truncated_blob_is_refused_at_every_byte() {
    for blob in [gzip(b"content"), zstd(b"content"), xz(b"content")] {
        for length in 1..blob.len() {
            // Shorter than its magic, it is plain bytes, and its digest tells.
            let cut = &blob[..length];
            let verdict = decode(cut, promise(&blob, b"content"));
            let kind = verdict.map(|_| ()).unwrap_err().kind();
            assert!(
                matches!(kind, Kind::Refused | Kind::Mismatch),
                "{length}: {kind:?}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_never_passes() {
    for blob in [gzip(b"content"), zstd(b"content"), xz(b"content")] {
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode(&damaged, promise(&blob, b"content")).is_err(),
                "bit {bit}"
            );
        }
    }
}

#[test]
fn garbage_after_a_stream_is_refused() {
    for blob in [gzip(b"content"), zstd(b"content"), xz(b"content")] {
        for garbage in [&b"x"[..], b"garbage and more of it"] {
            let blob = [&blob[..], garbage].concat();
            let error = decode(&blob, Expected::default()).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
        }
    }
}

#[test]
fn what_differs_is_a_mismatch() {
    let blob = gzip(b"content");
    let good = promise(&blob, b"content");
    let other = Some(Digest::of(b"other"));
    for (what, expected) in [
        (
            "blob's digest",
            Expected {
                blob: other.clone(),
                ..good.clone()
            },
        ),
        (
            "size",
            Expected {
                size: Some(1),
                ..good.clone()
            },
        ),
        (
            "diff ID",
            Expected {
                diff_id: other,
                ..good
            },
        ),
    ] {
        let error = decode(&blob, expected).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Mismatch);
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn what_no_image_may_have_is_refused() {
    // Magic numbers of bzip2 and lz4, and a zstd frame with a window of 2 GiB.
    for blob in [
        &b"BZh91AY&SY"[..],
        b"\x04\x22\x4d\x18\x64\x40",
        b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00",
    ] {
        let error = decode(blob, Expected::default()).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn digests_are_well_formed_or_refused() {
    let digits = "0123456789abcdef".repeat(4);
    assert!(Digest::parse(&format!("sha256:{digits}")).is_ok());
    assert!(Digest::parse(&format!("sha512:{digits}{digits}")).is_ok());
    for text in [
        "",
        "sha256:",
        &digits,
        &format!("sha256:{}", &digits[1..]),
        &format!("sha256:{digits}0"),
        &format!("sha256:{}", digits.to_uppercase()),
        &format!("sha512:{digits}"),
        &format!("md5:{}", &digits[..32]),
        &format!("sha256:../{}", &digits[3..]),
    ] {
        assert!(Digest::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_chain_id_chains() {
    let digest = |digit: &str| Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
    let (a, b) = (digest("a"), digest("b"));
    assert_eq!(chain_id(None, &a), a);
    // As sha256sum has it.
    let expected = "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c";
    assert_eq!(chain_id(Some(&a), &b).to_string(), expected);
}
