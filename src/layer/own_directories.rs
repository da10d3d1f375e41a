//! `OwnDirectories`: the paths at which a layer has a directory entry of its own.
//!
//! Such an entry replaces a symbolic link that the layers below have there, so no marker of the layer
//! reaches through that link (rule N4). A directory that is only implied does not count. Paths are as in
//! the archive, so they depend on the layer alone, and are the same in both passes of [`crate::unpack`].

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::path::EntryPath;

/// Filled entry by entry, in the order of the archive: the last one wins (rule N3).
#[derive(Clone, Debug, Default)]
pub struct OwnDirectories {
    paths: BTreeSet<EntryPath>,
    /// A directory that has none of them below it: its files have nothing to replace.
    childless: Option<Box<[u8]>>,
}

impl OwnDirectories {
    /// Records a directory entry.
    pub fn add(&mut self, path: &EntryPath) {
        self.childless = None;
        self.paths.insert(path.clone());
    }

    /// Records any other entry, which replaces a directory and everything below it.
    pub fn replace(&mut self, path: &EntryPath) {
        if self.childless.as_deref() == Some(path.parent_bytes()) {
            return;
        }
        self.paths.remove(path);
        while let Some(below) = self.first_below(path) {
            self.paths.remove(&below);
        }
        let parent = path.parent().unwrap_or_default();
        if self.first_below(&parent).is_none() {
            self.childless = Some(path.parent_bytes().into());
        }
    }

    /// What is in a directory comes right after it.
    fn first_below(&self, path: &EntryPath) -> Option<EntryPath> {
        let after = (Bound::Excluded(path), Bound::Unbounded);
        let next = self.paths.range(after).next();
        next.filter(|next| next.is_below(path)).cloned()
    }

    /// Whether the layer has a directory entry where a path of its archive leads: at the place
    /// itself, or at the path so far, all but the `left` last of its components.
    pub fn replaces(&self, place: &EntryPath, path: &EntryPath, left: Option<usize>) -> bool {
        !self.paths.is_empty()
            && (self.paths.contains(place)
                || left.is_some_and(|left| self.paths.contains(&path.without_last(left))))
    }
}
