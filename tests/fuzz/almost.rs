//! Archives that are almost valid: real structure, with lies in it. Arbitrary bytes hardly get past
//! the checksum of a first header; these get everywhere.
//!
//! A throw of zero is honest, so whatever a fuzzer leaves open is. PAX records, GNU long names, the
//! four sparse forms, base-256, repeated names, sizes that do not agree, ends that are none.

use crate::dice::Dice;
use crate::tarball::{BLOCK, Meta, header, pax_record, seal};

/// An archive, and what it should be if nothing in it lies.
pub struct Almost {
    pub bytes: Vec<u8>,
    /// Nothing in it lies: it has to be accepted.
    pub is_honest: bool,
}

/// Few and short, so that they meet; then what leads out, or nowhere.
const NAMES: [&[u8]; 34] = [
    b"a",
    b"b",
    b"a/b",
    b"a/b/c",
    b"d/e",
    b"c/",
    b"a/",
    b"./",
    b"./a",
    b"//b",
    b"/a/./b",
    b".wh.a",
    b"a/.wh.b",
    b"a/.wh..wh..opq",
    b".wh..wh..opq",
    b".wh..wh.plnk",
    b".wh.d",
    b"a/b/.wh.c",
    b"\xff\n",
    b".",
    b"/",
    b"",
    b"..",
    b"../a",
    b"a/..",
    b"a/../../canary/file",
    b"../canary/file",
    b".wh.",
    b".wh..",
    b".wh...",
    b".wh.a/b",
    b"a/.wh..wh..opq/b",
    b"a\0b",
    b"stargz.index.json",
];
/// How many of them any archive may hold.
const FAIR_NAMES: u64 = 19;

const LINKS: [&[u8]; 16] = [
    b"a",
    b"b",
    b"a/b",
    b"d/e",
    b"a/b/c",
    b".",
    b"..",
    b"/",
    b"/a",
    b"../a",
    b"../canary",
    b"../../canary/file",
    b"../../../../../../../../../etc",
    b"a/../b",
    b"",
    b"/proc/self/root",
];

const NUMBERS: [u64; 12] = [
    0,
    1,
    511,
    512,
    513,
    4095,
    65_535,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

const TEXTS: [&[u8]; 14] = [
    b"-1",
    b"+1",
    b"0x1",
    b"1.5",
    b"-1.999999999999",
    b"99999999999999999999999",
    b"",
    b" 1",
    b"1 ",
    b"18446744073709551616",
    b"\n",
    b"00000000000000000000001",
    b"1e3",
    b"1\0",
];

/// What an archive is made of: files most of all.
const TYPES: [u8; 24] = [
    b'0', b'0', b'0', b'0', b'5', b'5', b'2', b'1', b'6', 0, b'7', b'3', b'4', b'S', b'S', b'g',
    b'L', b'K', b'x', b'V', b'X', b'D', b'Z', 0xff,
];
/// How many of them need no extension of their own.
const PLAIN_TYPES: u64 = 11;

struct Writer<'a> {
    dice: &'a mut Dice,
    bytes: Vec<u8>,
    is_honest: bool,
}

/// Makes an archive of up to seven members.
pub fn archive(dice: &mut Dice) -> Almost {
    let mut writer = Writer {
        dice,
        bytes: Vec::new(),
        is_honest: true,
    };
    for _ in 0..1 + writer.dice.below(7) {
        writer.member();
    }
    writer.end();
    Almost {
        bytes: writer.bytes,
        is_honest: writer.is_honest,
    }
}

/// Repairs the checksum of whatever looks like a header, so that changed bytes get past it.
pub fn repair(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        let block: &mut [u8; BLOCK] = block.try_into().expect("a whole block");
        if &block[257..262] == b"ustar" {
            seal(block);
        }
    }
}

