//! The look at all of the tree before anything in it is changed: what cannot be converted is
//! refused here, and nothing is half done.

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Result};
use crate::meta::Device;
use crate::path::{self, EntryPath, NAME_MAX};
use crate::root::Dir;
use crate::whiteout::{self, Marker};

use super::form::Form;
use super::journal::Phase;
use super::walk::{changing, each, is_directory, xattrs};
use super::xattrs::aside;
use super::{Converter, Options};

/// Marks by which overlayfs refers to the layers below.
const REFERENCES: [&str; 2] = ["redirect", "metacopy"];

impl Converter<'_> {
    /// Returns whether xattrs of the image change their names.
    pub(super) fn scan(&self) -> Result<bool> {
        let top = self.top.stat_self();
        let device = top
            .map_err(|error| changing(&EntryPath::root(), error))?
            .st_dev;
        let mut parks = false;
        each(&self.top, |path, directory| {
            let fail = |error| changing(path, error);
            if path.is_root() {
                parks |= self.look_at_xattrs(path, directory, b".")?;
            }
            for name in directory.names().map_err(fail)? {
                let place = path.join(&name)?;
                let Some(stat) = directory.stat(&name).map_err(fail)? else {
                    continue;
                };
                if stat.st_dev != device {
                    return Err(Error::in_the_way("another file system is mounted there")
                        .at_entry(place)
                        .hint("unmount it first"));
                }
                parks |= self.look_at_xattrs(&place, directory, &name)?;
                self.look_at_name(&place, directory, &name, &stat)
                    .map_err(|error| error.at_entry(&place))?;
            }
            Ok(())
        })?;
        Ok(parks)
    }

    fn look_at_xattrs(&self, place: &EntryPath, directory: &Dir, name: &[u8]) -> Result<bool> {
        let mut parks = false;
        let found = xattrs(directory, name).map_err(|error| changing(place, error))?;
        for xattr in found {
            let shown = path::display(&xattr.name).to_string();
            let refuse = |why: &str, hint: &str| {
                Err(Error::refused(format!("xattr {shown}: {why}"))
                    .at_entry(place)
                    .hint(hint))
            };
            if let Some(aside) = aside(&xattr.name, self.options) {
                parks = true;
                if aside.len() > NAME_MAX || self.on_disk_length(&xattr.name) > NAME_MAX {
                    return refuse("the name gets too long", "remove it first");
                }
            }
            let prefix = self.options.from.dialect().map(|dialect| dialect.prefix());
            let is_reference = |mark: &&str| {
                prefix.is_some_and(|prefix| &*xattr.name == [prefix, mark].concat().as_bytes())
            };
            // In the last phase it may be the image's own, which has its name back.
            let may_be_order = self.journal.phase() != Phase::TakeBack;
            if may_be_order && REFERENCES.iter().any(is_reference) && self.leaves_overlay() {
                return refuse(
                    "it says that the content is in the layers below",
                    "`lowerdir pack` with --lower makes a layer of such a directory",
                );
            }
        }
        Ok(parks)
    }

    fn on_disk_length(&self, xattr: &[u8]) -> usize {
        let Options { from, to, .. } = self.options;
        from.shown(xattr)
            .map_or(0, |shown| to.on_disk(&shown).len())
    }

    /// Whether overlayfs's own xattrs go.
    pub(super) fn leaves_overlay(&self) -> bool {
        let namespace = |form: Form| form.dialect().map(|dialect| dialect.namespace);
        let (from, to) = (namespace(self.options.from), namespace(self.options.to));
        from.is_some() && from != to
    }

    fn look_at_name(
        &self,
        place: &EntryPath,
        directory: &Dir,
        name: &[u8],
        stat: &Stat,
    ) -> Result<()> {
        let Options { from, to, .. } = self.options;
        let is_whiteout = is_whiteout_device(stat);
        if is_whiteout && *from == Form::Oci && !self.resumed() {
            let what = "a character device 0:0, which overlayfs would read as a deletion";
            return Err(Error::refused(what));
        }
        if is_whiteout && to.has_marker_files() && name.len() + whiteout::PREFIX.len() > NAME_MAX {
            return Err(Error::refused(
                "a deletion of a name so long that no file can be called .wh. and that name",
            )
            .hint("`lowerdir pack` writes it into an archive"));
        }
        if !name.starts_with(whiteout::PREFIX) {
            return Ok(());
        }
        if !from.has_marker_files() && !self.resumed() {
            return Err(Error::refused(
                "a name that starts with .wh., which would become a deletion",
            )
            .hint("is the tree in the form of images already?"));
        }
        let marker = Marker::of(place)?;
        let is_root = place.parent().is_some_and(|parent| parent.is_root());
        match marker {
            Marker::Opaque(_) if is_root && !to.has_marker_files() && self.parents.is_none() => {
                Err(Error::refused(
                    "the root is opaque, which overlayfs ignores on the root of a layer",
                )
                .hint("give each layer below with --parent"))
            }
            Marker::Remove(_) if is_directory(stat) && !is_empty(directory, name, place)? => Err(
                Error::refused("a whiteout that is a directory with something in it"),
            ),
            _ => Ok(()),
        }
    }

    fn resumed(&self) -> bool {
        self.journal.is_resumed()
    }
}

/// Whether a name is a deletion for overlayfs.
pub fn is_whiteout_device(stat: &Stat) -> bool {
    let zero = rustix::fs::makedev(Device::WHITEOUT.major, Device::WHITEOUT.minor);
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == zero
}

fn is_empty(directory: &Dir, name: &[u8], place: &EntryPath) -> Result<bool> {
    let names = directory
        .open_beneath(&EntryPath::root().join(name)?)
        .and_then(|directory| directory.names());
    Ok(names.map_err(|error| changing(place, error))?.is_empty())
}
