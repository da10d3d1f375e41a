//! `Builder`: builds the tree in its new form beside the old one. Directories and marks are new; files are
//! hard links, or copies if an xattr changes its name, so that nothing in the old tree changes.

use std::collections::HashSet;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::dialect::{self, Dialect, Marks, Whiteout};
use crate::error::{Error, Operation, Result};
use crate::fs::root::{Dir, Root};
use crate::layer::marker;
use crate::meta::{Device, Meta, Time, Xattr};
use crate::path::EntryPath;
use crate::unpack::copier::{Copier, Data, Original};
use crate::unpack::{Fresh, InodeRef, Options, Owners, Report, apply};

use super::contents::{Contents, is_directory};
use super::form::{FUSE_OPAQUE, Form};
use super::plan::DirectoryPlan;
use super::xattrs::translate;
use super::{ConvertOptions, reading};

/// Half of what ext4 takes (65,000): an inode with as many names is copied, since each gets one more.
const MANY_LINKS: u64 = 32_000;

/// Builds one tree.
pub struct Builder<'a> {
    old: Root,
    new: Root,
    options: &'a ConvertOptions,
    /// Whether the layers below are not known.
    over_unknown: bool,
    copier: Copier,
    /// Inodes with so many names that the next link may reach the limit.
    linked: HashSet<u64>,
    /// With the marks that each is to have.
    directories: Vec<(EntryPath, Vec<Xattr>)>,
}

