//! `Walk`: all names of a layer directory, in the order of a listing: as the disk has them, or as
//! the code that made them remembers them, and only the rest is read from disk.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::vec::IntoIter;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::{Dir, Root};
use crate::meta::{Xattr, is_label};
use crate::path::EntryPath;
use crate::unpack::{InodeId, InodeKind, Tree};

use super::node::{Node, NodeKind};
use super::text::Mode;

/// A directory tree that is being listed. Deep trees cost memory, not descriptors or stack.
pub struct Walk<'a> {
    root: Root,
    tree: Option<&'a Tree>,
    /// The directories that are being listed, the top one first.
    open: Vec<Listed>,
    /// The first names of inodes that have several.
    links: HashMap<u64, EntryPath>,
    /// Whether `security.selinux` counts: else it belongs to this system (rule X2).
    selinux: bool,
    started: bool,
}

struct Listed {
    path: EntryPath,
    names: IntoIter<Name>,
    /// Its mode, if it had to be changed for its owner to look into it.
    mode: Option<u32>,
}

/// A name in a directory, and what the tree says that it is.
type Name = (Box<[u8]>, Option<InodeId>);

impl<'a> Walk<'a> {
    /// Starts at a layer directory.
    pub fn of_disk(top: Dir, selinux: bool) -> Walk<'a> {
        Walk::new(top, None, selinux)
    }

    /// Starts at a layer directory that was just finished, and of which the tree is.
    pub fn of_tree(top: Dir, tree: &'a Tree, selinux: bool) -> Walk<'a> {
        Walk::new(top, Some(tree), selinux)
    }

    fn new(top: Dir, tree: Option<&'a Tree>, selinux: bool) -> Walk<'a> {
        Walk {
            root: Root::new(top),
            tree,
            open: Vec::new(),
            links: HashMap::new(),
            selinux,
            started: false,
        }
    }

    /// The next name, parents before children; the first is the directory itself. Its content only if
    /// it is remembered.
    pub fn next_name(&mut self) -> Result<Option<Node>> {
        let (path, inode) = match self.started {
            true => match self.next_path()? {
                Some(next) => next,
                None => return Ok(None),
            },
            false => (
                EntryPath::root(),
                self.tree.map(|tree| tree.inode_of(Tree::ROOT)),
            ),
        };
        self.started = true;
        let found = match self.tree.zip(inode) {
            Some((tree, inode)) => self.remember(tree, inode, &path),
            None => self.look(&path),
        };
        let node = found.map_err(|error| listing(&path, error))?;
        if node.kind == NodeKind::Directory {
            self.enter(&path, inode, node.mode)
                .map_err(|error| listing(&path, error))?;
        }
        Ok(Some(node))
    }

    fn enter(&mut self, path: &EntryPath, inode: Option<InodeId>, mode: Mode) -> io::Result<()> {
        let mode = self.let_in(path, mode)?;
        let names = self.names(path, inode)?.into_iter();
        let path = path.clone();
        self.open.push(Listed { path, names, mode });
        Ok(())
    }

    fn next_path(&mut self) -> Result<Option<(EntryPath, Option<InodeId>)>> {
        while let Some(last) = self.open.last_mut() {
            match last.names.next() {
                Some((name, inode)) => return Ok(Some((last.path.join(&name)?, inode))),
                None => self.leave(),
            }
        }
        Ok(None)
    }

    fn names(&mut self, path: &EntryPath, inode: Option<InodeId>) -> io::Result<Vec<Name>> {
        if let Some((tree, inode)) = self.tree.zip(inode)
            && let InodeKind::Directory(directory) = tree.inode(inode).kind
        {
            let children = tree.children(directory);
            return Ok(children
                .map(|(name, inode)| (name.into(), Some(inode)))
                .collect());
        }
        let names = self.root.dir(path)?.names()?;
        Ok(names.into_iter().map(|name| (name, None)).collect())
    }

    /// A name that the tree has, with what only the disk knows of it.
    fn remember(&mut self, tree: &Tree, id: InodeId, path: &EntryPath) -> io::Result<Node> {
        let inode = tree.inode(id);
        if !inode.must_be_read && !matches!(inode.kind, InodeKind::Symlink) && !inode.has_links {
            return Ok(Node::of_inode(path.clone(), inode));
        }
        let mut node = self.look(path)?;
        if let InodeKind::File { content, .. } = inode.kind
            && node.holds_data()
        {
            node.content = content;
        }
        Ok(node)
    }

    fn look(&mut self, path: &EntryPath) -> io::Result<Node> {
        let (parent, name) = place(path);
        let directory = self.root.dir(&parent)?;
        let stat = directory.stat(name)?.ok_or(Errno::NOENT)?;
        let mode = stat.st_mode & 0o7777;
        let mut xattrs = readable(directory, name, mode, || directory.kept_xattrs(name))?;
        xattrs.retain(|xattr: &Xattr| self.selinux || !is_label(&xattr.name));
        let mut node = Node::new(path.clone(), &stat, xattrs);
        if node.kind == NodeKind::Symlink {
            node.target = Some(directory.read_link(name)?.into());
        }
        if node.kind != NodeKind::Directory && stat.st_nlink > 1 {
            let first = self.links.entry(stat.st_ino);
            let first = first.or_insert_with(|| node.path.clone());
            node.link = (*first != node.path).then(|| first.clone());
        }
        Ok(node)
    }

    /// Opens a file that was just found.
    pub fn open(&mut self, found: &Node) -> Result<File> {
        let (parent, name) = place(&found.path);
        let mut open = || {
            let directory = self.root.dir(&parent)?;
            let name_only = EntryPath::parse(name)?;
            readable(directory, name, found.mode.0, || {
                directory.open_file(&name_only)
            })
        };
        open().map_err(|error| listing(&found.path, error))
    }

    /// Without root, an owner may have no right to look into a directory of the image: it is given
    /// for as long as that takes. Returns the mode to go back to.
    fn let_in(&mut self, path: &EntryPath, Mode(mode): Mode) -> io::Result<Option<u32>> {
        if mode & 0o500 == 0o500 || rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let (parent, name) = place(path);
        self.root.dir(&parent)?.set_mode(name, mode | 0o500)?;
        Ok(Some(mode))
    }

    fn leave(&mut self) {
        let Some(Listed {
            path,
            mode: Some(mode),
            ..
        }) = self.open.pop()
        else {
            return;
        };
        let (parent, name) = place(&path);
        // Nothing can be done about it; the next walk reports the mode.
        let _ = self
            .root
            .dir(&parent)
            .and_then(|directory| directory.set_mode(name, mode));
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        while !self.open.is_empty() {
            self.leave();
        }
    }
}

/// Without root, an owner may have no right to read a file of the image, or its xattrs: it is given
/// for as long as that takes.
fn readable<T>(
    directory: &Dir,
    name: &[u8],
    mode: u32,
    read: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    match read() {
        Err(error) if is_any(&error, &[Errno::ACCESS]) && mode & 0o400 == 0 => {
            directory.set_mode(name, mode | 0o400)?;
            let result = read();
            directory.set_mode(name, mode)?;
            result
        }
        other => other,
    }
}

/// The directory that a path is looked up in, and by what name.
fn place(path: &EntryPath) -> (EntryPath, &[u8]) {
    path.split().unwrap_or((EntryPath::root(), b"."))
}

fn is_any(error: &io::Error, errnos: &[Errno]) -> bool {
    let is = |errno: &Errno| error.raw_os_error() == Some(errno.raw_os_error());
    errnos.iter().any(is)
}

fn listing(path: &EntryPath, error: io::Error) -> Error {
    Error::system("listing it", error).at_entry(path)
}
