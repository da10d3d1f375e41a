//! Numbers and sums in tar headers: octal, base-256, PAX decimals, PAX times, the checksum.
//!
//! Values are never wrapped or clipped: those that do not fit are refused (rule M3). Pure.

use crate::error::{Error, Result};
use crate::meta::Time;
use crate::path;

/// A numeric header field: octal digits among spaces and NULs, or base-256 if the first byte has its
/// high bit set (two's complement from the next bit on).
pub fn field(field: &[u8], name: &str) -> Result<i128> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => Ok(base_256(field)),
        _ => octal(field, name),
    }
}

/// At most twelve bytes: an `i128` cannot overflow.
fn base_256(field: &[u8]) -> i128 {
    let negative = field[0] & 0x40 != 0;
    let start = if negative { -1 } else { 0 };
    field
        .iter()
        .enumerate()
        .fold(start, |value, (index, &byte)| {
            let byte = match (index, negative) {
                (0, false) => byte & 0x7f,
                _ => byte,
            };
            value << 8 | i128::from(byte)
        })
}

fn octal(field: &[u8], name: &str) -> Result<i128> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte));
    let digits = &field[start.unwrap_or(field.len())..];
    let end = digits.iter().position(is_filler);
    let (digits, filler) = digits.split_at(end.unwrap_or(digits.len()));
    let is_octal = |byte: &u8| (b'0'..=b'7').contains(byte);
    if !digits.iter().all(is_octal) || filler.first() == Some(&b' ') && !only_filler(filler) {
        let shown = path::display(field);
        return Err(Error::refused(format!("{name}: {shown} is not a number")));
    }
    Ok(digits
        .iter()
        .fold(0, |value, digit| value * 8 + i128::from(digit - b'0')))
}

fn only_filler(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' ' | 0))
}

/// A decimal number in a PAX record, without a sign.
pub fn decimal(text: &[u8], name: &str) -> Result<u64> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            let shown = path::display(text);
            Error::refused(format!("{name} {shown} is not a number, or too large"))
        })
}

/// A PAX time: seconds with an optional sign and fraction, cut to nanoseconds.
pub fn pax_time(text: &[u8]) -> Result<Time> {
    parse_time(text).ok_or_else(|| {
        let shown = path::display(text);
        Error::refused(format!("mtime {shown} is not a time"))
    })
}

fn parse_time(text: &[u8]) -> Option<Time> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |&byte| byte == b'.');
    let (whole, fraction) = (parts.next()?, parts.next().unwrap_or_default());
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let seconds: i64 = std::str::from_utf8(whole).ok()?.parse().ok()?;
    let nanoseconds = (0..9).fold(0, |value, index| {
        value * 10
            + fraction
                .get(index)
                .map_or(0, |digit| u32::from(digit - b'0'))
    });
    Some(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

/// Checks the header's checksum, which old writers summed over signed bytes.
pub fn check_sum(header: &tar::Header) -> Result<()> {
    let bytes = header.as_bytes();
    let stored = field(&header.as_old().cksum, "checksum")
        .map_err(|_| Error::refused("the archive is damaged: a header without a checksum"))?;
    let of = |value: fn(u8) -> i128| -> i128 {
        let blank = value(b' ') * 8;
        let outside = bytes[..148].iter().chain(&bytes[156..]);
        outside.map(|&byte| value(byte)).sum::<i128>() + blank
    };
    match stored == of(i128::from) || stored == of(|byte| i128::from(byte as i8)) {
        true => Ok(()),
        false => Err(Error::refused(
            "the archive is damaged: a header's checksum does not match",
        )),
    }
}
