//! Numbers, times and checksums in headers: never wrapped, never clipped (rules M2, M3).

use lowerdir::Kind;
use lowerdir::meta::Time;

use crate::read::{error, one};
use crate::tarball::{LayerBuilder, Meta, header, pax_header, pax_record, seal};

const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;

/// An archive of one entry with one field overwritten.
fn with_field(typeflag: u8, field: std::ops::Range<usize>, bytes: &[u8]) -> Vec<u8> {
    let mut block = header(typeflag, b"f", b"", &Meta::new(0o644), 0);
    block[field][..bytes.len()].copy_from_slice(bytes);
    seal(&mut block);
    LayerBuilder::new().raw(block).finish()
}

fn with_record(key: &str, value: &str) -> Vec<u8> {
    LayerBuilder::new()
        .raw(pax_header(&pax_record(key, value)))
        .file("f", 0o644, "")
        .finish()
}

fn base_256(value: i128, width: usize) -> Vec<u8> {
    let mut bytes = value.to_be_bytes()[16 - width..].to_vec();
    bytes[0] |= 0x80;
    bytes
}

#[test]
fn octal_may_stand_among_spaces_and_nuls() {
    for field in [
        &b"0000755\0"[..],
        b"   755 \0",
        b"755     ",
        b"755\0\0\0\0\0",
        b"00000755",
    ] {
        assert_eq!(one(&with_field(b'0', MODE, field)).entry.meta.mode, 0o755);
    }
    assert_eq!(one(&with_field(b'0', MODE, &[0; 8])).entry.meta.mode, 0);
    for field in [&b"0000x55\0"[..], b"75 5    ", b"0000855\0", b"-000755\0"] {
        assert_eq!(error(&with_field(b'0', MODE, field)), Kind::Refused);
    }
}

#[test]
fn m3_owners_end_at_2_to_the_32_minus_2() {
    for (value, expected) in [(0, Some(0)), (4_294_967_294, Some(u32::MAX - 1))] {
        assert_eq!(
            Some(
                one(&with_field(b'0', UID, &base_256(value, 8)))
                    .entry
                    .meta
                    .uid
            ),
            expected
        );
        assert_eq!(
            Some(one(&with_record("uid", &value.to_string())).entry.meta.uid),
            expected
        );
    }
    for value in [4_294_967_295, 4_294_967_296, 1 << 40, -1] {
        assert_eq!(
            error(&with_field(b'0', UID, &base_256(value, 8))),
            Kind::Refused
        );
        assert_eq!(
            error(&with_record("gid", &value.to_string())),
            Kind::Refused
        );
    }
}

#[test]
fn m3_devices_have_12_and_20_bits() {
    for (major, minor, is_good) in [
        (0xfff, 0xf_ffff, true),
        (0x1000, 0, false),
        (1, 0x10_0000, false),
        (1 << 40, 0, false),
    ] {
        let mut block = header(b'4', b"f", b"", &Meta::new(0o644), 0);
        block[329..337].copy_from_slice(&base_256(major, 8));
        block[337..345].copy_from_slice(&base_256(minor, 8));
        seal(&mut block);
        let archive = LayerBuilder::new().raw(block).finish();
        assert_eq!(
            crate::read::read(&archive).is_ok(),
            is_good,
            "{major}:{minor}"
        );
    }
}

#[test]
fn m3_sizes_that_overflow_are_refused() {
    for value in [-1, i128::from(i64::MAX), 1 << 70] {
        assert_eq!(
            error(&with_field(b'0', SIZE, &base_256(value, 12))),
            Kind::Refused
        );
    }
    for value in [
        "18446744073709551615",
        "99999999999999999999999",
        "-1",
        "1e3",
        "0x10",
    ] {
        assert_eq!(error(&with_record("size", value)), Kind::Refused);
    }
}

