//! One layer, applied to the tree of the layers below it.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::meta::{Meta, Time};
use crate::overlay::lower::{Markers, OwnDirectories};
use crate::path::EntryPath;
use crate::tar::archive::{Entry, EntryKind};
use crate::unpack::{Occurrences, Options, Report, Warning};

use super::course::Course;
use super::read::Said;
use super::tree::{Body, Id, Inode, Name, Source, Stored, Tree, loop_of_links};

/// What a layer did, beyond what its names say.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Entries in its archive, markers among them.
    pub entries: u64,
    /// Bytes of file content in its archive, without holes.
    pub bytes: u64,
    /// The names that it deletes, with the times of their whiteouts: those only that were there.
    pub deleted: BTreeMap<EntryPath, Time>,
    /// The directories of which it hides what the layers below have in them.
    pub opaque: BTreeSet<EntryPath>,
    /// What it has and the tree has not.
    pub warnings: BTreeMap<Warning, Occurrences>,
}

impl Applied {
    /// The same in numbers.
    pub fn report(&self) -> Report {
        Report {
            entries: self.entries,
            bytes: self.bytes,
            deletions: self.deleted.len() as u64,
            opaque: self.opaque.len() as u64,
            warnings: self.warnings.clone(),
        }
    }
}

/// Applies a layer, counted from 1 at the bottom. After an error the tree is of no use.
///
/// Errors: links that rule H3 refuses, paths that lead in a circle.
pub fn apply(tree: &mut Tree, layer: u32, said: Said, options: &Options) -> Result<Applied> {
    let mut applied = Applied {
        entries: said.count,
        warnings: said.left_out.warnings,
        ..Applied::default()
    };
    tree.root.needed_by = layer;
    let mut applying = Applying {
        first: tree.next_id(),
        tree,
        layer,
        follows: options.keep_dirlinks,
        gone: Vec::new(),
        emptied: BTreeMap::new(),
        made: Vec::new(),
        linked: BTreeSet::new(),
    };
    applying.delete(&said.markers)?;
    for (number, Entry { path, kind, meta }) in said.entries {
        if let EntryKind::File(shape) = &kind {
            let stored = shape.extents.as_ref().map_or(shape.size, |extents| {
                extents.iter().map(|extent| extent.length).sum()
            });
            applied.bytes += stored;
        }
        applying
            .add(&path, kind, meta, number)
            .map_err(|error| error.at_entry(&path))?;
    }
    applying.finish(&mut applied);
    Ok(applied)
}

struct Applying<'a> {
    tree: &'a mut Tree,
    layer: u32,
    /// Inodes before this one are of the layers below.
    first: Id,
    /// Whether symbolic links of the layers below are followed (rule N4).
    follows: bool,
    /// Names of the layers below that this layer took away.
    gone: Vec<Gone>,
    /// Directories of the layers below, but for the root, that an opaque mark emptied.
    emptied: BTreeMap<Id, EntryPath>,
    /// Directories that markers implied.
    made: Vec<(EntryPath, Id)>,
    /// Files of the layers below that this layer has a hard link to.
    linked: BTreeSet<Id>,
}

/// Something that the layers below have and this one took away.
struct Gone {
    directory: Id,
    path: EntryPath,
    was: Id,
    time: Time,
}

