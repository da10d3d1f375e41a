//! PAX extended headers: length-prefixed records, so a value may hold any byte, newlines too.
//!
//! Source: POSIX.1-2017 `pax`, "pax Extended Header"; GNU tar manual for `GNU.sparse.*`; star(5)
//! for `SCHILY.xattr.*`. Pure: bytes in, values out.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::meta::Xattr;

use super::number;
use super::sparse::{self, Extent};

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";
/// The longest xattr name (`XATTR_NAME_MAX`).
const XATTR_NAME_MAX: usize = 255;
/// The largest xattr value (`XATTR_SIZE_MAX`).
const XATTR_SIZE_MAX: usize = 1 << 16;

/// Records that change an entry, besides all that begin with [`XATTR`] or [`SPARSE`].
const ENTRY: &[&[u8]] = &[
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"uname",
    b"gname",
    b"mtime",
];

/// The records of one extended header.
#[derive(Clone, Default)]
pub struct Pax {
    /// `None` if an empty value removes a key.
    values: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// `GNU.sparse.offset` and `.numbytes` of format 0.0, in order: the only keys that may repeat.
    sparse_pairs: Vec<u64>,
}

impl Pax {
    /// Parses the records of one extended header. The last of equal keys wins; an empty value removes a
    /// key.
    pub fn parse(mut bytes: &[u8], limits: &Limits) -> Result<Pax> {
        let mut pax = Pax::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes)?;
            pax.set(key, value, limits)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<()> {
        match key {
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let number_at_odd = self.sparse_pairs.len() % 2 == 1;
                if number_at_odd != (key == b"GNU.sparse.numbytes") {
                    return Err(Error::refused("a sparse map out of order"));
                }
                limits.check_extents(self.sparse_pairs.len() / 2)?;
                self.sparse_pairs
                    .push(number::decimal(value, "sparse map")?);
            }
            // An xattr may be empty; for the standard keys an empty value means "as in the header".
            _ if value.is_empty() && !key.starts_with(XATTR) => {
                self.values.insert(key.into(), None);
            }
            _ => {
                self.values.insert(key.into(), Some(value.into()));
            }
        }
        Ok(())
    }

    /// Whether these records, in a global header, would change entries for a reader that obeys them.
    pub fn changes_entries(&self) -> bool {
        let of_entry =
            |key: &[u8]| ENTRY.contains(&key) || key.starts_with(XATTR) || key.starts_with(SPARSE);
        let mut values = self.values.iter();
        !self.sparse_pairs.is_empty() || values.any(|(key, value)| value.is_some() && of_entry(key))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key.as_bytes())?.as_deref()
    }

    /// The name of the entry. GNU tar has a separate record for a sparse file's.
    pub fn name(&self) -> Option<&[u8]> {
        self.get("GNU.sparse.name").or_else(|| self.get("path"))
    }

    /// The xattrs, by name.
    pub fn xattrs(&self) -> Result<Vec<Xattr>> {
        let first: Box<[u8]> = XATTR.into();
        let from_here = self.values.range(first..);
        let xattrs =
            from_here.map_while(|(key, value)| Some((key.strip_prefix(XATTR)?, value.as_deref()?)));
        xattrs.map(|(name, value)| xattr(name, value)).collect()
    }

    /// Whether the sparse map is at the start of the data (format 1.0).
    pub fn is_sparse_1_0(&self) -> bool {
        self.get("GNU.sparse.major") == Some(b"1") && self.get("GNU.sparse.minor") == Some(b"0")
    }

    /// The sparse map in the records themselves: format 0.1, or 0.0.
    pub fn sparse_map(&self, limits: &Limits) -> Result<Option<Vec<Extent>>> {
        let numbers = match self.get("GNU.sparse.map") {
            Some(text) => text
                .split(|&byte| byte == b',')
                .map(|part| number::decimal(part, "sparse map"))
                .collect::<Result<Vec<u64>>>()?,
            None if !self.sparse_pairs.is_empty() => self.sparse_pairs.clone(),
            // A file without data has no pairs.
            None if self.get("GNU.sparse.numblocks") == Some(b"0") => Vec::new(),
            None => return Ok(None),
        };
        sparse::pairs(&numbers, limits).map(Some)
    }

    /// The size of a sparse file, holes included.
    pub fn real_size(&self) -> Result<u64> {
        let size = self
            .get("GNU.sparse.realsize")
            .or_else(|| self.get("GNU.sparse.size"))
            .ok_or_else(|| Error::refused("a sparse file without its real size"))?;
        number::decimal(size, "real size")
    }
}

/// Splits off one record, `LENGTH KEY=VALUE\n`, where LENGTH counts all of it.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let damaged = || Error::refused("a damaged PAX record");
    let space = bytes.iter().position(|&byte| byte == b' ');
    let space = space.ok_or_else(damaged)?;
    let length = number::decimal(&bytes[..space], "PAX record length")?;
    let length = usize::try_from(length).map_err(|_| damaged())?;
    if space == 0 || length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return Err(damaged());
    }
    let text = &bytes[space + 1..length - 1];
    let equals = text.iter().position(|&byte| byte == b'=');
    match equals {
        None | Some(0) => Err(damaged()),
        Some(equals) => Ok((&text[..equals], &text[equals + 1..], &bytes[length..])),
    }
}

fn xattr(name: &[u8], value: &[u8]) -> Result<Xattr> {
    if name.is_empty() || name.contains(&0) {
        return Err(Error::refused("an xattr with an empty name or a NUL in it"));
    }
    if name.len() > XATTR_NAME_MAX || value.len() > XATTR_SIZE_MAX {
        let shown = crate::path::display(name);
        return Err(Error::limit(format!(
            "xattr {shown}: a name over {XATTR_NAME_MAX} or a value over {XATTR_SIZE_MAX} bytes"
        ))
        .hint("Linux cannot store a larger one, so the layer cannot be unpacked"));
    }
    Ok(Xattr {
        name: name.into(),
        value: value.into(),
    })
}