impl Writer<'_> {
    /// Whether to lie now: then the archive may be refused.
    fn lies(&mut self, chance: u64) -> bool {
        let lies = self.dice.percent(chance);
        self.is_honest &= !lies;
        lies
    }

    fn member(&mut self) {
        let typeflag = match self.lies(25) {
            true => *self.dice.pick(&TYPES),
            false => TYPES[self.dice.below(PLAIN_TYPES) as usize],
        };
        let (mut name, mut link) = (self.name(), self.link());
        if matches!(typeflag, b'1' | b'2') {
            // A link may lead nowhere, and a hard link's target is a name like any other.
            self.is_honest &= !link.is_empty() && (typeflag == b'2' || is_fair(&link));
        }
        if typeflag != b'5' && matches!(&name[..], b"./" | b"." | b"/" | b"") {
            self.is_honest = false;
        }
        let mut content = self.content();
        let mut records = self.records(&name, &link);
        let real = self.sparse(typeflag, &mut records, &mut content);
        let mut size = content.len() as u64;
        if self.dice.percent(15) {
            let told = match self.lies(60) {
                true => *self.dice.pick(&NUMBERS),
                false => size,
            };
            // The header says something else than the record: the record counts.
            records.extend(pax_record("size", told.to_string()));
            size = *self.dice.pick(&[0, 512, 1 << 33, size]);
        }
        if self.lies(8) {
            size = *self.dice.pick(&NUMBERS);
        }
        // Old archives have directories that are files but for a slash, and no type but files has data.
        let has_data = match typeflag {
            0 => !name.ends_with(b"/"),
            other => !matches!(other, b'1'..=b'6'),
        };
        self.extensions(&records, &mut name, &mut link);
        let mut block = self.header(typeflag, &name, &link, size);
        if let Some((map, real_size)) = real {
            self.old_gnu(&mut block, &map, real_size);
        } else {
            self.seal(&mut block);
            self.bytes.extend(block);
        }
        if has_data || self.lies(10) {
            self.padded(&content);
        }
    }

    fn name(&mut self) -> Vec<u8> {
        let mut name = match self.lies(12) {
            true => self.dice.pick(&NAMES).to_vec(),
            false => NAMES[self.dice.below(FAIR_NAMES) as usize].to_vec(),
        };
        if self.dice.percent(4) {
            let long = *self.dice.pick(&[100, 101, 155, 254, 255]);
            name = [name, b"/".to_vec(), vec![b'n'; long]].concat();
            self.is_honest = false;
        }
        name
    }

    fn link(&mut self) -> Vec<u8> {
        match self.dice.percent(4) {
            true => vec![b'l'; *self.dice.pick(&[100, 101, 4095])],
            false => self.dice.pick(&LINKS).to_vec(),
        }
    }

    fn content(&mut self) -> Vec<u8> {
        let length = *self.dice.pick(&[0, 1, 5, 511, 512, 513, 1024, 1500]);
        match self.lies(5) {
            // A member that looks like others, if a size is believed that should not be.
            true => header(b'0', b"smuggled", b"", &Meta::new(0o4755), 0).to_vec(),
            false => vec![self.dice.byte(); length],
        }
    }

    /// The records of a PAX header, as far as they are not about sizes.
    fn records(&mut self, name: &[u8], link: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        if !self.dice.percent(40) {
            return records;
        }
        for _ in 0..1 + self.dice.below(4) {
            let number = match self.lies(20) {
                true => self.dice.pick(&NUMBERS).to_string().into_bytes(),
                false => self.dice.below(1 << 16).to_string().into_bytes(),
            };
            let (key, mut value): (&[u8], Vec<u8>) = match self.dice.below(12) {
                0 => (b"path", name.to_vec()),
                1 => (b"linkpath", link.to_vec()),
                2 => (b"uid", number),
                3 => (b"gid", number),
                4 => (b"mtime", number),
                5 => (b"mtime", [&number[..], b".123456789"].concat()),
                6 => (b"SCHILY.xattr.user.k", self.value()),
                7 => (b"SCHILY.xattr.user.overlay.opaque", self.value()),
                8 => (b"comment", self.value()),
                9 => (b"SCHILY.xattr.security.capability", self.value()),
                10 => (b"SCHILY.xattr.user.\xffl", self.value()),
                _ => (b"uname", b"root".to_vec()),
            };
            // The last of equal keys counts, and an honest one may be empty.
            self.is_honest &= !(matches!(key, b"path" | b"linkpath") && value.is_empty());
            if self.lies(10) {
                value = self.dice.pick(&TEXTS).to_vec();
            }
            records.extend(pax_record(key, value));
        }
        if self.lies(6) && !records.is_empty() {
            let at = self.dice.below(records.len() as u64) as usize;
            records[at] = self.dice.byte();
        }
        records
    }

    fn value(&mut self) -> Vec<u8> {
        let values: [&[u8]; 6] = [b"y", b"v\0\n=\xff", b"12 path=b\n", b"\n", b"", b"=="];
        self.dice.pick(&values).to_vec()
    }

    /// Makes the member a sparse file, now and then; returns what stands in an old GNU header.
    fn sparse(
        &mut self,
        typeflag: u8,
        records: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<(Vec<(u64, u64)>, u64)> {
        let is_old = typeflag == b'S';
        if !is_old && (!matches!(typeflag, b'0' | 0 | b'7') || !self.dice.percent(20)) {
            return None;
        }
        let (map, real_size) = self.map(content.len() as u64);
        if is_old {
            return Some((map, real_size));
        }
        let text = |separator: &str, terminator: &str| {
            let numbers: Vec<String> = map
                .iter()
                .flat_map(|(offset, length)| [offset.to_string(), length.to_string()])
                .collect();
            numbers.join(separator) + terminator
        };
        match self.dice.below(3) {
            0 => {
                records.extend(pax_record("GNU.sparse.major", "1"));
                records.extend(pax_record("GNU.sparse.minor", "0"));
                records.extend(pax_record("GNU.sparse.realsize", real_size.to_string()));
                let mut lines = format!("{}\n{}", map.len(), text("\n", "\n")).into_bytes();
                if map.is_empty() {
                    lines.truncate(2);
                }
                lines.resize(lines.len().next_multiple_of(BLOCK), 0);
                content.splice(..0, lines);
            }
            1 => {
                records.extend(pax_record("GNU.sparse.size", real_size.to_string()));
                records.extend(pax_record("GNU.sparse.map", text(",", "")));
                self.is_honest &= !map.is_empty();
            }
            _ => {
                records.extend(pax_record("GNU.sparse.size", real_size.to_string()));
                for (offset, length) in &map {
                    records.extend(pax_record("GNU.sparse.offset", offset.to_string()));
                    records.extend(pax_record("GNU.sparse.numbytes", length.to_string()));
                }
                self.is_honest &= !map.is_empty();
            }
        }
        if self.lies(8) {
            let name = self.name();
            records.extend(pax_record("GNU.sparse.name", name));
        }
        None
    }

    /// A map for so many stored bytes, and the size of the file.
    fn map(&mut self, stored: u64) -> (Vec<(u64, u64)>, u64) {
        let (mut map, mut at, mut left) = (Vec::new(), 0, stored);
        let parts = *self.dice.pick(&[1, 1, 2, 3, 5, 30]);
        for part in 0..parts {
            at += self.dice.below(3) * 512;
            let length = match part + 1 == parts {
                true => left,
                false => left.min(self.dice.below(600)),
            };
            // Old GNU maps end where both numbers are 0.
            if (at, length) != (0, 0) {
                map.push((at, length));
            }
            (at, left) = (at + length, left - length);
        }
        let mut real_size = at + self.dice.below(2) * 512;
        if self.lies(10) && !map.is_empty() {
            let index = self.dice.below(map.len() as u64) as usize;
            let number = *self.dice.pick(&NUMBERS);
            match self.dice.percent(50) {
                true => map[index].0 = number,
                false => map[index].1 = number,
            }
        }
        if self.lies(6) {
            real_size = *self.dice.pick(&NUMBERS);
        }
        (map, real_size)
    }

    /// What stands before a header: PAX records, GNU long names, both, in any order.
    fn extensions(&mut self, records: &[u8], name: &mut Vec<u8>, link: &mut Vec<u8>) {
        let global_first = self.lies(4);
        if !records.is_empty() {
            let typeflag = if global_first { b'g' } else { b'x' };
            self.extension(typeflag, records);
        }
        for (typeflag, text, room) in [(b'L', name, 100), (b'K', link, 100)] {
            if text.len() > room || self.dice.percent(5) {
                let mut long = text.clone();
                long.push(0);
                self.extension(typeflag, &long);
                if self.dice.percent(50) {
                    *text = b"short".to_vec();
                }
            }
        }
        if self.lies(3) {
            self.extension(b'x', records);
        }
    }

    fn extension(&mut self, typeflag: u8, content: &[u8]) {
        let size = match self.lies(4) {
            true => *self.dice.pick(&NUMBERS),
            false => content.len() as u64,
        };
        let mut block = self.header(typeflag, b"extension", b"", size);
        self.seal(&mut block);
        self.bytes.extend(block);
        self.padded(content);
    }

    /// A header with its numbers in one of their spellings.
    fn header(&mut self, typeflag: u8, name: &[u8], link: &[u8], size: u64) -> [u8; BLOCK] {
        let mode = *self.dice.pick(&[0o755, 0o644, 0o4755, 0o1777, 0o700]);
        let owner = (self.dice.below(3), self.dice.below(3));
        let meta = Meta::new(mode).owner(owner.0, owner.1).time(1000, 0);
        let mut block = header(typeflag, name, link, &meta, size);
        if size >= 1 << 33 || self.dice.percent(5) {
            block[124..136].fill(0);
            block[124] = 0x80;
            block[128..136].copy_from_slice(&size.to_be_bytes());
        }
        match self.dice.below(8) {
            // GNU's magic, and none at all.
            6 => block[257..265].copy_from_slice(b"ustar  \0"),
            7 if !matches!(typeflag, b'x' | b'g' | b'L' | b'K' | b'S') => block[257..265].fill(0),
            _ => {}
        }
        if self.lies(8) {
            let fields = [
                100..108,
                108..116,
                116..124,
                124..136,
                136..148,
                329..337,
                345..500,
            ];
            let field = self.dice.pick(&fields).clone();
            let byte = self.dice.byte();
            match self.dice.below(4) {
                0 => block[field].fill(byte),
                1 => block[field.start] = byte,
                2 => block[field.end - 1] = byte,
                _ => block[field].fill(0xff),
            }
        }
        block
    }

    /// Four pairs in the header, 21 in each block after it.
    fn old_gnu(&mut self, block: &mut [u8; BLOCK], map: &[(u64, u64)], real_size: u64) {
        let pair = |(offset, length): &(u64, u64)| format!("{offset:011o}\0{length:011o}\0");
        let fits = |number: u64| number < 1 << 33;
        if !fits(real_size) || !map.iter().all(|pair| fits(pair.0) && fits(pair.1)) {
            self.is_honest = false;
            self.bytes.extend(*block);
            return;
        }
        block[257..265].copy_from_slice(b"ustar  \0");
        block[345..512].fill(0);
        let (first, rest) = map.split_at(map.len().min(4));
        let text: String = first.iter().map(pair).collect();
        block[386..386 + text.len()].copy_from_slice(text.as_bytes());
        block[482] = u8::from(!rest.is_empty() || self.lies(5));
        block[483..495].copy_from_slice(format!("{real_size:011o}\0").as_bytes());
        self.seal(block);
        self.bytes.extend(*block);
        let mut chunks = rest.chunks(21).peekable();
        while let Some(chunk) = chunks.next() {
            let mut more: Vec<u8> = chunk.iter().map(pair).collect::<String>().into_bytes();
            more.resize(BLOCK, 0);
            more[504] = u8::from(chunks.peek().is_some() || self.lies(5));
            self.bytes.extend(more);
        }
    }

    fn seal(&mut self, block: &mut [u8; BLOCK]) {
        seal(block);
        if self.lies(1) {
            block[148] = self.dice.byte();
        }
    }

    fn padded(&mut self, content: &[u8]) {
        self.bytes.extend(content);
        let filler = if self.dice.percent(10) { 7 } else { 0 };
        let length = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(length, filler);
    }

    fn end(&mut self) {
        match self.dice.below(8) {
            0..4 => self.bytes.extend([0; 2 * BLOCK]),
            4 => self.bytes.extend([0; BLOCK]),
            5 => {
                self.bytes.extend([0; 2 * BLOCK]);
                self.bytes.extend(b"whatever comes after the end");
            }
            6 => {}
            _ => {
                self.is_honest = false;
                let cut = 1 + self.dice.below(2000) as usize;
                let length = self.bytes.len().saturating_sub(cut);
                self.bytes.truncate(length);
            }
        }
    }
}

/// Whether a hard link may name it, as far as its spelling goes.
fn is_fair(link: &[u8]) -> bool {
    link.split(|&byte| byte == b'/').all(|part| part != b"..")
        && link.iter().any(|byte| !b"./".contains(byte))
        && link.len() <= 255
}
