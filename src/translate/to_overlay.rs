//! From a layer of an image to the form of overlayfs: entries pass, marks are kept for the end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::Bound;

use super::dir_tree::{DirNode, DirTree};
use crate::archive::{Archive, Entry, EntryKind};
use crate::error::{Error, Result};
use crate::lower::{Markers, Way};
use crate::meta::{Device, Meta, Xattr};
use crate::path::EntryPath;
use crate::unpack::Report;
use crate::whiteout::Marker;

use super::{Options, Output, marks};

/// Translates one layer.
pub struct ToOverlay<'a, W> {
    options: &'a Options,
    out: Output<W>,
    tree: DirTree,
    /// All that is there.
    names: BTreeMap<EntryPath, Name>,
    markers: Markers,
}

/// What a name is, as far as that decides where others go.
#[derive(Clone)]
enum Name {
    Directory,
    Symlink(Box<[u8]>),
    Other,
}

impl<'a, W: Write> ToOverlay<'a, W> {
    pub fn new(options: &'a Options, out: W) -> ToOverlay<'a, W> {
        ToOverlay {
            options,
            out: Output::new(out),
            tree: DirTree::of_root(),
            names: BTreeMap::new(),
            markers: Markers::default(),
        }
    }

    pub fn entry<R: Read>(&mut self, archive: &mut Archive<R>, entry: Entry) -> Result<()> {
        let time = entry.meta.mtime;
        match Marker::of(&entry.path)? {
            Marker::Remove(path) => drop(self.markers.whiteouts.insert(path, time)),
            Marker::Opaque(path) => drop(self.markers.opaques.insert(path, time)),
            Marker::Reserved => {}
            Marker::None => self.add(archive, entry)?,
        }
        Ok(())
    }

    fn add<R: Read>(&mut self, archive: &mut Archive<R>, entry: Entry) -> Result<()> {
        let Entry {
            path,
            kind,
            mut meta,
        } = entry;
        self.escape_xattrs(&mut meta);
        let Some((parent, name)) = path.split() else {
            self.tree.describe(&path, &meta);
            return self.out.entry(path, EntryKind::Directory, meta);
        };
        let place = self.resolve(&parent, true)?.join(name)?;
        match kind {
            EntryKind::Directory => self.directory(place, Some(meta)),
            EntryKind::CharDevice(Device::WHITEOUT) => Err(Error::refused(
                "a character device 0:0, which overlayfs would read as a deletion",
            )),
            EntryKind::HardLink(target) => self.hard_link(place, &target, meta),
            kind => {
                self.leaf(
                    &place,
                    match &kind {
                        EntryKind::Symlink(target) => Name::Symlink(target.clone()),
                        _ => Name::Other,
                    },
                )?;
                self.out.entry(place, kind, meta)?;
                self.out.data(archive)
            }
        }
    }

    /// Rules X1 and X2.
    fn escape_xattrs(&self, meta: &mut Meta) {
        let Options {
            dialect, selinux, ..
        } = self.options;
        meta.xattrs
            .retain(|xattr| *selinux || &*xattr.name != b"security.selinux");
        for xattr in &mut meta.xattrs {
            if let Some(escaped) = dialect.escape(&xattr.name) {
                xattr.name = escaped.into();
            }
        }
        let by_name = |one: &Xattr, other: &Xattr| one.name.cmp(&other.name);
        meta.xattrs.sort_unstable_by(by_name);
    }

    /// A directory with its entry's attributes. An implied one is written at the end, if it has
    /// none by then, unless something is in its way.
    fn directory(&mut self, place: EntryPath, meta: Option<Meta>) -> Result<()> {
        let replaced = self.names.insert(place.clone(), Name::Directory);
        let replaces = replaced.is_some_and(|name| !matches!(name, Name::Directory));
        let is_known = match &meta {
            Some(meta) => self.tree.describe(&place, meta),
            None => self.tree.contains(&place),
        };
        if !is_known {
            let node = DirNode::new(meta.clone().map(Box::new), replaces);
            self.tree.insert(place.clone(), node);
        }
        if meta.is_none() && !replaces {
            return Ok(());
        }
        let meta = meta.unwrap_or_else(Meta::of_implied_directory);
        self.out.entry(place, EntryKind::Directory, meta)
    }

    /// Notes something that is no directory. Rule N3 for tar readers: over a directory it stands
    /// only if that is empty.
    fn leaf(&mut self, place: &EntryPath, name: Name) -> Result<()> {
        if let Some(Name::Directory) = self.names.get(place) {
            // What is in a directory comes right after it.
            let after = (Bound::Excluded(place), Bound::Unbounded);
            let next = self.names.range(after).next();
            if next.is_some_and(|(path, _)| path.is_below(place)) {
                return Err(Error::refused(
                    "it takes the place of a directory of this layer that has something in it",
                )
                .hint("readers of tar archives refuse that; `lowerdir unpack-layer` does it"));
            }
            self.tree.remove(place);
        }
        self.names.insert(place.clone(), name);
        Ok(())
    }

    /// Rules H1 and H3.
    fn hard_link(&mut self, place: EntryPath, target: &EntryPath, mut meta: Meta) -> Result<()> {
        let (parent, name) = target
            .split()
            .expect("the archive refuses links to the root");
        let source = self.resolve(&parent, false)?.join(name)?;
        let known = self.names.get(&source).cloned();
        let Some(link) = known.filter(|name| !matches!(name, Name::Directory)) else {
            let what = format!("a hard link to {target}, which is not earlier in this layer");
            return Err(Error::refused(what).hint(
                "a file of a layer below is found by `lowerdir unpack-layer` with --parent",
            ));
        };
        if source == place {
            return Ok(());
        }
        self.leaf(&place, link)?;
        // They are those of the inode, which has them already.
        meta.xattrs.clear();
        self.out.entry(place, EntryKind::HardLink(source), meta)
    }

    /// The real directory that a path means: symbolic links of this layer are followed inside the
    /// root (rule N4). With `make`, what is missing is implied.
    fn resolve(&mut self, path: &EntryPath, make: bool) -> Result<EntryPath> {
        if self.tree.contains(path) {
            return Ok(path.clone());
        }
        let mut way = Way::new(path);
        while let Some(name) = way.next_name() {
            let next = way.at().join(&name)?;
            if let Some(Name::Symlink(target)) = self.names.get(&next) {
                if !way.follow(target) {
                    return Err(Error::refused("its parents are a loop of symbolic links"));
                }
                continue;
            }
            if make && !self.tree.contains(&next) {
                self.directory(next.clone(), None)?;
            }
            way.enter(next);
        }
        Ok(way.end())
    }

    /// Writes the marks, and ends the archive.
    pub fn finish(mut self) -> Result<(W, Report)> {
        let names = &self.names;
        let is_leaf = |path: &EntryPath| {
            let name = names.get(path);
            name.is_some_and(|name| !matches!(name, Name::Directory))
        };
        let marked = marks::of(&mut self.tree, is_leaf, &self.markers)?;
        for directory in marked {
            directory.write(&mut self.out, self.options.dialect)?;
        }
        self.out.finish()
    }
}
