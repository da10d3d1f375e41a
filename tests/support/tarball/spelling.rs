//! Entries as bytes, in the spellings of several programs.

use super::{BLOCK, Entry, Kind, Meta, fits, header, octal, padded, pax_header, pax_record, seal};

/// How an archive spells its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// ustar, and PAX for the rest.
    Pax,
    /// As GNU tar does by default.
    Gnu,
    /// Files and directories of type NUL.
    Old,
    /// Files with holes, in three of GNU's forms.
    Sparse10,
    Sparse01,
    SparseGnu,
}

impl Spelling {
    pub const ALL: [Spelling; 6] = [
        Spelling::Pax,
        Spelling::Gnu,
        Spelling::Old,
        Spelling::Sparse10,
        Spelling::Sparse01,
        Spelling::SparseGnu,
    ];
}

/// An archive that grows.
#[derive(Default)]
pub(super) struct Archive(pub(super) Vec<u8>);

impl Archive {
    pub(super) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// Any entry, with a PAX header before it where ustar is too small.
    pub(super) fn entry(mut self, entry: &Entry) -> Self {
        let Entry { name, kind, meta } = entry;
        let (link, content): (&[u8], &[u8]) = match kind {
            Kind::File(content) => (b"", content),
            Kind::Symlink(target) | Kind::Hardlink(target) => (target, b""),
            _ => (b"", b""),
        };
        let records = records(name, link, meta, content.len());
        if !records.is_empty() {
            self.0.extend(pax_header(&records));
        }
        let mut block = header(kind.typeflag(), name, link, meta, content.len() as u64);
        let (major, minor) = kind.device();
        octal(&mut block[329..337], major.into());
        octal(&mut block[337..345], minor.into());
        seal(&mut block);
        self.raw(block).raw(padded(content))
    }

    /// Any entry, as a program of another school writes it.
    pub(super) fn spelled(self, entry: &Entry, spelling: Spelling) -> Self {
        match (spelling, &entry.kind) {
            (Spelling::Pax, _) => self.entry(entry),
            (Spelling::Gnu, _) => self.gnu(entry),
            (Spelling::Old, Kind::Dir | Kind::File(_)) => self.old(entry),
            (
                Spelling::Sparse10 | Spelling::Sparse01 | Spelling::SparseGnu,
                Kind::File(content),
            ) => self.sparse(entry, content, spelling),
            _ => self.entry(entry),
        }
    }

    /// Long names in members of their own, numbers in base 256; PAX for what GNU tar has no place for.
    fn gnu(mut self, entry: &Entry) -> Self {
        let Entry { name, kind, meta } = entry;
        let (link, content): (&[u8], &[u8]) = match kind {
            Kind::File(content) => (b"", content),
            Kind::Symlink(target) | Kind::Hardlink(target) => (target, b""),
            _ => (b"", b""),
        };
        // A fraction of a second, and xattrs.
        let mut rest = meta.clone();
        (rest.uid, rest.gid) = (0, 0);
        if rest.mtime.1 == 0 {
            rest.mtime = (0, 0);
        }
        let records = records(b"", b"", &rest, 0);
        if !records.is_empty() {
            self.0.extend(pax_header(&records));
        }
        for (typeflag, text) in [(b'K', link), (b'L', name)] {
            if text.len() > 100 {
                let text = [text, b"\0"].concat();
                let size = text.len() as u64;
                let mut block = header(typeflag, b"././@LongLink", b"", &Meta::new(0), size);
                make_gnu(&mut block);
                self = self.raw(block).raw(padded(&text));
            }
        }
        let mut block = header(kind.typeflag(), name, link, meta, content.len() as u64);
        base_256(&mut block[108..116], i128::from(meta.uid));
        base_256(&mut block[116..124], i128::from(meta.gid));
        base_256(&mut block[136..148], i128::from(meta.mtime.0));
        let (major, minor) = kind.device();
        octal(&mut block[329..337], major.into());
        octal(&mut block[337..345], minor.into());
        make_gnu(&mut block);
        self.raw(block).raw(padded(content))
    }

    /// A file is of type NUL, and so is a directory, whose name ends with a slash.
    fn old(mut self, entry: &Entry) -> Self {
        let mut entry = entry.clone();
        let (kind, name) = (&entry.kind, &mut entry.name);
        match (kind, name.ends_with(b"/")) {
            // A slash would make a directory of it.
            (Kind::File(_), true) => return self.entry(&entry),
            (Kind::Dir, false) => name.push(b'/'),
            _ => {}
        }
        // Go makes a directory of what PAX names too, but not of what is cut in the header.
        if name.len() > 100 {
            return self.entry(&entry);
        }
        let start = self.0.len();
        let size = match &entry.kind {
            Kind::File(content) => padded(content).len(),
            _ => 0,
        };
        self = self.entry(&entry);
        let at = self.0.len() - size - BLOCK;
        debug_assert!(at >= start);
        let block: &mut [u8; BLOCK] = (&mut self.0[at..at + BLOCK]).try_into().expect("a block");
        block[156] = 0;
        seal(block);
        self
    }

