//! `Names`: a compact map from directory and name to inode.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::{DirId, InodeId};

/// All names of a layer, except that of its root.
#[derive(Debug, Default)]
pub struct Names {
    /// One after another.
    bytes: Vec<u8>,
    /// Removed names stay here, without references.
    names: Vec<Name>,
    /// For each directory, the name that was added last; it links to the others.
    last: Vec<Option<NameId>>,
    /// By directory and name, hashed with a secret: a layer cannot choose what collides.
    index: HashTable<NameId>,
    hasher: RandomState,
}

/// The index of a name in `names`, plus one, so that `None` takes no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NameId(std::num::NonZero<u32>);

#[derive(Debug)]
struct Name {
    start: usize,
    directory: DirId,
    inode: InodeId,
    /// The name that was added to the directory before.
    before: Option<NameId>,
    length: u8,
    is_removed: bool,
}

impl NameId {
    fn new(index: usize) -> NameId {
        let number = u32::try_from(index + 1).expect("memory ends before");
        NameId(std::num::NonZero::new(number).expect("one was added"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Names {
    /// Adds a directory, which gets the next number.
    pub fn add_directory(&mut self) {
        self.last.push(None);
    }

    /// The inode of a name in a directory.
    pub fn find(&self, directory: DirId, name: &[u8]) -> Option<InodeId> {
        let id = self.index.find(self.hash(directory, name), |&id| {
            self.is(id, directory, name)
        })?;
        Some(self.names[id.index()].inode)
    }

    /// Adds a name, which must be free.
    pub fn add(&mut self, directory: DirId, name: &[u8], inode: InodeId) {
        let id = NameId::new(self.names.len());
        self.names.push(Name {
            start: self.bytes.len(),
            directory,
            inode,
            before: self.last[directory.index()].replace(id),
            length: u8::try_from(name.len()).expect("a component has at most 255 bytes"),
            is_removed: false,
        });
        self.bytes.extend_from_slice(name);
        let hash = self.hash(directory, name);
        let Names {
            bytes,
            names,
            hasher,
            index,
            ..
        } = self;
        index.insert_unique(hash, id, |&other| {
            let other = &names[other.index()];
            hash_of(hasher, other.directory, text(bytes, other))
        });
    }

    /// Removes a name, and returns its inode.
    pub fn remove(&mut self, directory: DirId, name: &[u8]) -> Option<InodeId> {
        let hash = self.hash(directory, name);
        let Names {
            bytes,
            names,
            index,
            ..
        } = self;
        let entry = index.find_entry(hash, |&id| {
            let known = &names[id.index()];
            known.directory == directory && text(bytes, known) == name
        });
        let (id, _) = entry.ok()?.remove();
        let removed = &mut self.names[id.index()];
        removed.is_removed = true;
        Some(removed.inode)
    }

    /// Removes all names in a directory, and returns their inodes.
    pub fn remove_all(&mut self, directory: DirId) -> Vec<InodeId> {
        let ids: Vec<NameId> = self.of(directory).collect();
        let name = |id: NameId| self.bytes_of(id).to_vec();
        let names: Vec<Vec<u8>> = ids.into_iter().map(name).collect();
        let removed = names.iter().filter_map(|name| self.remove(directory, name));
        removed.collect()
    }

    /// The names in a directory, sorted.
    pub fn children(&self, directory: DirId) -> Children<'_> {
        let mut ids: Vec<NameId> = self.of(directory).collect();
        ids.sort_unstable_by(|&one, &two| self.bytes_of(one).cmp(self.bytes_of(two)));
        Children {
            names: self,
            ids: ids.into_iter(),
        }
    }

    /// Whether a directory has any name.
    pub fn has_any(&self, directory: DirId) -> bool {
        self.of(directory).next().is_some()
    }

    fn of(&self, directory: DirId) -> impl Iterator<Item = NameId> {
        let last = self.last[directory.index()];
        let all = std::iter::successors(last, |id| self.names[id.index()].before);
        all.filter(|id| !self.names[id.index()].is_removed)
    }

    fn bytes_of(&self, id: NameId) -> &[u8] {
        text(&self.bytes, &self.names[id.index()])
    }

    fn is(&self, id: NameId, directory: DirId, name: &[u8]) -> bool {
        self.names[id.index()].directory == directory && self.bytes_of(id) == name
    }

    fn hash(&self, directory: DirId, name: &[u8]) -> u64 {
        hash_of(&self.hasher, directory, name)
    }
}

fn text<'a>(bytes: &'a [u8], name: &Name) -> &'a [u8] {
    &bytes[name.start..name.start + usize::from(name.length)]
}

fn hash_of(hasher: &RandomState, directory: DirId, name: &[u8]) -> u64 {
    hasher.hash_one((directory.index(), name))
}

/// The names in a directory with their inodes, sorted.
pub struct Children<'a> {
    names: &'a Names,
    ids: std::vec::IntoIter<NameId>,
}

impl<'a> Iterator for Children<'a> {
    type Item = (&'a [u8], InodeId);

    fn next(&mut self) -> Option<(&'a [u8], InodeId)> {
        let id = self.ids.next()?;
        let inode = self.names.names[id.index()].inode;
        Some((self.names.bytes_of(id), inode))
    }
}
