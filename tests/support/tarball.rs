//! Writes layer tars byte by byte, so that a test decides every field and every record.
//!
//! ```ignore
//! let layer = LayerBuilder::new()
//!     .dir("etc", 0o755)
//!     .file("etc/passwd", Meta::new(0o644).time(-1, 500_000_000), "root")
//!     .whiteout("etc/shadow")
//!     .finish();
//! ```
//!
//! A mode stands for a whole [`Meta`]: owner 0:0, time [`TIME`], no xattrs. What ustar cannot hold goes
//! into a PAX header of its own. For what no honest writer emits there are [`header`], [`seal`],
//! [`pax_header`], [`padded`] and [`LayerBuilder::raw`].

mod spelling;

use std::fmt;

use spelling::Archive;
pub use spelling::Spelling;

/// A tar block.
pub const BLOCK: usize = 512;

/// When everything was made that says nothing else: 12 February 2021. It is not 0, which is the time of
/// a directory without an entry.
pub const TIME: i64 = 1_613_088_000;

/// The attributes of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Whole seconds, rounded down, and the nanoseconds since then: -0.5 s is `(-1, 500_000_000)`.
    pub mtime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meta {
    pub fn new(mode: u32) -> Meta {
        Meta {
            mode,
            mtime: (TIME, 0),
            ..Meta::default()
        }
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Meta {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn time(mut self, seconds: i64, nanoseconds: u32) -> Meta {
        self.mtime = (seconds, nanoseconds);
        self
    }

    pub fn xattr(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Meta {
        let pair = (name.as_ref().to_vec(), value.as_ref().to_vec());
        self.xattrs.push(pair);
        self
    }
}

impl From<u32> for Meta {
    fn from(mode: u32) -> Meta {
        Meta::new(mode)
    }
}

/// What an entry makes. Devices are (major, minor).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Dir,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Fifo,
    Char(u32, u32),
    Block(u32, u32),
}

impl Kind {
    fn typeflag(&self) -> u8 {
        match self {
            Kind::File(_) => b'0',
            Kind::Hardlink(_) => b'1',
            Kind::Symlink(_) => b'2',
            Kind::Char(..) => b'3',
            Kind::Block(..) => b'4',
            Kind::Dir => b'5',
            Kind::Fifo => b'6',
        }
    }

    fn device(&self) -> (u32, u32) {
        match *self {
            Kind::Char(major, minor) | Kind::Block(major, minor) => (major, minor),
            _ => (0, 0),
        }
    }
}

/// One entry, under the name that the archive spells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Vec<u8>,
    pub kind: Kind,
    pub meta: Meta,
}

/// Entries with the attributes that most have.
impl Entry {
    pub fn new(kind: Kind, name: impl AsRef<[u8]>, mode: u32) -> Entry {
        Entry {
            name: name.as_ref().into(),
            kind,
            meta: Meta::new(mode),
        }
    }

    pub fn dir(name: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::Dir, name, 0o755)
    }

    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::File(content.as_ref().into()), name, 0o644)
    }

    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::Symlink(target.as_ref().into()), name, 0o777)
    }

    pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::Hardlink(target.as_ref().into()), name, 0o644)
    }

    pub fn fifo(name: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::Fifo, name, 0o644)
    }

    pub fn chardev(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
        Entry::new(Kind::Char(major, minor), name, 0o644)
    }

    /// Deletes `path`: an empty file `.wh.NAME` beside it.
    pub fn whiteout(path: impl AsRef<[u8]>) -> Entry {
        let path = path.as_ref();
        let name = path.iter().rposition(|&byte| byte == b'/');
        let (parent, name) = path.split_at(name.map_or(0, |slash| slash + 1));
        Entry::file([parent, b".wh.", name].concat(), "")
    }

    /// Empties a directory of what is below: an empty file `.wh..wh..opq` in it; `""` is the root.
    pub fn opaque(directory: impl AsRef<[u8]>) -> Entry {
        match directory.as_ref() {
            b"" => Entry::file(".wh..wh..opq", ""),
            directory => Entry::file([directory, b"/.wh..wh..opq"].concat(), ""),
        }
    }

    pub fn kind(self, kind: Kind) -> Entry {
        Entry { kind, ..self }
    }

    pub fn mode(mut self, mode: u32) -> Entry {
        self.meta.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Entry {
        self.meta = self.meta.owner(uid, gid);
        self
    }

    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Entry {
        self.meta = self.meta.time(seconds, nanoseconds);
        self
    }

    pub fn xattr(mut self, name: &str, value: impl AsRef<[u8]>) -> Entry {
        self.meta = self.meta.xattr(name, value);
        self
    }
}

/// A layer that grows by one entry a call. The entries are kept as a list until they are written, so that
/// a test can change their order.
#[derive(Clone, Default)]
pub struct LayerBuilder(Vec<Part>);

#[derive(Clone)]
enum Part {
    Entry(Entry),
    Bytes(Vec<u8>),
}

/// An empty layer.
pub fn layer() -> LayerBuilder {
    LayerBuilder::new()
}

impl LayerBuilder {
    pub fn new() -> LayerBuilder {
        LayerBuilder::default()
    }

    pub fn dir(self, name: impl AsRef<[u8]>, meta: impl Into<Meta>) -> Self {
        self.made(name, Kind::Dir, meta)
    }

