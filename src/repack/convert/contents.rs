//! The content of one directory: names and marks in its form. Anything that cannot be converted is refused
//! here.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::{FileType, Stat};

use crate::error::{Advice, Error, Result};
use crate::fs::root::{self, Dir};
use crate::layer::intake::DEVICE_ZERO;
use crate::layer::marker::{self, Marker};
use crate::meta::Time;
use crate::overlay::inspect::{DirMarks, Inspected, inspect, is_whiteout_device};
use crate::path::{EntryPath, NAME_MAX};

use super::form::{FUSE_OPAQUE, Form};
use super::{Converter, reading};

/// A deleted name.
#[derive(Clone, Copy)]
pub struct Deletion {
    /// It is a file `.wh.NAME`.
    pub is_marker: bool,
    pub time: Time,
}

/// The content of one directory.
pub struct Contents {
    /// Names that are not marks.
    pub names: BTreeMap<Box<[u8]>, Stat>,
    pub deletions: BTreeMap<Box<[u8]>, Deletion>,
    /// It is opaque, since that time where a file says so.
    pub opaque: Option<Time>,
    /// It has the empty mark of a directory whose deletions may hide nothing (rule W3).
    pub is_over_unknown: bool,
    /// Bookkeeping of aufs, which a layer may not have (rule W6).
    pub bookkeeping: Vec<Box<[u8]>>,
}

impl Converter<'_> {
    /// Reads one directory.
    pub(super) fn contents(&self, path: &EntryPath, directory: &Dir) -> Result<Contents> {
        let fail = |error| reading(path, error);
        let marks = self.marks(directory).map_err(fail)?;
        // The kernel ignores such a mark on a layer's root (rule O3).
        let is_opaque = marks.is_opaque && !path.is_root();
        let mut contents = Contents {
            names: BTreeMap::new(),
            deletions: BTreeMap::new(),
            opaque: is_opaque.then(Time::default),
            is_over_unknown: marks.is_over_unknown,
            bookkeeping: Vec::new(),
        };
        for name in directory.names().map_err(fail)? {
            let place = path.join(&name)?;
            let Some(stat) = directory
                .stat(&name)
                .map_err(|error| reading(&place, error))?
            else {
                continue;
            };
            self.check_can_be_linked(directory, &name, &stat)
                .and_then(|()| self.sort(&mut contents, &place, (directory, &marks), name, stat))
                .map_err(|error| error.at_entry(&place))?;
        }
        Ok(contents)
    }

    fn sort(
        &self,
        contents: &mut Contents,
        place: &EntryPath,
        (directory, marks): (&Dir, &DirMarks),
        name: Box<[u8]>,
        stat: Stat,
    ) -> Result<()> {
        let time = root::mtime(&stat);
        if name.starts_with(marker::PREFIX) {
            return self.sort_marker(contents, place, directory, name, stat);
        }
        let is_whiteout = self.is_whiteout(directory, marks, &name, &stat);
        if !is_whiteout.map_err(|error| reading(place, error))? {
            contents.names.insert(name, stat);
            return Ok(());
        }
        if self.options.from == Form::Oci {
            return Err(Error::refused(DEVICE_ZERO));
        }
        let length = name.len() + marker::PREFIX.len();
        if self.options.to.has_marker_files() && length > NAME_MAX {
            return Err(Error::refused(
                "a deletion of a name so long that no file can be called .wh. and that name",
            )
            .hint(Advice::PackInstead));
        }
        let is_marker = false;
        let found = Deletion { is_marker, time };
        contents.deletions.entry(name).or_insert(found);
        Ok(())
    }

    fn sort_marker(
        &self,
        contents: &mut Contents,
        place: &EntryPath,
        directory: &Dir,
        name: Box<[u8]>,
        stat: Stat,
    ) -> Result<()> {
        let time = root::mtime(&stat);
        if !self.options.from.has_marker_files() {
            return Err(Error::refused(
                "a name that starts with .wh., which would become a deletion",
            )
            .hint("is the tree in the form of images already?"));
        }
        let marker = Marker::of(place)?;
        let is_mark = matches!(marker, Marker::Opaque(_) | Marker::Remove(_));
        if is_mark && is_directory(&stat) && !is_empty(directory, &name, place)? {
            let what = "a whiteout that is a directory with something in it";
            return Err(Error::refused(what));
        }
        match marker {
            Marker::None => unreachable!("it starts with .wh."),
            Marker::Reserved => contents.bookkeeping.push(name),
            Marker::Opaque(of) => {
                if of.is_root() && !self.options.to.has_marker_files() && self.parents.is_none() {
                    let what = "the root is opaque, which overlayfs ignores on the root of a layer";
                    return Err(Error::refused(what).hint(Advice::GiveParentsOrBase));
                }
                contents.opaque = Some(time);
            }
            Marker::Remove(target) => {
                let is_marker = true;
                let found = Deletion { is_marker, time };
                contents.deletions.insert(target.name().into(), found);
            }
        }
        Ok(())
    }

    /// Refuses what the kernel cannot link, or what is on another mount, before anything is made.
    fn check_can_be_linked(&self, directory: &Dir, name: &[u8], stat: &Stat) -> Result<()> {
        let details = directory.details(name);
        let details = details.map_err(|error| Error::system("looking at it", error))?;
        details.check_mount(self.place.mount)?;
        if is_directory(stat) && stat.st_dev != self.place.stat.st_dev {
            let what = "a subvolume, whose files cannot be linked from outside";
            return Err(Error::conflict(what).hint("copy it into a directory"));
        }
        match details.is_immutable {
            false => Ok(()),
            true => Err(
                Error::conflict("it is immutable, or can only be appended to")
                    .hint("remove the attribute with `chattr -i -a`"),
            ),
        }
    }

    /// The marks on a directory itself, in the form of the tree.
    fn marks(&self, directory: &Dir) -> io::Result<DirMarks> {
        match self.options.from {
            Form::Overlay(dialect) => DirMarks::read(directory, b".", dialect.namespace),
            Form::FuseOverlayfs => Ok(DirMarks {
                is_opaque: directory.short_xattr(b".", FUSE_OPAQUE)?.is_some(),
                is_over_unknown: true,
                ..DirMarks::default()
            }),
            Form::Oci => Ok(DirMarks {
                is_over_unknown: true,
                ..DirMarks::default()
            }),
        }
    }

    fn is_whiteout(
        &self,
        directory: &Dir,
        marks: &DirMarks,
        name: &[u8],
        stat: &Stat,
    ) -> io::Result<bool> {
        match self.options.from.dialect() {
            Some(dialect) => {
                let found = inspect(directory, marks, name, dialect.namespace)?;
                Ok(matches!(found, Some(Inspected::Whiteout)))
            }
            // fuse-overlayfs reads devices too.
            None => Ok(is_whiteout_device(stat)),
        }
    }
}

pub fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_empty(directory: &Dir, name: &[u8], place: &EntryPath) -> Result<bool> {
    let names = directory
        .open_beneath(&EntryPath::root().join(name)?)
        .and_then(|directory| directory.names());
    Ok(names.map_err(|error| reading(place, error))?.is_empty())
}
