//! A layer directory once more: directories are made anew, and files are hard links to the same inodes,
//! inodes that share their blocks, or copies.
//!
//! [`super::containers_storage`] calls it. The new tree is private to its caller until it is whole.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::path::EntryPath;
use crate::progress::Progress;
use crate::root::{self, Dir};
use crate::unpack::{Fresh, Inode, Options, Owners, Report, apply, system};

/// What a file of the new tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    HardLinks,
    Reflinks,
    /// Copies, which keep the holes of sparse files.
    Copies,
}

/// Fills an empty directory with what a layer directory holds.
pub fn duplicate(from: &Dir, to: &Dir, means: Means, progress: &dyn Progress) -> Result<()> {
    to.remove_acls()
        .map_err(|error| system("removing an inherited ACL", error))?;
    let mut duplicating = Duplicating {
        from,
        to,
        means,
        options: Options {
            owners: match rustix::process::geteuid().is_root() {
                true => Owners::Image,
                false => Owners::Caller,
            },
            ..Options::default()
        },
        first_names: HashMap::new(),
    };
    let mut directories = vec![EntryPath::root()];
    let mut next = 0;
    while let Some(path) = directories.get(next).cloned() {
        if progress.is_cancelled() {
            return Err(Error::cancelled());
        }
        directories.extend(duplicating.directory(&path)?);
        next += 1;
    }
    // Directories get their attributes last, and those below before those above.
    let mut paths = directories.iter().rev();
    paths.try_for_each(|path| duplicating.finish(path))
}

struct Duplicating<'a> {
    from: &'a Dir,
    to: &'a Dir,
    means: Means,
    options: Options,
    /// Of inodes with several names, by device and number.
    first_names: HashMap<(u64, u64), EntryPath>,
}

impl Duplicating<'_> {
    /// Makes what is in a directory, and returns the directories among it, which are empty so far.
    fn directory(&mut self, path: &EntryPath) -> Result<Vec<EntryPath>> {
        let opening = |error| failed("opening it", error, path);
        let from = self.from.open_beneath(path).map_err(opening)?;
        let to = self.to.open_beneath(path).map_err(opening)?;
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
                    failed("making a hard link to it", error, &below)
                        .hint("hard links need the file system of --store: try --link=copy")
                })?,
                Means::Reflinks | Means::Copies => {
                    self.clone_inode(&from, &to, &name, &stat, &below)?
                }
            }
        }
        Ok(directories)
    }

    fn clone_inode(
        &mut self,
        from: &Dir,
        to: &Dir,
        name: &[u8],
        stat: &Stat,
        path: &EntryPath,
    ) -> Result<()> {
        let making = |error| failed("making it", error, path);
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.first_names.get(&inode)
        {
            let (parent, first) = first.split().expect("it has a name");
            let parent = self.to.open_beneath(&parent).map_err(making)?;
            return parent.link(first, to, name).map_err(making);
        }
        self.first_names.insert(inode, path.clone());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let source = from.open_file(&EntryPath::parse(name)?).map_err(making)?;
                let file = to.make_file(name).map_err(making)?;
                if stat.st_size > 0 {
                    self.fill(&file, &source, path)?;
                }
                self.describe(&Inode::Open(file.as_fd()), from, name, stat, path)
            }
            FileType::Symlink => {
                let target = from.read_link(name).map_err(making)?;
                to.make_symlink(name, &target).map_err(making)?;
                self.describe(
                    &Inode::Named(to, name, FileType::Symlink),
                    from,
                    name,
                    stat,
                    path,
                )
            }
            kind => {
                to.make_node(name, kind, root::device(stat))
                    .map_err(making)?;
                self.describe(&Inode::Named(to, name, kind), from, name, stat, path)
            }
        }
    }

    /// Gives a new file the data of another one.
    fn fill(&self, file: &File, source: &File, path: &EntryPath) -> Result<()> {
        let cloned = rustix::fs::ioctl_ficlone(file, source);
        match self.means {
            Means::Copies if cloned.is_err() => {
                copy(source, file).map_err(|error| failed("copying it", error, path))
            }
            _ => cloned.map_err(|errno| {
                failed("sharing its blocks", errno.into(), path)
                    .hint("this takes one xfs or btrfs for both: try --link=copy")
            }),
        }
    }

    /// Gives an inode the attributes of the one that it stands for.
    fn describe(
        &self,
        inode: &Inode<'_>,
        from: &Dir,
        name: &[u8],
        stat: &Stat,
        path: &EntryPath,
    ) -> Result<()> {
        let xattrs = from.kept_xattrs(name);
        let xattrs = xattrs.map_err(|error| failed("reading its xattrs", error, path))?;
        let meta = root::attributes(stat, xattrs);
        let (fresh, mut report) = (Fresh::default(), Report::default());
        apply(inode, &meta, path, &self.options, fresh, &mut report)
    }

    fn finish(&self, path: &EntryPath) -> Result<()> {
        let opening = |error| failed("opening it", error, path);
        let from = self.from.open_beneath(path).map_err(opening)?;
        let to = self.to.open_beneath(path).map_err(opening)?;
        let stat = from.stat_self().map_err(opening)?;
        self.describe(&Inode::Open(to.as_fd()), &from, b".", &stat, path)
    }
}

fn copy(source: &File, file: &File) -> io::Result<()> {
    file.set_len(source.metadata()?.len())?;
    root::read_data(source, &mut |offset, data| file.write_all_at(data, offset))
}

fn failed(doing: &str, error: io::Error, path: &EntryPath) -> Error {
    Error::system(doing, error).at_entry(path)
}
