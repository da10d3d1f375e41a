//! From the form of overlayfs to a layer of an image, entry by entry.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use crate::dialect::{self, Mark};
use crate::error::{Advice, Error, Result};
use crate::layer::marker;
use crate::meta::{Device, Meta};
use crate::path::EntryPath;
use crate::tar::archive::{Archive, Entry, EntryKind, FileShape};
use crate::unpack::{Report, Warning};

use super::{Output, TranslateOptions, empty_file, marker_meta};

/// Translates one archive.
pub struct ToOci<'a, W> {
    options: &'a TranslateOptions,
    out: Output<W>,
    /// Overlayfs makes one whiteout and links it, so that an archive of an upperdir has hard links
    /// to deletions.
    deleted: BTreeSet<EntryPath>,
}

impl<'a, W: Write> ToOci<'a, W> {
    pub fn new(options: &'a TranslateOptions, out: W) -> ToOci<'a, W> {
        ToOci {
            options,
            out: Output::new(out),
            deleted: BTreeSet::new(),
        }
    }

    pub fn entry<R: Read>(&mut self, archive: &mut Archive<R>, mut entry: Entry) -> Result<()> {
        let how = self.options.foreign_xattrs;
        self.out.check(archive, &mut entry, how)?;
        let Entry {
            path,
            kind,
            mut meta,
        } = entry;
        let target = match &kind {
            EntryKind::HardLink(target) => Some(target),
            _ => None,
        };
        if marker::is_marker_in(&path) || target.is_some_and(marker::is_marker_in) {
            return Err(Error::refused(
                "a name that starts with .wh., which means a deletion in a layer",
            )
            .hint(Advice::IsLayerAlready));
        }
        if self.is_deletion(&kind, &meta) {
            return self.deletion(path, &meta);
        }
        self.refuse_what_needs_the_layers_below(&meta)?;
        if self.options.dialect.has_mark_of_other(&meta.xattrs) {
            self.out.report.warn(Warning::OtherMarkIsData, &path);
        }
        let opaque = self.has(&meta, self.options.dialect.opaque_xattr(), dialect::OPAQUE);
        let is_opaque = opaque && kind == EntryKind::Directory && !path.is_root();
        meta.xattrs = self
            .options
            .dialect
            .shown(meta.xattrs, self.options.selinux);
        let mtime = meta.mtime;
        self.out.entry(path.clone(), kind, meta)?;
        if is_opaque {
            let mark = path.join(marker::OPAQUE)?;
            self.out.entry(mark, empty_file(), marker_meta(mtime))?;
            self.out.report.opaque += 1;
            return Ok(());
        }
        self.out.data(archive)
    }

    fn is_deletion(&self, kind: &EntryKind, meta: &Meta) -> bool {
        let empty = FileShape {
            size: 0,
            extents: None,
        };
        match kind {
            EntryKind::CharDevice(device) => *device == Device::WHITEOUT,
            EntryKind::HardLink(target) => self.deleted.contains(target),
            EntryKind::File(shape) if *shape == empty => {
                let mark = self.options.dialect.whiteout_xattr().as_bytes();
                meta.xattrs.iter().any(|xattr| &*xattr.name == mark)
            }
            _ => false,
        }
    }

    fn deletion(&mut self, path: EntryPath, meta: &Meta) -> Result<()> {
        let Some((parent, name)) = path.split() else {
            return Err(Error::refused("a deletion of the root"));
        };
        let marker = parent.join(&[marker::PREFIX, name].concat())?;
        self.deleted.insert(path.clone());
        self.out.report.deletions += 1;
        self.out
            .entry(marker, empty_file(), marker_meta(meta.mtime))
    }

    fn refuse_what_needs_the_layers_below(&self, meta: &Meta) -> Result<()> {
        for (mark, what) in [
            (Mark::Redirect, "it was renamed by the mount (redirect)"),
            (Mark::Metacopy, "only its attributes are there (metacopy)"),
            (Mark::Nlink, "it may have other names below (index=on)"),
        ] {
            let name = self.options.dialect.namespace.xattr(mark);
            if meta
                .xattrs
                .iter()
                .any(|xattr| &*xattr.name == name.as_bytes())
            {
                return Err(Error::refused(what).hint(Advice::PackContent));
            }
        }
        Ok(())
    }

    fn has(&self, meta: &Meta, name: &str, value: &[u8]) -> bool {
        let mut xattrs = meta.xattrs.iter();
        xattrs.any(|xattr| &*xattr.name == name.as_bytes() && &*xattr.value == value)
    }

    pub fn finish(self) -> Result<(W, Report)> {
        self.out.finish()
    }
}
