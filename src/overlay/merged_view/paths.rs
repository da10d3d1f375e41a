//! Lookups by whole paths.

use crate::error::Result;
use crate::path::{EntryPath, Trail};

use super::{DirectoryId, MergedView, Seen};

/// The path that was looked up last, and the directories on it.
#[derive(Debug, Default)]
pub struct LastPath {
    trail: Trail,
    /// As far as they were found: of the first component, of the second, and so on.
    directories: Vec<DirectoryId>,
}

impl LastPath {
    pub fn clear(&mut self) {
        self.trail.clear();
        self.directories.clear();
    }
}

impl MergedView {
    /// The directory at a path; `None` if none shows there. Symbolic links are not followed.
    ///
    /// Errors: those of [`see`](MergedView::see).
    pub fn directory(&self, path: &EntryPath) -> Result<Option<DirectoryId>> {
        let mut last = self.last_path.borrow_mut();
        let LastPath { trail, directories } = &mut *last;
        let kept = trail.change(path.as_bytes());
        directories.truncate(kept);
        for depth in directories.len()..trail.depth() {
            let above = directories.last().copied().unwrap_or(DirectoryId::ROOT);
            match self.see(above, trail.component(depth))? {
                Seen::Directory(id) => directories.push(id),
                Seen::Absent | Seen::Leaf(..) => return Ok(None),
            }
        }
        Ok(Some(
            directories.last().copied().unwrap_or(DirectoryId::ROOT),
        ))
    }

    /// What is at a path, with the directory that holds it; the root is in itself, by no name.
    ///
    /// Errors: those of [`see`](MergedView::see).
    pub fn see_path(&self, path: &EntryPath) -> Result<(DirectoryId, Seen)> {
        let root = DirectoryId::ROOT;
        let Some((parent, name)) = path.split() else {
            return Ok((root, Seen::Directory(root)));
        };
        match self.directory(&parent)? {
            Some(parent) => Ok((parent, self.see(parent, name)?)),
            None => Ok((root, Seen::Absent)),
        }
    }
}
