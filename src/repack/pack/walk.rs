//! `Packer`: from directory to directory, and from name to name, into the archive. Deep trees cost
//! memory, not descriptors or stack.

use std::collections::btree_map;
use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FileType, Stat};

use crate::dialect::{Dialect, Mark};
use crate::error::{Advice, Error, Result};
use crate::fs::root::{self, Dir, Root};
use crate::layer::marker;
use crate::meta::{Meta, Time, is_foreign_xattr};
use crate::overlay::inspect::{DirMarks, Inspected, inspect};
use crate::path::EntryPath;
use crate::tar::archive::{Entry, EntryKind, FileShape};
use crate::tar::writer::Writer;
use crate::unpack::{Report, Warning};

use super::below::{self, Lowers};
use super::children::{Child, Directory, reading};
use super::links::Links;
use super::{Ids, PackOptions, file};

/// Writes one layer.
pub struct Packer<'a, W> {
    pub upper: Root,
    /// The mount that the upperdir lies on.
    pub mount: Option<u64>,
    pub ids: &'a Ids,
    pub lowers: Option<Lowers>,
    pub dialect: Dialect,
    pub options: &'a PackOptions,
    pub links: Links,
    pub out: Writer<W>,
    pub report: Report,
}

/// A directory whose children are being written.
struct Open {
    directory: Directory,
    children: btree_map::IntoIter<Box<[u8]>, Child>,
}

/// A name that is no directory, as the archive is to have it.
struct Leaf {
    kind: EntryKind,
    meta: Meta,
    content: Option<File>,
}

