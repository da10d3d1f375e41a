//! What one directory holds: names, and marks in either form, because an earlier run may have come
//! to any place.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::{FileType, Stat};

use crate::dialect::{self, Dialect, Whiteout};
use crate::meta::Time;
use crate::path::EntryPath;
use crate::root::{self, Dir};
use crate::whiteout;

use super::Converter;
use super::form::{FUSE_OPAQUE, Form};
use super::scan::is_whiteout_device;
use super::walk::is_directory;

/// aufs keeps such names (rule W6); what was not finished here has one, too.
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// A deleted name, in one form or in both.
#[derive(Default)]
pub struct Deletion {
    /// `.wh.NAME`, and whether it is a directory.
    pub marker: Option<bool>,
    /// NAME itself.
    pub node: Option<Whiteout>,
    pub time: Time,
}

/// What one directory holds.
pub struct Contents {
    /// What is no mark.
    pub names: BTreeMap<Box<[u8]>, Stat>,
    pub deletions: BTreeMap<Box<[u8]>, Deletion>,
    /// There is a `.wh..wh..opq`.
    pub opaque_file: Option<Time>,
    /// Any form says that it is opaque.
    pub opaque: bool,
    /// What no form needs.
    pub bookkeeping: Vec<Box<[u8]>>,
}

impl Converter<'_> {
    /// Reads the marks of one directory, in whichever form.
    pub(super) fn contents(&self, path: &EntryPath, directory: &Dir) -> io::Result<Contents> {
        let mut contents = Contents {
            names: BTreeMap::new(),
            deletions: BTreeMap::new(),
            opaque_file: None,
            opaque: !path.is_root() && self.is_marked_opaque(directory)?,
            bookkeeping: Vec::new(),
        };
        for name in directory.names()? {
            let Some(stat) = directory.stat(&name)? else {
                continue;
            };
            let time = root::mtime(&stat);
            if &*name == whiteout::OPAQUE {
                contents.opaque_file = Some(time);
                contents.opaque = true;
            } else if name.starts_with(BOOKKEEPING) {
                contents.bookkeeping.push(name);
            } else if let Some(target) = name.strip_prefix(whiteout::PREFIX) {
                let deletion = contents.deletions.entry(target.into()).or_default();
                deletion.marker = Some(is_directory(&stat));
                deletion.time = time;
            } else if let Some(form) = self.whiteout_form(directory, &name, &stat)? {
                let deletion = contents.deletions.entry(name).or_default();
                deletion.node = Some(form);
                if deletion.marker.is_none() {
                    deletion.time = time;
                }
            } else {
                contents.names.insert(name, stat);
            }
        }
        Ok(contents)
    }

    fn dialects(&self) -> impl Iterator<Item = Dialect> + use<> {
        let forms = [self.options.from, self.options.to];
        forms.into_iter().filter_map(Form::dialect)
    }

    fn is_marked_opaque(&self, directory: &Dir) -> io::Result<bool> {
        for dialect in self.dialects() {
            let value = directory.short_xattr(b".", dialect.opaque_xattr())?;
            if value.as_deref() == Some(dialect::OPAQUE) {
                return Ok(true);
            }
        }
        let forms = [self.options.from, self.options.to];
        if !forms.contains(&Form::FuseOverlayfs) {
            return Ok(false);
        }
        let name = std::str::from_utf8(FUSE_OPAQUE).expect("it is ASCII");
        Ok(directory.short_xattr(b".", name)?.is_some())
    }

    fn whiteout_form(
        &self,
        directory: &Dir,
        name: &[u8],
        stat: &Stat,
    ) -> io::Result<Option<Whiteout>> {
        // fuse-overlayfs reads devices too.
        if is_whiteout_device(stat) {
            return Ok(Some(Whiteout::Device));
        }
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_size != 0 {
            return Ok(None);
        }
        for dialect in self.dialects() {
            if directory
                .short_xattr(name, dialect.whiteout_xattr())?
                .is_some()
            {
                return Ok(Some(Whiteout::Xattr));
            }
        }
        Ok(None)
    }
}
