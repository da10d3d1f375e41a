//! The disk usage of a directory: each inode counts once, however many names it has. A container may write
//! to it meanwhile: files that disappear are not counted, and nothing outside is read.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use crate::fs::dir_tree::DirTree;
use crate::fs::root::{self, Dir};
use crate::path::EntryPath;

use super::snapshot::Usage;

/// The unit of `st_blocks` (`stat(2)`).
const BLOCK: u64 = 512;

/// The usage of a directory and everything in it.
pub fn of(top: &Dir) -> io::Result<Usage> {
    let mut counted = Counted::default();
    counted.add(&top.stat_self()?);
    let again = top.open_beneath(&EntryPath::root())?;
    let mut tree = DirTree::new(Arc::new(again));
    let mut todo = vec![DirTree::TOP];
    while let Some(id) = todo.pop() {
        match tree.open(id) {
            Ok(directory) => {
                for name in counted.add_children(&directory)? {
                    todo.push(tree.add(id, name));
                }
            }
            Err(error) if root::is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(counted.usage)
}

#[derive(Default)]
struct Counted {
    usage: Usage,
    /// Inodes with several names.
    linked: HashSet<(u64, u64)>,
}

impl Counted {
    /// Returns the directories among them.
    fn add_children(&mut self, directory: &Dir) -> io::Result<Vec<Box<[u8]>>> {
        let mut directories = Vec::new();
        for name in directory.names()? {
            let Some(stat) = directory.stat(&name)? else {
                continue;
            };
            self.add(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                directories.push(name);
            }
        }
        Ok(directories)
    }

    fn add(&mut self, stat: &Stat) {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let is_linked = !is_directory && stat.st_nlink > 1;
        if is_linked && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return;
        }
        self.usage.inodes += 1;
        self.usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
    }
}