impl<W: Write> Packer<'_, W> {
    /// Writes all of it.
    pub fn run(mut self) -> Result<(W, Report)> {
        let root = self.root()?;
        let mut stack = vec![self.enter(root)?];
        while let Some(open) = stack.last_mut() {
            let Some((name, child)) = open.children.next() else {
                stack.pop();
                continue;
            };
            let marks = match child {
                Child::Directory(marks) => Some(marks),
                Child::Leaf(stat) => {
                    self.upper_leaf(&open.directory, &name, &stat)?;
                    continue;
                }
                Child::Below if self.is_leaf_below(&open.directory, &name)? => {
                    self.lower_leaf(&open.directory, &name)?;
                    continue;
                }
                Child::Below => None,
            };
            let directory = self.subdirectory(&open.directory, &name, marks)?;
            stack.push(self.enter(directory)?);
        }
        Ok((self.out.finish()?, self.report))
    }

    /// Writes a directory and the deletions in it.
    fn enter(&mut self, directory: Directory) -> Result<Open> {
        let meta = self.directory_meta(&directory)?;
        self.entry(directory.path.clone(), EntryKind::Directory, meta)?;
        if directory.opaque {
            self.marker(directory.path.join(marker::OPAQUE)?)?;
            self.report.opaque += 1;
        }
        let plan = self.plan(&directory)?;
        for name in &plan.deletions {
            let name = [marker::PREFIX, name].concat();
            self.marker(directory.path.join(&name)?)?;
            self.report.deletions += 1;
        }
        Ok(Open {
            directory,
            children: plan.children.into_iter(),
        })
    }

    fn directory_meta(&mut self, directory: &Directory) -> Result<Meta> {
        let mut meta;
        let mapped = match (&directory.upper, &directory.base, &self.lowers) {
            (None, Some(base), Some(lowers)) => {
                meta = lowers.directory_meta(base)?;
                self.ids.map_lower(&mut meta)
            }
            _ => {
                let read = |dir: &Dir| self::meta(dir, b".", &dir.stat_self()?);
                let dir = self.upper.dir(&directory.path);
                let read = dir.and_then(read);
                meta = read.map_err(|error| reading(&directory.path, error))?;
                self.ids.map_upper(&mut meta)
            }
        };
        mapped.map_err(|error| error.at_entry(&directory.path))?;
        Ok(meta)
    }

    fn is_leaf_below(&self, parent: &Directory, name: &[u8]) -> Result<bool> {
        match (&parent.base, &self.lowers) {
            (Some(base), Some(lowers)) => Ok(!lowers.shows_directory(&base.join(name)?)?),
            _ => unreachable!("only a moved directory has children from below"),
        }
    }

    fn upper_leaf(&mut self, parent: &Directory, name: &[u8], stat: &Stat) -> Result<()> {
        let path = parent.path.join(name)?;
        let fill_holes = self.options.fill_holes;
        let read = |dir: &Dir| leaf(dir, name, stat, fill_holes);
        let dir = self.upper.dir(&parent.path);
        let leaf = dir.and_then(read).map_err(|error| reading(&path, error))?;
        let Some(mut leaf) = leaf else {
            self.report.warn(Warning::SocketSkipped, &path);
            return Ok(());
        };
        let mapped = self.ids.map_upper(&mut leaf.meta);
        mapped.map_err(|error| error.at_entry(&path))?;
        self.refuse_names_below(parent, name, &path, &leaf)?;
        self.fill_in_content(parent, name, &path, &mut leaf)?;
        self.leaf(path, stat, leaf)
    }

    /// With `index=on`, a file that was changed by one of its names shows changed by all of them, though
    /// the upperdir has that one alone: as a layer, the others would show what is below.
    fn refuse_names_below(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: &EntryPath,
        leaf: &Leaf,
    ) -> Result<()> {
        if self.mark(leaf, Mark::Nlink).is_none() {
            return Ok(());
        }
        let Some(lowers) = &self.lowers else {
            return Err(Error::refused("it may have other names below (index=on)")
                .at_entry(path)
                .hint(Advice::GiveLowers));
        };
        let base = parent.base.as_ref().map(|base| base.join(name));
        let others = base.transpose()?.map(|base| lowers.names_of_inode(&base));
        for other in others.transpose()?.unwrap_or_default() {
            let is_there = self.upper_decides(&other);
            if !is_there.map_err(|error| reading(&other, error))? {
                let what = format!("it shows as {other} too (index=on), which the layer would not");
                return Err(Error::refused(what).at_entry(path).hint(format!(
                    "mount it once more, `touch -h` {other} there, and pack it again"
                )));
            }
        }
        Ok(())
    }

    /// Whether the upperdir says what is at a path: it has the name, or hides what is below.
    fn upper_decides(&mut self, path: &EntryPath) -> std::io::Result<bool> {
        let namespace = self.options.namespace;
        let mut at = EntryPath::root();
        let mut marks = DirMarks::read(self.upper.top(), b".", namespace)?;
        for name in path.components() {
            let directory = self.upper.dir(&at)?;
            match inspect(directory, &marks, name, namespace)? {
                None => return Ok(false),
                Some(Inspected::Directory) => marks = DirMarks::read(directory, name, namespace)?,
                Some(_) => return Ok(true),
            }
            if marks.is_opaque || marks.redirect.is_some() {
                return Ok(true);
            }
            at = at.join(name)?;
        }
        Ok(true)
    }

    /// The value of a mark on a file of the upperdir.
    fn mark<'b>(&self, leaf: &'b Leaf, mark: Mark) -> Option<&'b [u8]> {
        let name = self.options.namespace.xattr(mark).as_bytes();
        let mut xattrs = leaf.meta.xattrs.iter();
        let found = xattrs.find(|xattr| &*xattr.name == name);
        found.map(|xattr| &*xattr.value)
    }

    /// A file whose attributes alone were changed (metacopy) has its content below.
    fn fill_in_content(
        &self,
        parent: &Directory,
        name: &[u8],
        path: &EntryPath,
        leaf: &mut Leaf,
    ) -> Result<()> {
        if leaf.content.is_none() || self.mark(leaf, Mark::Metacopy).is_none() {
            return Ok(());
        }
        let Some(lowers) = &self.lowers else {
            return Err(
                Error::refused("only its attributes are in the upperdir (metacopy)")
                    .at_entry(path)
                    .hint(Advice::GiveLowersForContent),
            );
        };
        let below = match (self.mark(leaf, Mark::Redirect), &parent.base) {
            (Some(target), _) => Some(self.redirected(parent, path, target)?),
            (None, Some(base)) => Some(base.join(name)?),
            (None, None) => None,
        };
        let file = below
            .map(|below| lowers.file(&below))
            .transpose()?
            .flatten();
        let Some(file) = file else {
            let what = "its content is below (metacopy), and the directories below do not have it";
            return Err(Error::refused(what)
                .at_entry(path)
                .hint(Advice::GiveAllLowers));
        };
        let shape = file::shape(&file, self.options.fill_holes);
        leaf.kind = EntryKind::File(shape.map_err(|error| reading(path, error))?);
        leaf.content = Some(file);
        Ok(())
    }

    fn lower_leaf(&mut self, parent: &Directory, name: &[u8]) -> Result<()> {
        let (Some(base), Some(lowers)) = (&parent.base, &self.lowers) else {
            unreachable!("only a moved directory has children from below");
        };
        let (path, source) = (parent.path.join(name)?, base.join(name)?);
        let fill_holes = self.options.fill_holes;
        let gone = || Error::conflict("it went away while it was read").at_entry(&path);
        let below::Leaf { directory, stat } = lowers.leaf(&source)?.ok_or_else(gone)?;
        let leaf = leaf(&directory, source.name(), &stat, fill_holes);
        match leaf.map_err(|error| reading(&source, error))? {
            Some(mut leaf) => {
                let mapped = self.ids.map_lower(&mut leaf.meta);
                mapped.map_err(|error| error.at_entry(&path))?;
                self.leaf(path, &stat, leaf)
            }
            None => {
                self.report.warn(Warning::SocketSkipped, &path);
                Ok(())
            }
        }
    }

    fn leaf(&mut self, path: EntryPath, stat: &Stat, leaf: Leaf) -> Result<()> {
        if let Some(earlier) = self.links.earlier(stat, &path) {
            let mut meta = leaf.meta;
            // The first name has them, and the inode is the same.
            meta.xattrs.clear();
            return self.entry(path, EntryKind::HardLink(earlier), meta);
        }
        let shape = match &leaf.kind {
            EntryKind::File(shape) => Some(shape.clone()),
            _ => None,
        };
        self.entry(path.clone(), leaf.kind, leaf.meta)?;
        if let (Some(content), Some(shape)) = (leaf.content, shape) {
            self.content(&content, &shape)
                .map_err(|error| error.at_entry(&path))?;
        }
        Ok(())
    }

    fn content(&mut self, content: &File, shape: &FileShape) -> Result<()> {
        self.report.bytes += file::copy(content, shape, &mut self.out)?;
        Ok(())
    }

    /// Deletions are the same on every run (rule W7).
    fn marker(&mut self, path: EntryPath) -> Result<()> {
        let empty = FileShape {
            size: 0,
            extents: None,
        };
        self.entry(path, EntryKind::File(empty), Meta::default())
    }

    fn entry(&mut self, path: EntryPath, kind: EntryKind, mut meta: Meta) -> Result<()> {
        if self.dialect.has_mark_of_other(&meta.xattrs) {
            self.report.warn(Warning::OtherMarkIsData, &path);
        }
        meta.xattrs = self.dialect.shown(meta.xattrs, self.options.selinux);
        // Rule X2: they say how this file system keeps it.
        for _ in meta
            .xattrs
            .extract_if(.., |xattr| is_foreign_xattr(&xattr.name))
        {
            self.report.warn(Warning::ForeignXattrDropped, &path);
        }
        meta.mtime = clamped(meta.mtime, self.options.clamp);
        self.report.entries += 1;
        self.out.entry(&Entry { path, kind, meta })
    }
}

