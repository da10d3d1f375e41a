//! `Links`: which inodes are in the archive already, under which name.

use std::collections::HashMap;

use rustix::fs::Stat;

use crate::path::EntryPath;

/// The first names of inodes that have several.
#[derive(Default)]
pub struct Links(HashMap<(u64, u64), EntryPath>);

impl Links {
    /// The earlier name of an inode; if there is none, this one is the first.
    pub fn earlier(&mut self, stat: &Stat, path: &EntryPath) -> Option<EntryPath> {
        if stat.st_nlink < 2 {
            return None;
        }
        let inode = (stat.st_dev, stat.st_ino);
        let first = self.0.entry(inode).or_insert_with(|| path.clone());
        (first != path).then(|| first.clone())
    }
}
