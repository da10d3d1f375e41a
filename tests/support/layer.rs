//! The words in which these tests spell layers: entries with the attributes that most files have,
//! kept in a list, so that their order can be changed.

pub use crate::tarball::Entry;
use crate::tarball::{Kind, LayerBuilder, Meta};

/// When everything was made that says nothing else: 12 February 2021.
pub const TIME: i64 = 1_613_088_000;

/// Entries, in the order of the archive.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    pub entries: Vec<Entry>,
}

pub fn layer() -> Layer {
    Layer::default()
}

impl Layer {
    pub fn add(mut self, entry: Entry) -> Layer {
        self.entries.push(entry);
        self
    }

    pub fn dir(self, name: &str) -> Layer {
        self.add(Entry::dir(name))
    }

    pub fn file(self, name: &str, content: &str) -> Layer {
        self.add(Entry::file(name, content))
    }

    pub fn symlink(self, name: &str, target: &str) -> Layer {
        self.add(Entry::symlink(name, target))
    }

    pub fn hard_link(self, name: &str, target: &str) -> Layer {
        self.add(Entry::hard_link(name, target))
    }

    /// `a/b` becomes `a/.wh.b`.
    pub fn whiteout(self, name: &str) -> Layer {
        self.add(Entry::whiteout(name))
    }

    /// The directory is emptied; `` is the root.
    pub fn opaque(self, directory: &str) -> Layer {
        self.add(Entry::opaque(directory))
    }

    pub fn tar(&self) -> Vec<u8> {
        let entries = self.entries.iter();
        entries
            .fold(LayerBuilder::new(), LayerBuilder::entry)
            .finish()
    }
}

impl Entry {
    pub fn new(kind: Kind, name: impl AsRef<[u8]>, mode: u32) -> Entry {
        Entry {
            name: name.as_ref().into(),
            kind,
            meta: Meta::new(mode).time(TIME, 0),
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

    pub fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::Hardlink(target.as_ref().into()), name, 0o644)
    }

    pub fn fifo(name: impl AsRef<[u8]>) -> Entry {
        Entry::new(Kind::Fifo, name, 0o644)
    }

    pub fn char_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Entry {
        Entry::new(Kind::Char(major, minor), name, 0o644)
    }

    pub fn whiteout(name: &str) -> Entry {
        let (directory, name) = name.rsplit_once('/').unwrap_or(("", name));
        Entry::file(join(directory, &format!(".wh.{name}")), "")
    }

    pub fn opaque(directory: &str) -> Entry {
        Entry::file(join(directory, ".wh..wh..opq"), "")
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

fn join(directory: &str, name: &str) -> String {
    match directory.is_empty() {
        true => name.into(),
        false => format!("{directory}/{name}"),
    }
}
