//! The headers of one entry: a ustar block, and PAX records for values that do not fit. Pure.

use crate::error::{Error, Result};
use crate::meta::{Device, Meta, Time};
use crate::path::{self, EntryPath};
use crate::tar::archive::{Entry, EntryKind};

use super::BLOCK;
use super::pax::Records;

/// The largest numbers in octal fields of eight and of twelve bytes.
const MAX_7_DIGITS: u64 = 0o777_7777;
const MAX_11_DIGITS: u64 = 0o777_7777_7777;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// The headers before an entry's data.
pub struct Header {
    records: Records,
    block: [u8; BLOCK],
}

impl Header {
    /// The headers of an entry whose data takes `size` bytes in the archive.
    pub fn of(entry: &Entry, size: u64) -> Result<Header> {
        let mut header = Header::empty(type_flag(&entry.kind));
        match &entry.kind {
            EntryKind::File(shape) if shape.extents.is_some() => {
                header.sparse_name(&entry.path, shape.size);
            }
            EntryKind::Directory => header.name(&[entry.path.as_bytes(), b"/"].concat()),
            _ => header.name(entry.path.as_bytes()),
        }
        match &entry.kind {
            EntryKind::Symlink(target) => header.link(target),
            EntryKind::HardLink(target) => header.link(target.as_bytes()),
            EntryKind::CharDevice(device) | EntryKind::BlockDevice(device) => {
                header.device(*device)?;
            }
            _ => {}
        }
        header.meta(&entry.meta)?;
        header.number(124, 11, size, "size");
        Ok(header)
    }

    fn empty(type_flag: u8) -> Header {
        let mut block = [0; BLOCK];
        block[156] = type_flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Header {
            records: Records::default(),
            block,
        }
    }

    /// The block, preceded by a PAX header if it needs one.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK);
        if let Some(records) = self.records.take() {
            let mut before = Header::empty(b'x');
            before.text(0, NAME, b"././@PaxHeader");
            before.number(100, 7, 0o644, "mode");
            for (offset, digits) in [(108, 7), (116, 7), (136, 11)] {
                before.number(offset, digits, 0, "");
            }
            before.number(124, 11, records.len() as u64, "size");
            bytes.extend(before.sealed());
            bytes.extend(&records);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend(self.sealed());
        bytes
    }

    fn sealed(mut self) -> [u8; BLOCK] {
        self.block[148..156].fill(b' ');
        let sum = self.block.iter().map(|&byte| u64::from(byte)).sum();
        self.octal(148, 6, sum);
        self.block
    }

    /// Puts the name in one field, in two, or in a record.
    fn name(&mut self, name: &[u8]) {
        // The root is `./`.
        let name = if name == b"/" { b"./" } else { name };
        if name.len() <= NAME {
            self.text(0, NAME, name);
        } else if let Some(slash) = split(name) {
            self.text(345, PREFIX, &name[..slash]);
            self.text(0, NAME, &name[slash + 1..]);
        } else {
            self.records.add("path", name);
            self.text(0, NAME, name);
        }
    }

    /// Gives a sparse file another name in the header, so that a reader without support for sparse files
    /// does not mistake the map for the file.
    fn sparse_name(&mut self, path: &EntryPath, size: u64) {
        self.records.add("GNU.sparse.major", b"1");
        self.records.add("GNU.sparse.minor", b"0");
        self.records.add("GNU.sparse.name", path.as_bytes());
        let size = size.to_string();
        self.records.add("GNU.sparse.realsize", size.as_bytes());
        let (parent, name) = path.split().expect("a file is not the root");
        let parent = match parent.is_root() {
            true => b".",
            false => parent.as_bytes(),
        };
        self.text(0, NAME, &[parent, b"/GNUSparseFile.0/", name].concat());
    }

    fn link(&mut self, target: &[u8]) {
        if target.len() > NAME {
            self.records.add("linkpath", target);
        }
        self.text(157, NAME, target);
    }

    fn device(&mut self, device: Device) -> Result<()> {
        let Device { major, minor } = device;
        if major > 0xfff || minor > 0xf_ffff {
            let what = format!("the device number {major}:{minor} does not fit");
            return Err(Error::refused(what));
        }
        self.octal(329, 7, major.into());
        self.octal(337, 7, minor.into());
        Ok(())
    }

    fn meta(&mut self, meta: &Meta) -> Result<()> {
        if meta.uid == u32::MAX || meta.gid == u32::MAX {
            return Err(Error::refused("an owner over 4294967294"));
        }
        self.number(100, 7, (meta.mode & 0o7777).into(), "mode");
        self.number(108, 7, meta.uid.into(), "uid");
        self.number(116, 7, meta.gid.into(), "gid");
        self.time(meta.mtime);
        for xattr in &meta.xattrs {
            if xattr.name.is_empty() || xattr.name.iter().any(|byte| matches!(byte, b'=' | 0)) {
                let name = path::display(&xattr.name);
                return Err(Error::refused(format!(
                    "xattr {name}: a name that no tar archive can hold"
                )));
            }
            self.records.add_xattr(xattr);
        }
        Ok(())
    }

    fn time(&mut self, time: Time) {
        match u64::try_from(time.seconds) {
            Ok(seconds) if seconds <= MAX_11_DIGITS && time.nanoseconds == 0 => {
                self.octal(136, 11, seconds);
            }
            whole => {
                self.records.add_time("mtime", time);
                self.octal(136, 11, whole.unwrap_or(0).min(MAX_11_DIGITS));
            }
        }
    }

    /// Puts a number in its field, or in a record if the field is too short.
    fn number(&mut self, offset: usize, digits: usize, number: u64, key: &str) {
        let most = if digits == 7 {
            MAX_7_DIGITS
        } else {
            MAX_11_DIGITS
        };
        if number > most {
            self.records.add(key, number.to_string().as_bytes());
        }
        self.octal(offset, digits, if number > most { 0 } else { number });
    }

    fn octal(&mut self, offset: usize, digits: usize, number: u64) {
        let text = format!("{number:0digits$o}\0");
        self.block[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    }

    fn text(&mut self, offset: usize, room: usize, text: &[u8]) {
        let length = text.len().min(room);
        self.block[offset..offset + length].copy_from_slice(&text[..length]);
    }
}

fn type_flag(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::File(_) => b'0',
        EntryKind::HardLink(_) => b'1',
        EntryKind::Symlink(_) => b'2',
        EntryKind::CharDevice(_) => b'3',
        EntryKind::BlockDevice(_) => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// The slash at which a name is split into the prefix and name fields; a directory keeps its trailing
/// slash.
fn split(name: &[u8]) -> Option<usize> {
    let first = name.len().checked_sub(NAME + 1)?;
    let last = PREFIX.min(name.len().checked_sub(2)?);
    (first..=last).rfind(|&at| name[at] == b'/')
}
