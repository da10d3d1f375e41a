//! A file of a lower layer becomes one of this layer, because this layer has a hard link to it
//! (rule H2).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::FileType;

use crate::content::{Content, ContentHasher};
use crate::error::{Error, Result};
use crate::fs::root::{self, Dir};
use crate::meta::Meta;
use crate::overlay::lower::{Below, Found, Leaf, LowerView};
use crate::path::EntryPath;

use super::{Fresh, Inode, Unpacker, apply, system};
use crate::layer::tree::{self, DirId, Kind};

impl Unpacker<'_> {
    /// Copies what is left below at `path` into this layer, under every name that it has there,
    /// so that they stay names of one inode. False if there is nothing to copy.
    pub(super) fn copy_up(&mut self, below: &Below, path: &EntryPath) -> Result<bool> {
        let found = below.remains(path)?;
        let (Found::Leaf(leaf), Some(view)) = (&*found, below.view()) else {
            return Ok(false);
        };
        if !self.is_free(path) {
            return Ok(false);
        }
        let meta = view.leaf_meta(path, leaf)?;
        self.imply_parents(path)?;
        self.copy_leaf(view, path, leaf, &meta)?;
        for name in below.names_of_inode(path, leaf)? {
            if name != *path && self.is_free(&name) {
                self.imply_parents(&name)?;
                let parent = self.directory_of(&name);
                self.link(path, parent, &name)?;
            }
        }
        Ok(true)
    }

    fn copy_leaf(
        &mut self,
        view: &LowerView,
        path: &EntryPath,
        leaf: &Leaf,
        meta: &Meta,
    ) -> Result<()> {
        let parent = self.directory_of(path);
        let file_type = leaf.file_type();
        let device = root::device(&leaf.stat);
        let kind = match file_type {
            FileType::RegularFile => {
                return self.copy_file(view.layer(leaf.layer), parent, path, meta);
            }
            FileType::Symlink => {
                let target = view.read_link(path, leaf)?;
                self.create(parent, path, |dir, name| dir.make_symlink(name, &target))?;
                return self.finish(parent, path, Kind::Symlink, meta);
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice(device),
            FileType::BlockDevice => Kind::BlockDevice(device),
            _ => return Err(Error::refused("a hard link to a socket of a lower layer")),
        };
        self.create(parent, path, |dir, name| {
            dir.make_node(name, file_type, device)
        })?;
        self.finish(parent, path, kind, meta)
    }

    fn copy_file(
        &mut self,
        lower: &Dir,
        parent: DirId,
        path: &EntryPath,
        meta: &Meta,
    ) -> Result<()> {
        let source = lower
            .open_file(path)
            .map_err(|error| system("opening it in a lower layer", error).at_entry(path))?;
        let mut made = None;
        self.create(parent, path, |dir, name| {
            made = Some(dir.make_file(name)?);
            Ok(())
        })?;
        let mut file = made.expect("create made it, or failed");
        let copied = clone_or_copy(&source, &mut file)
            .map_err(|error| system("copying it from a lower layer", error).at_entry(path))?;
        self.pending.report.bytes += copied.bytes;
        let kind = Kind::File {
            size: copied.size,
            content: Some(copied.content),
        };
        let inode = self.describe(tree::Inode::new(kind), meta);
        self.pending.tree.add(parent, path.name(), inode);
        let inode = Inode::Open(file.as_fd());
        let report = &mut self.pending.report;
        apply(&inode, meta, path, self.options, Fresh::default(), report)
    }

    /// The directory above a path, which is there.
    fn directory_of(&self, path: &EntryPath) -> DirId {
        let parent = path.parent().expect("a file is not the root");
        let found = self.pending.tree.find_directory(&parent);
        found.expect("its parents were implied")
    }

    /// Directories above something that a lower layer has there.
    fn imply_parents(&mut self, path: &EntryPath) -> Result<()> {
        let mut missing: Vec<EntryPath> = path
            .ancestors()
            .take_while(|above| !self.pending.tree.has_directory(above))
            .collect();
        while let Some(directory) = missing.pop() {
            let parent = self.directory_of(&directory);
            self.make_directory(parent, directory, None)?;
        }
        Ok(())
    }

    /// Whether this layer shows at a path what is below.
    fn is_free(&self, path: &EntryPath) -> bool {
        let tree = &self.pending.tree;
        let nearest = path.ancestors().find_map(|above| tree.find(&above));
        let nearest = nearest.map(|inode| tree.inode(inode).kind);
        !tree.hides_below(path)
            && tree.find(path).is_none()
            && matches!(nearest, Some(Kind::Directory(_)))
    }
}

struct Copied {
    /// Of the whole file.
    size: u64,
    /// Bytes of data.
    bytes: u64,
    content: Content,
}

/// Shares the blocks where the file system can, and keeps the holes where it cannot.
fn clone_or_copy(source: &File, file: &mut File) -> io::Result<Copied> {
    let cloned = rustix::fs::ioctl_ficlone(&*file, source).is_ok();
    let size = source.metadata()?.len();
    if !cloned {
        file.set_len(size)?;
    }
    let (mut hasher, mut bytes) = (ContentHasher::blocks(), 0);
    root::read_data(source, &mut |offset, data| {
        hasher.update(offset, data);
        bytes += data.len() as u64;
        match cloned {
            true => Ok(()),
            false => file.write_all_at(data, offset),
        }
    })?;
    let content = hasher.finish();
    Ok(Copied {
        size,
        bytes,
        content,
    })
}