    /// A file whose runs of zeros are holes.
    fn sparse(mut self, entry: &Entry, content: &[u8], spelling: Spelling) -> Self {
        let Entry { name, meta, .. } = entry;
        let (map, mut stored) = holes(content);
        let mut records = records(b"", b"", meta, 0);
        let mut add = |key: &str, value: &[u8]| records.extend(pax_record(key, value));
        let size = content.len().to_string();
        if spelling == Spelling::SparseGnu {
            if map.len() > 4 || name.len() > 100 {
                return self.entry(entry);
            }
            if !records.is_empty() {
                self.0.extend(pax_header(&records));
            }
            let mut block = header(b'S', name, b"", meta, stored.len() as u64);
            for (slot, (offset, length)) in block[386..482].chunks_exact_mut(24).zip(&map) {
                slot.copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
            }
            block[345..386].fill(0);
            block[483..495].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            make_gnu(&mut block);
            return self.raw(block).raw(padded(&stored));
        }
        let pairs = map.iter().flat_map(|(offset, length)| [offset, length]);
        let numbers: Vec<String> = pairs.map(usize::to_string).collect();
        if spelling == Spelling::Sparse01 {
            add("GNU.sparse.size", size.as_bytes());
            add("GNU.sparse.numblocks", map.len().to_string().as_bytes());
            add("GNU.sparse.map", numbers.join(",").as_bytes());
        } else {
            add("GNU.sparse.major", b"1");
            add("GNU.sparse.minor", b"0");
            add("GNU.sparse.realsize", size.as_bytes());
            let lines = [&[map.len().to_string()][..], &numbers].concat().join("\n") + "\n";
            stored = [padded(lines.as_bytes()), stored].concat();
        }
        add("GNU.sparse.name", name);
        let mut block = header(b'0', b"GNUSparseFile.0/f", b"", meta, stored.len() as u64);
        seal(&mut block);
        self.raw(pax_header(&records))
            .raw(block)
            .raw(padded(&stored))
    }
}

fn make_gnu(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar  \0");
    seal(block);
}

/// The parts that are not zeros alone, from 64 zeros on, with one of no length where the file ends
/// in a hole; and what they hold.
fn holes(content: &[u8]) -> (Vec<(usize, usize)>, Vec<u8>) {
    const SHORTEST: usize = 64;
    let (mut map, mut stored, mut at) = (Vec::new(), Vec::new(), 0);
    while at < content.len() {
        let zeros = content[at..].iter().take_while(|&&byte| byte == 0).count();
        if zeros >= SHORTEST {
            at += zeros;
            continue;
        }
        let rest = &content[at..];
        let hole = rest
            .windows(SHORTEST)
            .position(|run| run.iter().all(|&byte| byte == 0));
        let length = hole.unwrap_or(rest.len());
        map.push((at, length));
        stored.extend_from_slice(&rest[..length]);
        at += length;
    }
    if map
        .last()
        .is_none_or(|(offset, length)| offset + length < content.len())
    {
        map.push((content.len(), 0));
    }
    (map, stored)
}

/// A number in base 256 where octal digits do not hold it.
fn base_256(field: &mut [u8], number: i128) {
    let digits = field.len() as u32 - 1;
    match u64::try_from(number) {
        Ok(number) if fits(number, digits) => octal(field, number),
        _ => {
            let bytes = number.to_be_bytes();
            field.copy_from_slice(&bytes[bytes.len() - field.len()..]);
            field[0] |= 0x80;
        }
    }
}

/// The PAX records for what ustar cannot hold.
pub(super) fn records(name: &[u8], link: &[u8], meta: &Meta, size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| records.extend(pax_record(key, value));
    for (key, value, room) in [("path", name, 100), ("linkpath", link, 100)] {
        if value.len() > room {
            add(key.as_bytes(), value);
        }
    }
    for (key, number, digits) in [
        ("uid", meta.uid, 7),
        ("gid", meta.gid, 7),
        ("size", size as u64, 11),
    ] {
        if !fits(number, digits) {
            add(key.as_bytes(), number.to_string().as_bytes());
        }
    }
    let (seconds, nanoseconds) = meta.mtime;
    if nanoseconds != 0 || u64::try_from(seconds).map_or(true, |seconds| !fits(seconds, 11)) {
        add(b"mtime", decimal(seconds, nanoseconds).as_bytes());
    }
    for (xattr, value) in &meta.xattrs {
        add(&[b"SCHILY.xattr.", xattr.as_slice()].concat(), value);
    }
    records
}

/// A time as PAX writes it: -0.5 s is `-0.500000000`, not `-1.5`.
fn decimal(seconds: i64, nanoseconds: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, part) = (total.abs() / 1_000_000_000, total.abs() % 1_000_000_000);
    match part {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{part:09}"),
    }
}
