//! Changes to a tree, at the user's request, before it is written.

use crate::error::{Error, Result};
use crate::layer::walk::{PathWalk, Steps};
use crate::meta::Meta;
use crate::path::EntryPath;

use super::tree::{Body, Id, ImageInode, ImageTree, Name, loop_of_links};

impl ImageTree {
    /// Removes every path that matches `is_meant`, with everything below it; never the root.
    pub(crate) fn remove(&mut self, is_meant: impl Fn(&EntryPath) -> bool) {
        let mut todo = vec![(EntryPath::root(), self.root.inode)];
        while let Some((path, directory)) = todo.pop() {
            let mut below = Vec::new();
            self.children_mut(directory).retain(|name, child| {
                // A tree has no path that could not be joined.
                let Ok(path) = path.join(name) else {
                    return true;
                };
                let stays = !is_meant(&path);
                if stays {
                    below.push((path, child.inode));
                }
                stays
            });
            below.retain(|(_, inode)| self.inode(*inode).is_directory());
            todo.extend(below);
        }
    }

    /// The directory at a path, created if needed (rule I2). Symbolic links are followed inside the root.
    /// Errors: something else is in the way.
    pub(crate) fn make_directory(&mut self, path: &EntryPath) -> Result<Id> {
        let mut walk = PathWalk::new(self.root.inode, path);
        let mut steps = Steps::default();
        while let Some(name) = walk.next_name() {
            let here = walk.here();
            let Some(child) = self.child(here, &name) else {
                let id = self.add(ImageInode::implied_directory())?;
                self.name(here, &name, no_layers(id));
                walk.enter(name, id)?;
                continue;
            };
            match &self.inode(child.inode).body {
                Body::Directory(_) => walk.enter(name, child.inode)?,
                Body::Symlink(target) => {
                    if !walk.follow(target, &mut steps)? {
                        return Err(loop_of_links().at_entry(path));
                    }
                }
                _ => {
                    let place = walk.path().join(&name)?;
                    let what = format!("{place} is not a directory");
                    return Err(Error::conflict(what).at_entry(path));
                }
            }
        }
        Ok(walk.here())
    }

    /// Puts something at a path, replacing whatever is there. Errors: it is the root, or a parent is not a
    /// directory.
    pub(crate) fn put(&mut self, path: &EntryPath, inode: ImageInode) -> Result<()> {
        let Some((parent, name)) = path.split() else {
            return Err(Error::usage("the root cannot be replaced"));
        };
        let directory = self.make_directory(&parent)?;
        let id = self.add(inode)?;
        self.name(directory, name, no_layers(id));
        Ok(())
    }

    /// Changes the attributes of everything.
    pub(crate) fn for_each_meta(&mut self, change: impl FnMut(&mut Meta)) {
        self.inodes_mut()
            .map(|inode| &mut inode.meta)
            .for_each(change);
    }

    /// Sets the attributes of the root.
    pub(crate) fn set_root_meta(&mut self, meta: Meta) {
        let root = self.root.inode;
        self.inode_mut(root).meta = meta;
    }

    /// Moves the whole tree below a path of a new root.
    pub(crate) fn move_below(&mut self, path: &EntryPath) -> Result<()> {
        let Some((parent, name)) = path.split() else {
            return Ok(());
        };
        let old = self.root;
        self.root = no_layers(self.add(ImageInode::implied_directory())?);
        let directory = self.make_directory(&parent)?;
        self.name(directory, name, old);
        self.check_lengths()
    }

    /// Fails if a path has become too long for a system call.
    fn check_lengths(&self) -> Result<()> {
        let mut todo = vec![(EntryPath::root(), self.root.inode)];
        while let Some((path, id)) = todo.pop() {
            if let Body::Directory(children) = &self.inode(id).body {
                for (name, child) in children {
                    todo.push((path.join(name)?, child.inode));
                }
            }
        }
        Ok(())
    }
}

/// A name from no layer.
fn no_layers(inode: Id) -> Name {
    Name {
        inode,
        layer: 0,
        needed_by: 0,
    }
}
