//! `Contents`: what the files of a layer hold, by inode number, so that nobody has to read them
//! again to write the layer's listing.

use std::collections::HashMap;
use std::fs::File;

use crate::content::Content;
use crate::error::{Error, Result};

/// The content of every file that was written.
#[derive(Debug, Default)]
pub struct Contents(HashMap<u64, Content>);

impl Contents {
    /// A file was written. The number of one that was removed may come again: the last one counts.
    pub(super) fn add(&mut self, file: &File, content: Content) -> Result<()> {
        let stat = rustix::fs::fstat(file)
            .map_err(|errno| Error::system("looking at what was written", errno))?;
        self.0.insert(stat.st_ino, content);
        Ok(())
    }

    /// What the file with this inode number holds.
    pub fn of(&self, inode: u64) -> Option<Content> {
        self.0.get(&inode).copied()
    }
}
