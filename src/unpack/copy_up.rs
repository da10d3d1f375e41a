//! A file of a lower layer becomes one of this layer, because this layer has a hard link to it
//! (rule H2).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::FileType;

use crate::content::{Content, ContentHasher};
use crate::error::{Error, Result};
use crate::lower::{Below, Found, Leaf, LowerView};
use crate::meta::{Device, Meta};
use crate::path::EntryPath;
use crate::root::{self, Dir};

use super::{Inode, Unpacker, apply, system};

impl Unpacker<'_> {
    /// Copies what is left below at `path` into this layer, under every name that it has there,
    /// so that they stay names of one inode. False if there is nothing to copy.
    pub(super) fn copy_up(&mut self, below: &Below, path: &EntryPath) -> Result<bool> {
        let found = below.remains(path)?;
        let (Found::Leaf(leaf), Some(view)) = (&*found, below.view()) else {
            return Ok(false);
        };
        if !self.is_free(path)? {
            return Ok(false);
        }
        let meta = view.leaf_meta(path, leaf)?;
        self.imply_parents(path)?;
        self.copy_leaf(view, path, leaf, &meta)?;
        for name in below.names_of_inode(path, leaf)? {
            if name != *path && self.is_free(&name)? {
                self.imply_parents(&name)?;
                self.link(path, &name)?;
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
        let kind = leaf.file_type();
        match kind {
            FileType::RegularFile => return self.copy_file(view.layer(leaf.layer), path, meta),
            FileType::Symlink => {
                let target = view.read_link(path, leaf)?;
                self.create(path, |dir, name| dir.make_symlink(name, &target))?;
            }
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                let device = Device {
                    major: rustix::fs::major(leaf.stat.st_rdev),
                    minor: rustix::fs::minor(leaf.stat.st_rdev),
                };
                self.create(path, |dir, name| dir.make_node(name, kind, device))?;
            }
            _ => return Err(Error::refused("a hard link to a socket of a lower layer")),
        }
        self.attributes(path, kind, meta)
    }

    fn copy_file(&mut self, lower: &Dir, path: &EntryPath, meta: &Meta) -> Result<()> {
        let source = lower
            .open_file(path)
            .map_err(|error| system("opening it in a lower layer", error).at_entry(path))?;
        let mut made = None;
        self.create(path, |dir, name| {
            made = Some(dir.make_file(name)?);
            Ok(())
        })?;
        let mut file = made.expect("create made it, or failed");
        let (bytes, content) = clone_or_copy(&source, &mut file)
            .map_err(|error| system("copying it from a lower layer", error).at_entry(path))?;
        self.pending.report.bytes += bytes;
        self.pending.contents.add(&file, content)?;
        let report = &mut self.pending.report;
        apply(&Inode::Open(file.as_fd()), meta, path, self.options, report)
    }

    /// Directories above something that a lower layer has there.
    fn imply_parents(&mut self, path: &EntryPath) -> Result<()> {
        let mut missing: Vec<EntryPath> = path
            .ancestors()
            .take_while(|above| !self.pending.tree.contains(above))
            .collect();
        while let Some(directory) = missing.pop() {
            self.make_directory(directory, None)?;
        }
        Ok(())
    }

    /// Whether this layer shows at a path what is below.
    fn is_free(&mut self, path: &EntryPath) -> Result<bool> {
        if self.pending.tree.hides_below(path) || self.stat(path)?.is_some() {
            return Ok(false);
        }
        for above in path.ancestors() {
            if self.pending.tree.contains(&above) {
                return Ok(true);
            }
            if self.stat(&above)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Shares the blocks where the file system can, and keeps the holes where it cannot. Returns the
/// bytes of data, and their digest.
fn clone_or_copy(source: &File, file: &mut File) -> io::Result<(u64, Content)> {
    let cloned = rustix::fs::ioctl_ficlone(&*file, source).is_ok();
    if !cloned {
        file.set_len(source.metadata()?.len())?;
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
    Ok((bytes, hasher.finish()))
}
