//! Duplicates a layer directory: directories are created anew, and files are hard links, reflinks or
//! copies.
//!
//! Called by [`super::containers_storage`], which keeps the new tree private until it is complete.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::error::{Error, Operation, Result};
use crate::fs::root::{Dir, Root};
use crate::meta::Xattr;
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::unpack::copier::{Copier, Data, Original};
use crate::unpack::{InodeRef, Owners, system};

/// How the files of the new tree are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    HardLinks,
    Reflinks,
    /// Copies, which keep the holes of sparse files.
    Copies,
}

/// Duplicates a layer directory into an empty one.
pub fn duplicate(from: &Dir, to: &Dir, means: Means, progress: &dyn Progress) -> Result<()> {
    to.remove_acls()
        .map_err(|error| system("removing an inherited ACL", error))?;
    let owners = match rustix::process::geteuid().is_root() {
        true => Owners::Image,
        false => Owners::Caller,
    };
    let data = match means {
        Means::Copies => Data::SharedOrCopied,
        Means::HardLinks | Means::Reflinks => Data::Shared,
    };
    let mut duplicating = Duplicating {
        from: again(from)?,
        to: again(to)?,
        means,
        copier: Copier::new(to, data, owners)?,
    };
    let (mut todo, mut directories) = (vec![EntryPath::root()], Vec::new());
    while let Some(path) = todo.pop() {
        if progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        todo.extend(duplicating.directory(&path)?);
        directories.push(path);
    }
    // Directories get their attributes last, children before parents.
    let mut paths = directories.iter().rev();
    paths.try_for_each(|path| duplicating.finish(path))
}

struct Duplicating {
    from: Root,
    to: Root,
    means: Means,
    copier: Copier,
}

fn again(directory: &Dir) -> Result<Root> {
    Root::of(directory).map_err(|error| Error::system("opening the layer's directory", error))
}

impl Duplicating {
    /// Duplicates the children of a directory; returns the directories among them, which are still empty.
    fn directory(&mut self, path: &EntryPath) -> Result<Vec<EntryPath>> {
        let opening = |error| failed("opening it", error, path);
        let from = self.from.shared_dir(path).map_err(opening)?;
        let to = self.to.shared_dir(path).map_err(opening)?;
        let mut directories = Vec::new();
        for name in from.names().map_err(opening)? {
            let below = path.join(&name)?;
            let looking = |error| failed("looking at it", error, &below);
            let stat = from
                .stat(&name)
                .and_then(|stat| Ok(stat.ok_or(Errno::NOENT)?));
            let stat = stat.map_err(looking)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                to.make_dir(&name)
                    .map_err(|error| failed("making it", error, &below))?;
                directories.push(below);
                continue;
            }
            match self.means {
                Means::HardLinks => from.link(&name, &to, &name).map_err(|error| {
                    failed("making a hard link to it", error, &below).during(Operation::HardLink)
                })?,
                Means::Reflinks | Means::Copies => {
                    self.clone_inode(&from, &name, &stat, &below)?;
                }
            }
        }
        Ok(directories)
    }

    fn clone_inode(
        &mut self,
        from: &Dir,
        name: &[u8],
        stat: &Stat,
        path: &EntryPath,
    ) -> Result<()> {
        let xattrs = kept_xattrs(from, name, path)?;
        let original = Original {
            directory: from,
            name,
            stat,
            xattrs: &xattrs,
        };
        self.copier.copy(original, path)
    }

    fn finish(&mut self, path: &EntryPath) -> Result<()> {
        let opening = |error| failed("opening it", error, path);
        let from = self.from.shared_dir(path).map_err(opening)?;
        let to = self.to.shared_dir(path).map_err(opening)?;
        let stat = from.stat_self().map_err(opening)?;
        let original = Original {
            directory: &from,
            name: b".",
            stat: &stat,
            xattrs: &kept_xattrs(&from, b".", path)?,
        };
        self.copier
            .describe(&InodeRef::Open(to.as_fd()), original, path)
    }
}

fn kept_xattrs(from: &Dir, name: &[u8], path: &EntryPath) -> Result<Vec<Xattr>> {
    let xattrs = from.kept_xattrs(name);
    xattrs.map_err(|error| failed("reading its xattrs", error, path))
}

fn failed(doing: &str, error: io::Error, path: &EntryPath) -> Error {
    Error::system(doing, error).at_entry(path)
}