    pub fn file(
        self,
        name: impl AsRef<[u8]>,
        meta: impl Into<Meta>,
        content: impl AsRef<[u8]>,
    ) -> Self {
        self.made(name, Kind::File(content.as_ref().to_vec()), meta)
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.made(name, Kind::Symlink(target.as_ref().to_vec()), 0o777)
    }

    pub fn hardlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.made(name, Kind::Hardlink(target.as_ref().to_vec()), 0o644)
    }

    pub fn fifo(self, name: impl AsRef<[u8]>, meta: impl Into<Meta>) -> Self {
        self.made(name, Kind::Fifo, meta)
    }

    pub fn chardev(
        self,
        name: impl AsRef<[u8]>,
        meta: impl Into<Meta>,
        (major, minor): (u32, u32),
    ) -> Self {
        self.made(name, Kind::Char(major, minor), meta)
    }

    pub fn blockdev(
        self,
        name: impl AsRef<[u8]>,
        meta: impl Into<Meta>,
        (major, minor): (u32, u32),
    ) -> Self {
        self.made(name, Kind::Block(major, minor), meta)
    }

    /// See [`Entry::whiteout`].
    pub fn whiteout(self, path: impl AsRef<[u8]>) -> Self {
        self.add(Entry::whiteout(path))
    }

    /// See [`Entry::opaque`].
    pub fn opaque(self, directory: impl AsRef<[u8]>) -> Self {
        self.add(Entry::opaque(directory))
    }

    /// Any entry, with a PAX header before it where ustar is too small.
    pub fn add(mut self, entry: Entry) -> Self {
        self.0.push(Part::Entry(entry));
        self
    }

    /// The same of an entry that a test has to keep.
    pub fn entry(self, entry: &Entry) -> Self {
        self.add(entry.clone())
    }

    /// Any entry, as a program of another school writes it.
    pub fn spelled(self, entry: &Entry, spelling: Spelling) -> Self {
        self.raw(Archive::default().spelled(entry, spelling).0)
    }

    /// These bytes as they are.
    pub fn raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push(Part::Bytes(bytes.as_ref().to_vec()));
        self
    }

    /// The same entries, the last one first.
    pub fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    /// The first entry as a layer of its own, and the others.
    pub fn split_first(mut self) -> (Self, Self) {
        let rest = self.0.split_off(1);
        (self, LayerBuilder(rest))
    }

    /// The tar with its end-of-archive blocks.
    pub fn finish(self) -> Vec<u8> {
        self.raw([0; 2 * BLOCK]).finish_without_end()
    }

    /// The tar without them.
    pub fn finish_without_end(self) -> Vec<u8> {
        let parts = self.0.iter();
        let archive = parts.fold(Archive::default(), |archive, part| match part {
            Part::Entry(entry) => archive.entry(entry),
            Part::Bytes(bytes) => archive.raw(bytes),
        });
        archive.0
    }

    fn made(self, name: impl AsRef<[u8]>, kind: Kind, meta: impl Into<Meta>) -> Self {
        let (name, meta) = (name.as_ref().to_vec(), meta.into());
        self.add(Entry { name, kind, meta })
    }
}

impl fmt::Debug for LayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut list = f.debug_list();
        for part in &self.0 {
            match part {
                Part::Entry(entry) => list.entry(entry),
                Part::Bytes(bytes) => list.entry(&format_args!("{} bytes", bytes.len())),
            };
        }
        list.finish()
    }
}

impl FromIterator<Entry> for LayerBuilder {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> LayerBuilder {
        entries
            .into_iter()
            .fold(LayerBuilder::new(), LayerBuilder::add)
    }
}

/// A ustar header block: names are cut and numbers that do not fit are 0 (their place is a PAX
/// header before it).
pub fn header(typeflag: u8, name: &[u8], link: &[u8], meta: &Meta, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let seconds = u64::try_from(meta.mtime.0).unwrap_or(0);
    text(&mut block[..100], name);
    octal(&mut block[100..108], meta.mode.into());
    octal(&mut block[108..116], meta.uid);
    octal(&mut block[116..124], meta.gid);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], seconds);
    block[156] = typeflag;
    text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    seal(&mut block);
    block
}

/// Writes the checksum again, after a test has changed a header.
pub fn seal(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut block[148..155], sum);
}

/// One PAX record: its length, which counts its own digits, the key and the value.
pub fn pax_record(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let rest = [b" ", key.as_ref(), b"=", value.as_ref(), b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().into_bytes(), rest].concat()
}

/// A PAX header (type `x`) for the entry that follows, with these records one after another.
pub fn pax_header(records: &[u8]) -> Vec<u8> {
    let size = records.len() as u64;
    let block = header(b'x', b"PaxHeaders/0", b"", &Meta::new(0o644), size);
    [block.to_vec(), padded(records)].concat()
}

/// Content, filled up with zeroes to whole blocks.
pub fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn fits(number: u64, digits: u32) -> bool {
    number < 8_u64.pow(digits)
}

/// Octal digits and a NUL; 0 where there are too many.
fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let number = if fits(number, digits as u32) {
        number
    } else {
        0
    };
    field[..digits].copy_from_slice(format!("{number:0digits$o}").as_bytes());
    field[digits] = 0;
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}
