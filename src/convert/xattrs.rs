//! Xattrs of the image that look like overlayfs's own: set aside while marks are rewritten, so that
//! neither this run nor the next takes the one for the other, and taken back under the names of the
//! new form (rule X1).
//!
//! Setting one and removing the other are two steps; whoever is killed between them does the first
//! one again.

use std::io;

use crate::error::Result;
use crate::meta::Xattr;
use crate::path::EntryPath;
use crate::root::Dir;

use super::walk::{changing, each, xattrs};
use super::{Change, Converter, Options};

/// `trusted.overlay.X` is kept as `trusted.lowerdir.overlay.X`.
const ASIDE: &[u8] = b"lowerdir.overlay.";

/// The name under which an xattr is set aside, if its name on disk changes.
pub fn aside(xattr: &[u8], options: &Options) -> Option<Vec<u8>> {
    let shown = options.from.shown(xattr)?;
    if options.to.on_disk(&shown) == xattr {
        return None;
    }
    let (namespace, rest) = split(&shown, b"overlay.")?;
    Some([namespace, ASIDE, rest].concat())
}

/// The name in the new form of one that was set aside.
fn back(xattr: &[u8], options: &Options) -> Option<Vec<u8>> {
    let (namespace, rest) = split(xattr, ASIDE)?;
    Some(options.to.on_disk(&[namespace, b"overlay.", rest].concat()))
}

fn split<'a>(name: &'a [u8], middle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    [&b"trusted."[..], b"user."]
        .into_iter()
        .find_map(|namespace| {
            let rest = name.strip_prefix(namespace)?.strip_prefix(middle)?;
            Some((&name[..namespace.len()], rest))
        })
}

impl Converter<'_> {
    pub(super) fn set_xattrs_aside(&mut self) -> Result<()> {
        self.rename_xattrs(aside, true)
    }

    pub(super) fn take_xattrs_back(&mut self) -> Result<()> {
        self.rename_xattrs(back, false)
    }

    fn rename_xattrs(
        &mut self,
        new_name: fn(&[u8], &Options) -> Option<Vec<u8>>,
        tells: bool,
    ) -> Result<()> {
        let top = self
            .top
            .open_beneath(&EntryPath::root())
            .map_err(|error| changing(&EntryPath::root(), error))?;
        each(&top, |path, directory| {
            let names = directory.names().map_err(|error| changing(path, error))?;
            let own: &[Box<[u8]>] = if path.is_root() {
                &[(*b".").into()]
            } else {
                &[]
            };
            for name in own.iter().chain(&names) {
                let place = match &**name {
                    b"." => path.clone(),
                    name => path.join(name)?,
                };
                let fail = |error| changing(&place, error);
                let mut renamed = false;
                for xattr in xattrs(directory, name).map_err(fail)? {
                    if let Some(new) = new_name(&xattr.name, self.options) {
                        rename(directory, name, &xattr, &new).map_err(fail)?;
                        renamed = true;
                    }
                }
                if renamed && tells {
                    self.told(Change::Xattr, &place)?;
                }
            }
            Ok(())
        })
    }
}

fn rename(directory: &Dir, name: &[u8], xattr: &Xattr, new: &[u8]) -> io::Result<()> {
    directory.set_xattr(name, new, &xattr.value)?;
    directory.remove_xattr(name, &xattr.name)
}
