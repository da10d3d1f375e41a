//! From a layer of an image to the form of overlayfs: entries pass, marks are kept for the end.

use std::collections::HashMap;
use std::io::{Read, Write};

use crate::error::{Error, Result};
use crate::layer::whiteout::Marker;
use crate::meta::{Device, Meta, Xattr};
use crate::overlay::lower::{Markers, Way};
use crate::path::EntryPath;
use crate::tar::archive::{Archive, Entry, EntryKind};
use crate::unpack::{DirId, InodeId, Kind, NewInode, Report, Tree};

use super::{Options, Output, marks};

/// Translates one layer.
pub struct ToOverlay<'a, W> {
    options: &'a Options,
    out: Output<W>,
    /// All that is there.
    tree: Tree,
    /// Where the symbolic links in it lead.
    targets: HashMap<InodeId, Box<[u8]>>,
    markers: Markers,
}

impl<'a, W: Write> ToOverlay<'a, W> {
    pub fn new(options: &'a Options, out: W) -> ToOverlay<'a, W> {
        ToOverlay {
            options,
            out: Output::new(out),
            tree: Tree::of_root(),
            targets: HashMap::new(),
            markers: Markers::default(),
        }
    }

    pub fn entry<R: Read>(&mut self, archive: &mut Archive<R>, mut entry: Entry) -> Result<()> {
        let how = self.options.foreign_xattrs;
        self.out.check(archive, &mut entry, how)?;
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
            self.tree.describe(Tree::ROOT, meta.clone());
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
                let inode = self.leaf(&place, &kind)?;
                if let EntryKind::Symlink(target) = &kind {
                    self.targets.insert(inode, target.clone());
                }
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
        let found = self.tree.find(&place);
        let known = found.and_then(|inode| self.tree.as_directory(inode));
        let replaces = found.is_some() && known.is_none();
        match (known, &meta) {
            (Some(directory), Some(meta)) => self.tree.describe(directory, meta.clone()),
            (Some(_), None) => {}
            (None, meta) => {
                let parent = self.make_room(&place);
                let (place, meta) = (place.clone(), meta.clone());
                self.tree.add_directory(parent, place, meta, replaces);
            }
        }
        if meta.is_none() && !replaces {
            return Ok(());
        }
        let meta = meta.unwrap_or_else(Meta::of_implied_directory);
        self.out.entry(place, EntryKind::Directory, meta)
    }

    /// Notes something that is no directory.
    fn leaf(&mut self, place: &EntryPath, kind: &EntryKind) -> Result<InodeId> {
        self.check_replaced(place)?;
        let parent = self.make_room(place);
        let inode = NewInode::new(match kind {
            EntryKind::Symlink(_) => Kind::Symlink,
            EntryKind::CharDevice(device) => Kind::CharDevice(*device),
            EntryKind::BlockDevice(device) => Kind::BlockDevice(*device),
            EntryKind::Fifo => Kind::Fifo,
            _ => Kind::File {
                size: 0,
                content: None,
            },
        });
        Ok(self.tree.add(parent, place.name(), inode))
    }

    /// Rule N3 for tar readers: over a directory something else stands only if that is empty.
    fn check_replaced(&self, place: &EntryPath) -> Result<()> {
        let Some(directory) = self.tree.find_directory(place) else {
            return Ok(());
        };
        match self.tree.children(directory).next() {
            None => Ok(()),
            Some(_) => Err(Error::refused(
                "it takes the place of a directory of this layer that has something in it",
            )
            .hint("readers of tar archives refuse that; `lowerdir unpack-layer` does it")),
        }
    }

    /// Forgets what is at a place, and returns the directory above it, which is there.
    fn make_room(&mut self, place: &EntryPath) -> DirId {
        let parent = place.parent().expect("the root is never replaced");
        let parent = self.tree.find_directory(&parent);
        let parent = parent.expect("each step of its path was found or implied");
        self.tree.remove(parent, place.name());
        parent
    }

    /// Rules H1 and H3.
    fn hard_link(&mut self, place: EntryPath, target: &EntryPath, mut meta: Meta) -> Result<()> {
        let (parent, name) = target
            .split()
            .expect("the archive refuses links to the root");
        let source = self.resolve(&parent, false)?.join(name)?;
        let found = self.tree.find(&source);
        let Some(inode) = found.filter(|&inode| self.tree.as_directory(inode).is_none()) else {
            let what = format!("a hard link to {target}, which is not earlier in this layer");
            return Err(Error::refused(what).hint(
                "a file of a layer below is found by `lowerdir unpack-layer` with --parent",
            ));
        };
        if source == place {
            return Ok(());
        }
        self.check_replaced(&place)?;
        let parent = self.make_room(&place);
        self.tree.link(parent, place.name(), inode);
        // They are those of the inode, which has them already.
        meta.xattrs.clear();
        self.out.entry(place, EntryKind::HardLink(source), meta)
    }

    /// The real directory that a path means: symbolic links of this layer are followed inside the
    /// root (rule N4). With `make`, what is missing is implied.
    fn resolve(&mut self, path: &EntryPath, make: bool) -> Result<EntryPath> {
        if self.tree.has_directory(path) {
            return Ok(path.clone());
        }
        let mut way = Way::new(path);
        while let Some(name) = way.next_name() {
            let next = way.at().join(&name)?;
            let found = self.tree.find(&next);
            if let Some(target) = found.and_then(|inode| self.targets.get(&inode)) {
                if !way.follow(target)? {
                    return Err(Error::refused("its parents are a loop of symbolic links"));
                }
                continue;
            }
            if make && !self.tree.has_directory(&next) {
                self.directory(next.clone(), None)?;
            }
            way.enter(next);
        }
        Ok(way.end())
    }

    /// Writes the marks, and ends the archive.
    pub fn finish(mut self) -> Result<(W, Report)> {
        let marked = marks::of(&mut self.tree, &self.markers)?;
        for directory in marked {
            directory.write(&mut self.out, self.options.dialect)?;
        }
        self.out.finish()
    }
}