impl<'a> Builder<'a> {
    /// Takes the old tree, and an empty directory on the same file system. Errors: one of them cannot be
    /// opened again.
    pub fn new(old: &Dir, new: &Dir, options: &'a ConvertOptions) -> Result<Builder<'a>> {
        let again =
            |top: &Dir| Root::of(top).map_err(|error| Error::system("opening the tree", error));
        Ok(Builder {
            old: again(old)?,
            new: again(new)?,
            options,
            over_unknown: options.parents.is_none(),
            copier: Copier::new(new, Data::SharedOrCopied, Owners::Image)?,
            linked: HashSet::new(),
            directories: Vec::new(),
        })
    }

    /// Fills one existing directory; those in it stay empty.
    pub fn directory(
        &mut self,
        path: &EntryPath,
        old: &Dir,
        contents: &Contents,
        plan: &DirectoryPlan,
    ) -> Result<()> {
        let fail = |error| making(path, error);
        let new = self.new.shared_dir(path).map_err(fail)?;
        for (name, stat) in &contents.names {
            let below = path.join(name)?;
            if is_directory(stat) {
                new.make_dir(name).map_err(|error| making(&below, error))?;
            } else {
                self.leaf(&below, old, &new, stat)?;
            }
        }
        for (name, time) in &plan.deletions {
            self.delete(&new, &path.join(name)?, *time)?;
        }
        if let Some(time) = plan.opaque.filter(|_| self.options.to.has_marker_files()) {
            self.marker(&new, path.join(marker::OPAQUE)?, time)?;
        }
        let marks = self.marks(contents, plan);
        self.directories.push((path.clone(), marks));
        Ok(())
    }

    fn leaf(&mut self, path: &EntryPath, old: &Dir, new: &Dir, stat: &Stat) -> Result<()> {
        let name = path.name();
        let xattrs = old
            .kept_xattrs(name)
            .map_err(|error| reading(path, error))?;
        let translated = translate(xattrs.clone(), self.options);
        let translated = translated.map_err(|error| error.at_entry(path))?.xattrs;
        if translated != xattrs || !self.may_link(stat) {
            let original = Original {
                directory: old,
                name,
                stat,
                xattrs: &translated,
            };
            return self.copier.copy(original, path);
        }
        old.link(name, new, name).map_err(|error| {
            let errno = error.raw_os_error().map(Errno::from_raw_os_error);
            let error = Error::system("linking it into the new tree", error).at_entry(path);
            match errno {
                // See protected_hardlinks in proc_sys_fs(5).
                Some(Errno::PERM) => error.hint("run it as root, or as the owner of the files"),
                Some(Errno::XDEV) => error.hint("it lies on another file system, or in another project of its quota: copy the tree first"),
                _ => error,
            }
        })
    }

    /// Whether an inode may have as many names again. All names of one inode get the same answer,
    /// though each link makes them more.
    fn may_link(&mut self, stat: &Stat) -> bool {
        if stat.st_nlink < MANY_LINKS / 2 {
            return true;
        }
        if stat.st_nlink < MANY_LINKS {
            self.linked.insert(stat.st_ino);
        }
        self.linked.contains(&stat.st_ino)
    }

    fn delete(&self, new: &Dir, target: &EntryPath, time: Time) -> Result<()> {
        let Some(dialect) = self.options.to.dialect() else {
            let (parent, name) = target.split().expect("the root is never deleted");
            let name = [marker::PREFIX, name].concat();
            return self.marker(new, parent.join(&name)?, time);
        };
        let name = target.name();
        let (made, kind) = match dialect.whiteout {
            Whiteout::Device => {
                let kind = FileType::CharacterDevice;
                (new.make_node(name, kind, Device::WHITEOUT), kind)
            }
            Whiteout::Xattr => (new.make_file(name).map(drop), FileType::RegularFile),
        };
        made.map_err(|error| making(target, error))?;
        self.finish_mark(new, target, kind, dialect.whiteout_meta(time))
    }

    fn marker(&self, new: &Dir, path: EntryPath, mtime: Time) -> Result<()> {
        let made = new.make_file(path.name());
        made.map_err(|error| making(&path, error))?;
        let meta = Meta {
            mtime,
            ..Meta::default()
        };
        self.finish_mark(new, &path, FileType::RegularFile, meta)
    }

    /// Rule W7: it is root's, where we are.
    fn finish_mark(&self, new: &Dir, path: &EntryPath, kind: FileType, meta: Meta) -> Result<()> {
        let options = Options {
            owners: match rustix::process::geteuid().is_root() {
                true => Owners::Image,
                false => Owners::Caller,
            },
            dialect: self.options.to.dialect().unwrap_or_default(),
            ..Options::default()
        };
        let inode = InodeRef::Named(new, path.name(), kind);
        let (fresh, mut report) = (Fresh::default(), Report::default());
        apply(&inode, &meta, path, &options, fresh, &mut report)
    }

    fn marks(&self, contents: &Contents, plan: &DirectoryPlan) -> Vec<Xattr> {
        match self.options.to {
            Form::Oci => Vec::new(),
            Form::FuseOverlayfs => {
                let mark = Xattr {
                    name: FUSE_OPAQUE.as_bytes().into(),
                    value: dialect::OPAQUE.into(),
                };
                plan.opaque.map(|_| mark).into_iter().collect()
            }
            Form::Overlay(dialect) => Dialect::marks(
                dialect,
                Marks {
                    is_opaque: plan.opaque.is_some(),
                    holds_whiteouts: !plan.deletions.is_empty(),
                    is_over_unknown: self.over_unknown && contents.is_over_unknown,
                },
            ),
        }
    }

    /// Gives directories their attributes, when nothing more is added to them, and children before parents,
    /// whose modes may then deny access.
    pub fn finish(mut self) -> Result<()> {
        for (path, marks) in self.directories.iter().rev() {
            let fail = |error| making(path, error);
            let old = self.old.dir(path).map_err(fail)?;
            let new = self.new.dir(path).map_err(fail)?;
            let stat = old.stat_self().map_err(fail)?;
            let xattrs = old.kept_xattrs(b".").map_err(fail)?;
            let translated = translate(xattrs, self.options);
            let mut xattrs = translated.map_err(|error| error.at_entry(path))?.xattrs;
            xattrs.retain(|xattr| marks.iter().all(|mark| mark.name != xattr.name));
            // Rule X3: last.
            xattrs.extend(marks.iter().cloned());
            let original = Original {
                directory: old,
                name: b".",
                stat: &stat,
                xattrs: &xattrs,
            };
            self.copier
                .describe(&InodeRef::Open(new.as_fd()), original, path)?;
        }
        Ok(())
    }
}

fn making(path: &EntryPath, error: std::io::Error) -> Error {
    Error::io("making it in the new tree", error)
        .at_entry(path)
        .during(Operation::Convert)
}
