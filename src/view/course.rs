//! `Course`: a [`Way`] through a tree, with the directories from the root down to where it stands.

use crate::error::Result;
use crate::overlay::lower::Way;
use crate::path::EntryPath;

use super::tree::Id;

/// How far one has come, and what is still to be gone.
pub struct Course {
    way: Way,
    /// One more than the path to where it stands has components.
    directories: Vec<Id>,
}

impl Course {
    /// Begins at the root.
    pub fn new(path: &EntryPath, root: Id) -> Course {
        Course {
            way: Way::new(path),
            directories: vec![root],
        }
    }

    /// The directory that it has come to.
    pub fn here(&self) -> Id {
        self.directories[self.directories.len() - 1]
    }

    /// The path of that directory.
    pub fn path(&self) -> &EntryPath {
        self.way.at()
    }

    /// The next name to be looked up where it stands.
    pub fn next_name(&mut self) -> Option<Box<[u8]>> {
        let name = self.way.next_name();
        self.go_up();
        name
    }

    /// How many components of the path itself come after the last name; `None` if that was one of
    /// a symbolic link.
    pub fn left(&self) -> Option<usize> {
        self.way.left()
    }

    /// Goes into the directory of that name. Errors: the path gets too long.
    pub fn enter(&mut self, name: &[u8], directory: Id) -> Result<()> {
        self.way.enter(self.way.at().join(name)?);
        self.directories.push(directory);
        Ok(())
    }

    /// Goes where a symbolic link leads; false if it was one too many. Errors: rule N5.
    pub fn follow(&mut self, target: &[u8]) -> Result<bool> {
        let is_fine = self.way.follow(target)?;
        self.go_up();
        Ok(is_fine)
    }

    /// The way itself goes back to the root, and up.
    fn go_up(&mut self) {
        self.directories.truncate(self.way.depth() + 1);
    }

    /// Where it has come to.
    pub fn end(self) -> (Id, EntryPath) {
        (self.here(), self.way.end())
    }
}