impl Applying<'_> {
    fn is_below(&self, id: Id) -> bool {
        id < self.first
    }

    /// Steps 1 and 2: all markers find their directories before anything is deleted.
    fn delete(&mut self, markers: &Markers) -> Result<()> {
        let mut opaques = Vec::new();
        let mut whiteouts = Vec::new();
        for (path, &time) in &markers.opaques {
            if let Some(place) = self.directory_of_marker(path, &markers.directories)? {
                opaques.push((place, time));
            }
        }
        for (path, &time) in &markers.whiteouts {
            let (parent, name) = path.split().expect("a whiteout has a name");
            if let Some((directory, place)) =
                self.directory_of_marker(&parent, &markers.directories)?
            {
                whiteouts.push((directory, place.join(name)?, time));
            }
        }
        // Of two markers that mean the same name, through links, the last one tells the time.
        for ((directory, path), time) in opaques.into_iter().rev() {
            self.empty(directory, path, time)?;
        }
        for (directory, path, time) in whiteouts.into_iter().rev() {
            let (_, name) = path.split().expect("it was joined");
            if let Some(was) = self.tree.children_mut(directory).remove(name) {
                self.note_gone(directory, path, was.inode, time);
            }
        }
        Ok(())
    }

    fn empty(&mut self, directory: Id, path: EntryPath, time: Time) -> Result<()> {
        let children = std::mem::take(self.tree.children_mut(directory));
        if path.is_root() {
            // Rule O3.
            for (name, child) in children {
                self.note_gone(directory, path.join(&name)?, child.inode, time);
            }
        } else if self.is_below(directory) {
            self.emptied.insert(directory, path);
        }
        Ok(())
    }

    fn note_gone(&mut self, directory: Id, path: EntryPath, was: Id, time: Time) {
        if self.is_below(was) {
            self.gone.push(Gone {
                directory,
                path,
                was,
                time,
            });
        }
    }

    /// The directory that a marker stands in, made where it is missing (rule W5); `None` where
    /// something is in the way, so that the marker has no effect. A symbolic link that one of the
    /// layer's own directories replaces is in the way too (rule N4).
    fn directory_of_marker(
        &mut self,
        path: &EntryPath,
        own: &OwnDirectories,
    ) -> Result<Option<(Id, EntryPath)>> {
        let mut course = Course::new(path, self.tree.root.inode);
        let mut made = Vec::new();
        while let Some(name) = course.next_name() {
            let here = course.here();
            let Some(child) = self.tree.child(here, &name) else {
                let id = self.put_implied(here, &name)?;
                made.push((here, name.clone()));
                course.enter(&name, id)?;
                self.made.push((course.path().clone(), id));
                continue;
            };
            let goes_on = match &self.tree.inode(child.inode).body {
                Body::Directory(_) => {
                    course.enter(&name, child.inode)?;
                    true
                }
                Body::Symlink(target) if self.follows => {
                    let place = course.path().join(&name)?;
                    !own.replaces(&place, path, course.left()) && course.follow(target)?
                }
                _ => false,
            };
            if !goes_on {
                for (directory, name) in made {
                    self.tree.children_mut(directory).remove(&name);
                }
                return Ok(None);
            }
        }
        Ok(Some(course.end()))
    }

    /// Step 3.
    fn add(&mut self, path: &EntryPath, kind: EntryKind, meta: Meta, number: u64) -> Result<()> {
        let Some((parent, name)) = path.split() else {
            // Rule N2.
            self.tree.inode_mut(self.tree.root.inode).meta = meta;
            self.tree.root.layer = self.layer;
            return Ok(());
        };
        let (directory, place) = self.directory_of_entry(&parent)?;
        let place = place.join(name)?;
        let body = match kind {
            EntryKind::HardLink(target) => return self.link(directory, place, &target),
            EntryKind::Directory => match self.tree.child(directory, name) {
                Some(there) if self.tree.inode(there.inode).is_directory() => {
                    self.tree.inode_mut(there.inode).meta = meta;
                    let name = self.tree.children_mut(directory).get_mut(name);
                    let name = name.expect("it was just looked up");
                    (name.layer, name.needed_by) = (self.layer, self.layer);
                    return Ok(());
                }
                _ => Body::Directory(BTreeMap::new()),
            },
            EntryKind::File(shape) => Body::File(Stored {
                shape,
                source: Source::Layer {
                    layer: self.layer,
                    entry: number,
                },
            }),
            EntryKind::Symlink(target) => Body::Symlink(target),
            EntryKind::CharDevice(device) => Body::CharDevice(device),
            EntryKind::BlockDevice(device) => Body::BlockDevice(device),
            EntryKind::Fifo => Body::Fifo,
        };
        let id = self.tree.add(Inode { meta, body })?;
        self.put(directory, place, id);
        Ok(())
    }

    /// Gives a directory a name, in the place of whatever has it (rule N3).
    fn put(&mut self, directory: Id, place: EntryPath, id: Id) {
        let new = self.own(id);
        let (_, name) = place.split().expect("the root is never put anywhere");
        if let Some(was) = self.tree.name(directory, name, new)
            && self.tree.inode(was.inode).is_directory()
        {
            self.note_gone(directory, place, was.inode, Time::default());
        }
    }

    /// A name that this layer gives.
    fn own(&self, inode: Id) -> Name {
        Name {
            inode,
            layer: self.layer,
            needed_by: self.layer,
        }
    }

    fn put_implied(&mut self, directory: Id, name: &[u8]) -> Result<Id> {
        let id = self.tree.add(Inode::implied_directory())?;
        self.tree.name(directory, name, self.own(id));
        Ok(id)
    }

    /// The directory that an entry stands in, made where it is missing, and in the place of whatever
    /// is in the way.
    fn directory_of_entry(&mut self, path: &EntryPath) -> Result<(Id, EntryPath)> {
        let mut course = Course::new(path, self.tree.root.inode);
        while let Some(name) = course.next_name() {
            let here = course.here();
            if let Some(child) = self.tree.child(here, &name) {
                match &self.tree.inode(child.inode).body {
                    Body::Directory(_) => {
                        course.enter(&name, child.inode)?;
                        self.need(here, &name);
                        continue;
                    }
                    Body::Symlink(target) if self.follows || child.is_last_in(self.layer) => {
                        match course.follow(target)? {
                            true => continue,
                            false => return Err(loop_of_links()),
                        }
                    }
                    _ => {}
                }
            }
            let id = self.tree.add(Inode::implied_directory())?;
            let place = course.path().join(&name)?;
            self.put(here, place, id);
            course.enter(&name, id)?;
        }
        Ok(course.end())
    }

    /// Rules H1 to H3.
    fn link(&mut self, directory: Id, place: EntryPath, target: &EntryPath) -> Result<()> {
        let (parent, name) = target.split().expect("the archive refuses it");
        let follows = |child: Name| self.follows || child.is_last_in(self.layer);
        let found = self.tree.find_directory(&parent, follows)?;
        let refuse = |why| Err(hard_link_error(why, target));
        let Some((source, in_directory)) = found.and_then(|(directory, path)| {
            let child = self.tree.child(directory, name)?;
            Some((child, path))
        }) else {
            return refuse("is neither earlier in this layer nor below it");
        };
        if self.tree.inode(source.inode).is_directory() {
            return refuse("is a directory");
        }
        let source_place = in_directory.join(name)?;
        if source_place.is_below(&place) {
            return refuse("is inside what it replaces");
        }
        if self.is_below(source.inode) {
            self.linked.insert(source.inode);
        }
        if source_place != place {
            self.put(directory, place, source.inode);
        }
        Ok(())
    }

    /// Tells deletions and opaque directories from what is merely replaced, and marks the names that
    /// the layer's own directory has because of them.
    fn finish(mut self, applied: &mut Applied) {
        for gone in std::mem::take(&mut self.gone) {
            let (parent, name) = gone.path.split().expect("the root is never gone");
            // Rule W4; and below what was replaced, there is nothing to be deleted.
            if !self.is_at(&parent, gone.directory) || self.emptied.contains_key(&gone.directory) {
                continue;
            }
            match self.tree.child(gone.directory, name) {
                None => {
                    self.need_all(&parent);
                    applied.deleted.insert(gone.path, gone.time);
                }
                Some(new) => {
                    let is_directory = |id| self.tree.inode(id).is_directory();
                    if is_directory(new.inode) && is_directory(gone.was) {
                        applied.opaque.insert(gone.path);
                    }
                }
            }
        }
        for (directory, path) in std::mem::take(&mut self.emptied) {
            if self.is_at(&path, directory) {
                self.need_all(&path);
                applied.opaque.insert(path);
            }
        }
        for (path, directory) in std::mem::take(&mut self.made) {
            if self.is_at(&path, directory) {
                self.need_all(&path);
            }
        }
        self.need_linked();
    }

    fn is_at(&self, path: &EntryPath, id: Id) -> bool {
        self.tree.at(path).is_some_and(|name| name.inode == id)
    }

    /// A file of a lower layer that gets a name here is copied with all its names (rule H2).
    fn need_linked(&mut self) {
        if self.linked.is_empty() {
            return;
        }
        let is_linked = |item: &super::Item<'_>| self.linked.contains(&item.name.inode);
        let names = self.tree.walk().filter(is_linked);
        for path in names.map(|item| item.path).collect::<Vec<_>>() {
            self.need_all(&path);
        }
    }

    fn need(&mut self, directory: Id, name: &[u8]) {
        if let Some(name) = self.tree.children_mut(directory).get_mut(name) {
            name.needed_by = self.layer;
        }
    }

    /// The layer's own directory has this path.
    fn need_all(&mut self, path: &EntryPath) {
        let mut at = self.tree.root.inode;
        for name in path.components() {
            self.need(at, name);
            match self.tree.child(at, name) {
                Some(child) => at = child.inode,
                None => return,
            }
        }
    }
}

fn hard_link_error(why: &str, target: &EntryPath) -> Error {
    Error::refused(format!("a hard link to {target}, which {why}"))
}
