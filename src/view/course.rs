//! `Course`: the way that a path takes through a tree, symbolic links and `..` among its components
//! (rule N4). It never leaves the root.

use crate::error::Result;
use crate::lower::{MAX_SYMLINKS, Steps};
use crate::path::EntryPath;

use super::tree::Id;

/// How far one has come, and what is still to be gone.
pub struct Course {
    steps: Steps,
    at: EntryPath,
    /// The directories from the root down to where it stands.
    directories: Vec<Id>,
    links: u32,
}

impl Course {
    /// Begins at the root.
    pub fn new(path: &[u8], root: Id) -> Course {
        Course {
            steps: Steps::new(path),
            at: EntryPath::root(),
            directories: vec![root],
            links: 0,
        }
    }

    /// The directory that it has come to.
    pub fn here(&self) -> Id {
        self.directories[self.directories.len() - 1]
    }

    /// The path of that directory.
    pub fn path(&self) -> &EntryPath {
        &self.at
    }

    /// The next name to be looked up where it stands.
    pub fn next_name(&mut self) -> Option<Box<[u8]>> {
        for name in self.steps.by_ref() {
            if &*name != b".." {
                return Some(name);
            }
            if let Some(parent) = self.at.parent() {
                self.at = parent;
                self.directories.pop();
            }
        }
        None
    }

    /// How many components of the path itself come after the last name; `None` if that was one of
    /// a symbolic link.
    pub fn left(&self) -> Option<usize> {
        self.steps.left()
    }

    /// Goes into the directory of that name. Errors: the path gets too long.
    pub fn enter(&mut self, name: &[u8], directory: Id) -> Result<()> {
        self.at = self.at.join(name)?;
        self.directories.push(directory);
        Ok(())
    }

    /// Goes where a symbolic link leads; false if it was one too many.
    pub fn follow(&mut self, target: &[u8]) -> bool {
        self.links += 1;
        if target.starts_with(b"/") {
            self.at = EntryPath::root();
            self.directories.truncate(1);
        }
        self.steps.follow(target);
        self.links <= MAX_SYMLINKS
    }

    /// Where it has come to.
    pub fn end(self) -> (Id, EntryPath) {
        (self.here(), self.at)
    }
}