#[test]
fn m2_times_are_exact_to_the_nanosecond() {
    for (text, seconds, nanoseconds) in [
        ("0", 0, 0),
        ("1.5", 1, 500_000_000),
        ("1.", 1, 0),
        ("1.000000001", 1, 1),
        ("1.0000000019", 1, 1),
        ("-1", -1, 0),
        ("-0", 0, 0),
        ("-0.5", -1, 500_000_000),
        ("-0.000000001", -1, 999_999_999),
        ("1.0000000010000000000000000000001", 1, 1),
        ("9223372036854775807", i64::MAX, 0),
        ("-9223372036854775807.5", i64::MIN, 500_000_000),
        ("-1.25", -2, 750_000_000),
        ("253402300799.999999999", 253_402_300_799, 999_999_999),
    ] {
        let time = one(&with_record("mtime", text)).entry.meta.mtime;
        assert_eq!(
            time,
            Time {
                seconds,
                nanoseconds
            },
            "{text}"
        );
    }
    for text in [
        "x",
        "-",
        ".5",
        "1.x",
        "--1",
        "1.5.5",
        "+1",
        " 1",
        "1 ",
        "1e3",
        "-.5",
        "1,5",
        "1.-5",
        "9223372036854775808",
        "99999999999999999999",
    ] {
        assert_eq!(error(&with_record("mtime", text)), Kind::Refused, "{text}");
    }
    let before_1970 = one(&with_field(b'0', MTIME, &base_256(-7, 12)));
    assert_eq!(before_1970.entry.meta.mtime.seconds, -7);
    assert_eq!(
        error(&with_field(b'0', MTIME, &base_256(1 << 80, 12))),
        Kind::Refused
    );
}

#[test]
fn base_256_reaches_where_octal_ends() {
    let time = |value| one(&with_field(b'0', MTIME, &base_256(value, 12)));
    for value in [0, 1, 0o77_777_777_777, 1 << 40, i64::MAX, -1, i64::MIN] {
        assert_eq!(time(value.into()).entry.meta.mtime.seconds, value);
    }
    let octal = with_field(b'0', MTIME, b"777777777777");
    let twelve_digits = one(&octal).entry.meta.mtime.seconds;
    assert_eq!(twelve_digits, 0o777_777_777_777);
    for value in [i128::from(i64::MAX) + 1, i128::from(i64::MIN) - 1] {
        let field = with_field(b'0', MTIME, &base_256(value, 12));
        assert_eq!(error(&field), Kind::Refused);
    }
}

#[test]
fn a_size_that_is_not_there_is_a_truncation() {
    for size in [1 << 33, 1 << 62] {
        let field = with_field(b'0', SIZE, &base_256(size, 12));
        assert_eq!(error(&field), Kind::Refused);
        let record = with_record("size", &size.to_string());
        assert_eq!(error(&record), Kind::Refused);
    }
}

#[test]
fn a_header_without_a_checksum_is_no_header() {
    for filler in [0, b' ', b'x'] {
        let mut block = header(b'0', b"f", b"", &Meta::new(0o644), 0);
        block[148..156].fill(filler);
        assert_eq!(error(&block), Kind::Refused);
    }
}

#[test]
fn checksums_are_summed_over_signed_or_unsigned_bytes() {
    let mut block = header(b'0', b"\xff\xfe", b"", &Meta::new(0o644), 0);
    assert_eq!(one(&block).entry.path.as_bytes(), b"\xff\xfe");
    block[148..156].fill(b' ');
    let sum: i64 = block.iter().map(|&byte| i64::from(byte as i8)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(one(&block).entry.path.as_bytes(), b"\xff\xfe");
    block[148] ^= 1;
    assert_eq!(error(&block), Kind::Refused);
}

#[test]
fn any_flipped_bit_of_a_header_is_found() {
    let block = header(b'0', b"f", b"", &Meta::new(0o644), 0);
    // The last byte of the checksum's field is filler.
    for at in (0..512).filter(|at| *at != 155) {
        let mut damaged = block;
        damaged[at] ^= 1;
        assert_eq!(error(&damaged), Kind::Refused, "byte {at}");
    }
}