fn clamped(time: Time, clamp: Option<i64>) -> Time {
    let latest = clamp.map(|seconds| Time {
        seconds,
        nanoseconds: 0,
    });
    latest.map_or(time, |latest| time.min(latest))
}

/// What a name is, opened if it is a file; `None` for a socket.
fn leaf(dir: &Dir, name: &[u8], stat: &Stat, fill_holes: bool) -> io::Result<Option<Leaf>> {
    let mut content = None;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let file = dir.open_file(&EntryPath::root().join(name)?)?;
            let opened = rustix::fs::fstat(&file)?;
            if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
                return Err(Error::conflict("it was replaced while it was read").into());
            }
            let shape = file::shape(&file, fill_holes)?;
            content = Some(file);
            EntryKind::File(shape)
        }
        FileType::Symlink => EntryKind::Symlink(dir.read_link(name)?.into()),
        FileType::CharacterDevice => EntryKind::CharDevice(root::device(stat)),
        FileType::BlockDevice => EntryKind::BlockDevice(root::device(stat)),
        FileType::Fifo => EntryKind::Fifo,
        _ => return Ok(None),
    };
    Ok(Some(Leaf {
        kind,
        meta: meta(dir, name, stat)?,
        content,
    }))
}

/// The attributes of a name, with xattrs as they are on disk.
fn meta(directory: &Dir, name: &[u8], stat: &Stat) -> io::Result<Meta> {
    Ok(root::attributes(stat, directory.kept_xattrs(name)?))
}
