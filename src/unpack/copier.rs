//! `Copier`: copies inodes from one tree to another, with all their attributes and hard links.
//!
//! [`crate::repack::convert`] copies inodes that it cannot share with the old tree, and `export` clones
//! layers. It creates inodes in directories that its caller made, and does not change the tree that it
//! reads.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Operation, Result};
use crate::fs::root::{self, Dir, Root};
use crate::meta::Xattr;
use crate::path::EntryPath;
use crate::unpack::{Fresh, InodeRef, Options, Owners, Report, apply};

/// How the content of files is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Reflinked, or it is an error.
    Shared,
    /// Reflinked if the file system supports it, otherwise copied.
    SharedOrCopied,
}

/// A name in the source tree, and its inode.
#[derive(Clone, Copy)]
pub struct Original<'a> {
    /// Its directory.
    pub directory: &'a Dir,
    /// Its name there.
    pub name: &'a [u8],
    /// The stat of the name itself, not of a link's target.
    pub stat: &'a Stat,
    /// The xattrs for the copy.
    pub xattrs: &'a [Xattr],
}

/// Copies inodes into one tree.
pub struct Copier {
    /// The destination.
    to: Root,
    data: Data,
    options: Options,
    /// The first copies of inodes with several names, by device and number.
    first_names: HashMap<(u64, u64), EntryPath>,
}

impl Copier {
    /// A copier into a tree without copies yet. With [`Owners::Image`], an owner that cannot be set is an
    /// error.
    ///
    /// Errors: the directory of the tree cannot be opened again.
    pub fn new(to: &Dir, data: Data, owners: Owners) -> Result<Copier> {
        let to = Root::of(to).map_err(|error| Error::system("opening the new tree", error))?;
        let options = Options {
            owners,
            ..Options::default()
        };
        Ok(Copier {
            to,
            data,
            options,
            first_names: HashMap::new(),
        })
    }

    /// Copies anything but a directory to `path`, whose parent exists.
    pub fn copy(&mut self, original: Original<'_>, path: &EntryPath) -> Result<()> {
        let making = |error| Error::system("making it", error).at_entry(path);
        let Original { name, stat, .. } = original;
        let (parent, new) = path.split().expect("only a directory is the root");
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.first_names.get(&inode)
        {
            let (first_parent, first) = first.split().expect("it has a name");
            let source = self.to.top().open_beneath(&first_parent).map_err(making)?;
            let directory = self.to.dir(&parent).map_err(making)?;
            return source.link(first, directory, new).map_err(making);
        }
        let directory = self.to.shared_dir(&parent).map_err(making)?;
        self.first_names.insert(inode, path.clone());
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::RegularFile => {
                let source = original.directory.open_file(&EntryPath::parse(name)?);
                let file = directory.make_file(new).map_err(making)?;
                self.fill(&file, &source.map_err(making)?)
                    .map_err(|error| self.not_filled(error).at_entry(path))?;
                return self.describe(&InodeRef::Open(file.as_fd()), original, path);
            }
            FileType::Symlink => {
                let target = original.directory.read_link(name).map_err(making)?;
                directory.make_symlink(new, &target).map_err(making)?;
            }
            kind => {
                let device = root::device(stat);
                directory.make_node(new, kind, device).map_err(making)?;
            }
        }
        self.describe(&InodeRef::Named(&directory, new, kind), original, path)
    }

    fn fill(&self, file: &File, source: &File) -> io::Result<()> {
        match self.data {
            Data::SharedOrCopied => root::clone_or_copy(source, file),
            Data::Shared if source.metadata()?.len() == 0 => Ok(()),
            Data::Shared => Ok(rustix::fs::ioctl_ficlone(file, source)?),
        }
    }

    fn not_filled(&self, error: io::Error) -> Error {
        match self.data {
            Data::Shared => Error::io("sharing its blocks", error).during(Operation::Reflink),
            Data::SharedOrCopied => Error::io("copying its data", error),
        }
    }

    /// Gives an inode the attributes of the original. Errors: one of them cannot be set.
    pub fn describe(
        &self,
        inode: &InodeRef<'_>,
        original: Original<'_>,
        path: &EntryPath,
    ) -> Result<()> {
        let meta = root::attributes(original.stat, original.xattrs.to_vec());
        let (fresh, mut report) = (Fresh::default(), Report::default());
        apply(inode, &meta, path, &self.options, fresh, &mut report)
    }
}
