//! The fields of a header, which PAX records override: names, numbers, owners, devices, links.
//!
//! The offsets are those of `tar::Header`. Values out of range are refused (rule M3). Pure.

use crate::error::{Error, Result};
use crate::meta::{Device, Meta, Time};
use crate::path::{self, EntryPath};

use super::number;
use super::pax::Pax;

/// A text field, which ends at its first NUL.
pub fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The name in the header's own fields: prefix and name for POSIX and star, name for the rest.
pub fn header_name(header: &tar::Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    let bytes = header.as_bytes();
    if let Some(prefix) = prefix_of_go_17(header) {
        return [prefix, b"/", name].concat();
    }
    // The magic alone decides, as for GNU tar, Go and Python: writers differ in the version.
    if &bytes[257..263] != b"ustar\0" {
        return name.to_vec();
    }
    // star keeps two times at the end of the prefix field.
    let is_star = &bytes[508..] == b"tar\0";
    let prefix = until_nul(&bytes[345..if is_star { 476 } else { 500 }]);
    match prefix.is_empty() {
        true => name.to_vec(),
        false => [prefix, b"/", name].concat(),
    }
}

/// The prefix that Go up to 1.7 wrote into GNU headers, which have two times there. Later versions of
/// Go read it if one of these is not a number and the text is ASCII (golang issue 21005).
fn prefix_of_go_17(header: &tar::Header) -> Option<&[u8]> {
    let bytes = header.as_bytes();
    if &bytes[257..265] != b"ustar  \0" {
        return None;
    }
    let is_time = |field: &[u8]| {
        let value = number::field(field, "time");
        field[0] == 0 || value.is_ok_and(|value| i64::try_from(value).is_ok())
    };
    if is_time(&bytes[345..357]) && is_time(&bytes[357..369]) {
        return None;
    }
    let prefix = until_nul(&bytes[345..500]);
    (!prefix.is_empty() && prefix.is_ascii()).then_some(prefix)
}

/// Owner, mode, time and xattrs of an entry.
pub fn meta(header: &tar::Header, pax: &Pax) -> Result<Meta> {
    let fields = header.as_old();
    let id = |key: &str, field: &[u8]| -> Result<u32> {
        let value = match pax.get(key) {
            Some(text) => number::decimal(text, key)?,
            None => unsigned(field, key)?,
        };
        match u32::try_from(value) {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(Error::refused(format!("{key} {value} is over 4294967294"))),
        }
    };
    let mtime = match pax.get("mtime") {
        Some(text) => number::pax_time(text)?,
        None => Time {
            seconds: i64::try_from(number::field(&fields.mtime, "mtime")?)
                .map_err(|_| Error::refused("mtime overflows"))?,
            nanoseconds: 0,
        },
    };
    Ok(Meta {
        mode: (number::field(&fields.mode, "mode")? & 0o7777) as u32,
        uid: id("uid", &fields.uid)?,
        gid: id("gid", &fields.gid)?,
        mtime,
        xattrs: pax.xattrs()?,
    })
}

/// A number that is not negative.
pub fn unsigned(field: &[u8], name: &str) -> Result<u64> {
    let value = number::field(field, name)?;
    u64::try_from(value).map_err(|_| Error::refused(format!("{name} {value} is out of range")))
}

/// A device number that fits Linux: 12 bits and 20 bits.
pub fn device(header: &tar::Header) -> Result<Device> {
    let bytes = header.as_bytes();
    let part = |field: &[u8], name: &str, most: u64| {
        let value = unsigned(field, name)?;
        match value <= most {
            true => Ok(value as u32),
            false => Err(Error::refused(format!("{name} {value} is over {most}"))),
        }
    };
    Ok(Device {
        major: part(&bytes[329..337], "device major", 0xfff)?,
        minor: part(&bytes[337..345], "device minor", 0xf_ffff)?,
    })
}

/// The target of a symbolic link, verbatim (rule S2), if it can be one.
pub fn symlink_target(target: Vec<u8>) -> Result<Box<[u8]>> {
    let refuse = |why: &str| Err(Error::refused(why));
    match target.len() {
        0 => refuse("a symbolic link to nothing"),
        _ if target.contains(&0) => refuse("a symbolic link whose target has a NUL byte"),
        length if length > path::PATH_MAX => {
            refuse("a symbolic link whose target is longer than 4095 bytes")
        }
        _ => Ok(target.into()),
    }
}

/// The path of a hard link's target.
pub fn hard_link_target(raw: &[u8]) -> Result<EntryPath> {
    let target = EntryPath::parse(raw).map_err(|error| {
        let shown = path::display(raw).to_string();
        Error::refused(format!("a hard link to {shown}: {error}"))
    })?;
    match target.is_root() {
        true => Err(Error::refused("a hard link to the layer's root")),
        false => Ok(target),
    }
}
