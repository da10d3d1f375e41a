//! Removes a directory of any depth with everything in it, with a bounded number of descriptors.
//!
//! Called by the engine and the store for trees that are damaged, unfinished or no longer needed, which are
//! as hostile as an image can make them.

use std::io;
use std::sync::Arc;
use std::vec::IntoIter;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::error::Error;
use crate::fs::dir_tree::{DirId, DirTree};

use super::{Dir, Mounts};

/// The names of the directories in a directory, whose files are gone.
type Subdirectories = Vec<Box<[u8]>>;

/// A directory being emptied.
struct Emptying {
    id: DirId,
    left: IntoIter<Box<[u8]>>,
}

impl Dir {
    /// Removes a name, and everything below it if it is a directory. No error if it is absent. Errors:
    /// something is mounted on it, or below it.
    pub fn remove_tree(&self, name: &[u8]) -> io::Result<()> {
        match self.unlink(name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.open_for_removal(name)?.remove_children()?;
        Ok(self.unlink(name, AtFlags::REMOVEDIR)?)
    }

    /// Empties this directory: in time that grows with the number of names, however deep the tree is, and
    /// with a bounded number of descriptors. Errors: something is mounted below.
    pub fn remove_children(&self) -> io::Result<()> {
        let subdirectories = self.remove_files()?;
        if subdirectories.is_empty() {
            return Ok(());
        }
        let top = Arc::new(Dir(self.0.try_clone()?));
        let mut tree = DirTree::on_one_mount(top);
        let mut open = vec![Emptying {
            id: DirTree::TOP,
            left: subdirectories.into_iter(),
        }];
        while let Some(Emptying { id, left }) = open.last_mut() {
            let id = *id;
            if let Some(name) = left.next() {
                open.extend(remove_or_enter(&mut tree, id, name)?);
                continue;
            }
            open.pop();
            if let Some(parent) = open.last() {
                let parent = tree.open(parent.id)?;
                parent.unlink(tree.name(id), AtFlags::REMOVEDIR)?;
                tree.leave(id);
            }
        }
        Ok(())
    }

    /// Removes everything but directories, and returns these.
    fn remove_files(&self) -> io::Result<Subdirectories> {
        // Without root, listing needs the right to search too, which may be missing.
        let names = self.names().or_else(|_| {
            rustix::fs::fchmod(self, Mode::RWXU)?;
            self.names()
        });
        let mut subdirectories = Subdirectories::new();
        for name in names? {
            match self.unlink(&name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => subdirectories.push(name),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(subdirectories)
    }

    /// Removes one name, even in a directory that is not writable, without root.
    fn unlink(&self, name: &[u8], flags: AtFlags) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(self, name, flags) {
            Err(Errno::ACCESS) => {
                rustix::fs::fchmod(self, Mode::RWXU)?;
                rustix::fs::unlinkat(self, name, flags)
            }
            other => other,
        }
    }

    /// Opens a directory, even if it is not readable, without root.
    fn open_for_removal(&self, name: &[u8]) -> io::Result<Dir> {
        let open = || self.open_at(name, super::DIRECTORY, Mounts::Refused);
        match open() {
            Err(Errno::ACCESS) => {
                self.set_mode(name, 0o700)?;
                Ok(Dir(open()?))
            }
            Err(Errno::XDEV) => {
                let name = crate::path::display(name);
                let text = format!("something is mounted on {name}, which is not removed");
                Err(Error::conflict(text).hint("unmount it first").into())
            }
            other => Ok(Dir(other?)),
        }
    }
}

/// Removes a directory if it has only files; otherwise returns it, with its subdirectories.
fn remove_or_enter(
    tree: &mut DirTree,
    parent: DirId,
    name: Box<[u8]>,
) -> io::Result<Option<Emptying>> {
    let around = tree.open(parent)?;
    let dir = around.open_for_removal(&name)?;
    let subdirectories = dir.remove_files()?;
    if subdirectories.is_empty() {
        around.unlink(&name, AtFlags::REMOVEDIR)?;
        return Ok(None);
    }
    let id = tree.add_open(parent, name, Arc::new(dir));
    let left = subdirectories.into_iter();
    Ok(Some(Emptying { id, left }))
}
