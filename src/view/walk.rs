//! A walk through a tree: every name, in the order of [`EntryPath`].

use std::collections::btree_map;

use crate::path::EntryPath;

use super::tree::{Body, ImageInode, ImageTree, Name};

/// A name in a walk.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    /// The path.
    pub path: EntryPath,
    /// Its entry in the directory.
    pub name: Name,
    /// Its inode.
    pub inode: &'a ImageInode,
}

type Children<'a> = btree_map::Iter<'a, Box<[u8]>, Name>;

/// See [`ImageTree::walk`].
pub struct Walk<'a> {
    tree: &'a ImageTree,
    /// The name to begin with.
    first: Option<(EntryPath, Name)>,
    /// The directories that it is in, with what is left of them.
    open: Vec<(EntryPath, Children<'a>)>,
    /// Whose names are looked at; `None` for all.
    layer: Option<u32>,
}

impl ImageTree {
    /// Every name, the root first, a directory before what is in it.
    pub fn walk(&self) -> Walk<'_> {
        self.walk_from(EntryPath::root(), self.root)
    }

    /// A name of this tree, and every name below it.
    pub fn walk_from(&self, path: EntryPath, name: Name) -> Walk<'_> {
        Walk {
            tree: self,
            first: Some((path, name)),
            open: Vec::new(),
            layer: None,
        }
    }
}

impl Walk<'_> {
    /// Only the names that the directory of the tree's topmost layer has.
    #[must_use]
    pub fn of_layer(mut self, layer: u32) -> Self {
        self.layer = Some(layer);
        self
    }

    fn next_name(&mut self) -> Option<(EntryPath, Name)> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while let Some((directory, children)) = self.open.last_mut() {
            match children.next() {
                Some((name, &child)) => {
                    // A tree has no path that could not be joined.
                    return Some((directory.join(name).ok()?, child));
                }
                None => drop(self.open.pop()),
            }
        }
        None
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            let (path, name) = self.next_name()?;
            if self.layer.is_some_and(|layer| !name.is_last_in(layer)) {
                continue;
            }
            let inode = self.tree.inode(name.inode);
            if let Body::Directory(children) = &inode.body {
                self.open.push((path.clone(), children.iter()));
            }
            return Some(Item { path, name, inode });
        }
    }
}
