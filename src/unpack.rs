//! `Unpacker`: the entries of one layer, in order, into its own directory.
//!
//! A layer is unpacked without looking at the layers below, so that all layers can be unpacked at
//! once; what needs them is kept in a [`Pending`] for [`crate::unpack::settle`]. Two rare things cannot
//! wait for that, because they decide where later entries go: a parent that is a symbolic link
//! below (rule N4) and a hard link to a file below (rule H2). A layer that has one is unpacked a
//! second time, and then the unpacker is given the layers [`Below`].
//!
//! [`crate::store::pipeline`] calls it. It never touches anything outside the layer's directory, and it
//! sets no attribute of a directory: those come last, when nothing is added to it any more.

mod attributes;
pub(crate) mod copier;
mod copy_up;
mod created;
mod file;
mod options;
mod pending;
mod resolve;
mod rootless;
pub mod settle;
mod writer;
mod writer_pool;

use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::chunk::Chunks;
use crate::error::{Error, Result};
use crate::fs::root::{Dir, Root};
use crate::layer::whiteout::Marker;
use crate::limits::Limits;
use crate::meta::{Device, Meta};
use crate::overlay::dialect::Namespace;
use crate::overlay::lower::Below;
use crate::path::EntryPath;
use crate::tar::archive::{Archive, Entry, EntryKind};
use crate::threads::ThreadShare;

pub use crate::layer::report::{Occurrences, Report, Warning};
pub use crate::layer::tree::{DirId, Inode as NewInode, InodeId, Kind, Tree};
pub use attributes::{Fresh, Inode, apply, leave_out_foreign, system};
pub use created::Created;
pub use options::{DeviceZero, ForeignXattrs, Options, OverlayXattrs, Owners};
pub use pending::Pending;

use resolve::LastParent;
use writer_pool::WriterPool;

/// Names that eStargz adds to a layer's root (stargz-snapshotter, `docs/estargz.md`).
pub(crate) const ESTARGZ: [&[u8]; 3] = [
    b"stargz.index.json",
    b".prefetch.landmark",
    b".no.prefetch.landmark",
];

/// Unpacks the uncompressed bytes of a layer into an empty directory, and reads them to their end.
/// Its share of threads goes to writers of files.
///
/// With `below`, this is the second pass. Errors: everything that [`Archive`] refuses, names and
/// types that rules N1, W6, S1 and H3 refuse, and the system's.
pub fn unpack(
    layer: Chunks<'_>,
    directory: Dir,
    options: &Options,
    limits: &Limits,
    below: Option<&Below>,
    share: &ThreadShare<'_>,
) -> Result<Pending> {
    let created = Created::find_out(&directory, options)?;
    std::thread::scope(|scope| {
        let root = Root::new(directory);
        let top = root.shared_top();
        let mut unpacker = Unpacker {
            options,
            limits,
            below,
            root,
            crew: WriterPool::new(scope, share, options, created, &top),
            pending: Pending::new(created),
            last_parent: None,
        };
        unpacker.run(layer)?;
        Ok(unpacker.pending)
    })
}

struct Unpacker<'a> {
    options: &'a Options,
    limits: &'a Limits,
    below: Option<&'a Below>,
    root: Root,
    crew: WriterPool<'a>,
    pending: Pending,
    last_parent: Option<LastParent>,
}

impl Unpacker<'_> {
    fn run(&mut self, layer: Chunks<'_>) -> Result<()> {
        let mut archive = Archive::with_limits(layer, *self.limits);
        let read = self.read(&mut archive);
        // What failed in a file comes before what stopped the reading.
        self.crew.wait(&mut self.pending)?;
        read?;
        // The archive may end before the blob does.
        archive.finish().map(drop)
    }

    fn read(&mut self, archive: &mut Archive<Chunks<'_>>) -> Result<()> {
        while let Some(entry) = archive.next_entry()? {
            let path = entry.path.clone();
            if archive.is_overruled() {
                let report = &mut self.pending.report;
                report.warn(Warning::GlobalHeaderSkipped, &path);
            }
            self.entry(archive, entry)
                .map_err(|error| error.at_entry(path))?;
        }
        Ok(())
    }

    fn entry(&mut self, archive: &mut Archive<Chunks<'_>>, entry: Entry) -> Result<()> {
        self.pending.report.entries += 1;
        self.limits.check_entries(self.pending.report.entries)?;
        self.limits.check_depth(entry.path.components().count())?;
        self.pending.signs.see(&entry);
        let time = entry.meta.mtime;
        match Marker::of(&entry.path)? {
            Marker::Remove(path) => {
                self.pending.markers.whiteouts.insert(path, time);
                Ok(())
            }
            Marker::Opaque(path) => {
                self.pending.markers.opaques.insert(path, time);
                Ok(())
            }
            Marker::Reserved => Ok(()),
            Marker::None if self.is_left_out(&entry)? => Ok(()),
            Marker::None => self.add(archive, entry),
        }
    }

    /// Rules S1 and S3.
    fn is_left_out(&mut self, entry: &Entry) -> Result<bool> {
        if self.options.drop_estargz && ESTARGZ.contains(&entry.path.as_bytes()) {
            return Ok(true);
        }
        if entry.kind != EntryKind::CharDevice(Device::WHITEOUT) {
            return Ok(false);
        }
        match self.options.device_zero {
            DeviceZero::Skip => {
                let report = &mut self.pending.report;
                report.warn(Warning::DeviceZeroSkipped, &entry.path);
                Ok(true)
            }
            DeviceZero::Refuse => Err(Error::refused(
                "a character device 0:0, which overlayfs would read as a deletion",
            )
            .hint("--device-zero=skip leaves it out")),
        }
    }

    fn add(&mut self, archive: &mut Archive<Chunks<'_>>, entry: Entry) -> Result<()> {
        let Entry {
            path,
            kind,
            mut meta,
        } = entry;
        let report = &mut self.pending.report;
        attributes::translate_xattrs(&mut meta, &path, self.options, report)?;
        // Rule H1: a link's own attributes are not applied.
        if !matches!(kind, EntryKind::HardLink(_)) {
            self.options.ids.map(&mut meta)?;
        }
        if path.is_root() {
            // Rule N2: the root entry describes the layer's own directory.
            self.pending.tree.describe(Tree::ROOT, meta);
            return Ok(());
        }
        let directories = &mut self.pending.markers.directories;
        match kind {
            EntryKind::Directory => directories.add(&path),
            _ => directories.replace(&path),
        }
        let Some((parent, place)) = self.place(path)? else {
            return Ok(());
        };
        match kind {
            EntryKind::Directory => self.directory(parent, place, meta),
            EntryKind::File(shape) => self.file(archive, parent, place, &shape, meta),
            EntryKind::Symlink(target) => {
                self.create(parent, &place, |dir, name| dir.make_symlink(name, &target))?;
                self.finish(parent, &place, Kind::Symlink, &meta)
            }
            EntryKind::HardLink(target) => self.hard_link(parent, &place, &target),
            EntryKind::CharDevice(device) => {
                self.device(parent, &place, Kind::CharDevice(device), device, &meta)
            }
            EntryKind::BlockDevice(device) => {
                self.device(parent, &place, Kind::BlockDevice(device), device, &meta)
            }
            EntryKind::Fifo => {
                self.create(parent, &place, |dir, name| {
                    dir.make_node(name, FileType::Fifo, Device::WHITEOUT)
                })?;
                self.finish(parent, &place, Kind::Fifo, &meta)
            }
        }
    }

    /// Rule N3: over a directory the attributes are replaced and the children stay; anything else
    /// makes way.
    fn directory(&mut self, parent: DirId, place: EntryPath, meta: Meta) -> Result<()> {
        let known = self.pending.tree.child(parent, place.name());
        if let Some(known) = known
            && let Kind::Directory(directory) = self.pending.tree.inode(known).kind
        {
            self.pending.tree.describe(directory, meta);
            return Ok(());
        }
        self.make_directory(parent, place, Some(meta))?;
        Ok(())
    }

    fn make_directory(
        &mut self,
        parent: DirId,
        place: EntryPath,
        meta: Option<Meta>,
    ) -> Result<DirId> {
        let replaces = self.create(parent, &place, |dir, name| dir.make_dir(name))?;
        Ok(self
            .pending
            .tree
            .add_directory(parent, place, meta, replaces))
    }

    fn device(
        &mut self,
        parent: DirId,
        place: &EntryPath,
        kind: Kind,
        device: Device,
        meta: &Meta,
    ) -> Result<()> {
        let may_be_denied = self.options.owners == Owners::Caller
            || self.options.dialect.namespace == Namespace::User;
        let is_denied = |error: &Error| {
            may_be_denied && error.raw_os_error() == Some(Errno::PERM.raw_os_error())
        };
        let file_type = kind.file_type();
        let make = |dir: &Dir, name: &[u8]| dir.make_node(name, file_type, device);
        match self.create(parent, place, make) {
            Ok(_) => self.finish(parent, place, kind, meta),
            Err(error) if is_denied(&error) => {
                self.pending.report.warn(Warning::DeviceNotMade, place);
                // What the layers below have there must not show in its place.
                let whiteouts = &mut self.pending.markers.whiteouts;
                whiteouts.insert(place.clone(), meta.mtime);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Rules H1 to H3.
    fn hard_link(&mut self, parent: DirId, place: &EntryPath, target: &EntryPath) -> Result<()> {
        let Some(source) = self.resolve_link_target(target)? else {
            return Ok(());
        };
        let found = self.pending.tree.find(&source);
        match found.map(|inode| self.pending.tree.inode(inode).kind) {
            Some(Kind::Directory(_)) => {
                return self.postpone(|| hard_link_error("is a directory", target));
            }
            // Making room for the link would remove its target.
            _ if source.is_below(place) => {
                return self.postpone(|| hard_link_error("is inside what it replaces", target));
            }
            Some(_) => {}
            None => {
                let copied = match self.below {
                    Some(below) => self.copy_up(below, &source)?,
                    None => false,
                };
                if !copied {
                    return self.postpone(|| {
                        hard_link_error("is neither earlier in this layer nor below it", target)
                    });
                }
            }
        }
        match source == *place {
            true => Ok(()),
            false => self.link(&source, parent, place),
        }
    }

    /// Gives a file of this layer another name.
    fn link(&mut self, source: &EntryPath, parent: DirId, place: &EntryPath) -> Result<()> {
        let inode = self
            .pending
            .tree
            .find(source)
            .expect("it was found or copied");
        self.crew.wait_for(inode, &mut self.pending)?;
        let directory = source.parent().expect("a file is not the root");
        let directory = self
            .root
            .top()
            .open_beneath(&directory)
            .map_err(|error| system("opening the directory of a link's target", error))?;
        let name = source.name();
        self.create(parent, place, |dir, new| directory.link(name, dir, new))?;
        self.pending.tree.link(parent, place.name(), inode);
        Ok(())
    }

    /// In the first pass, what fails for want of the layers below is left to the second.
    fn postpone(&mut self, error: impl FnOnce() -> Error) -> Result<()> {
        match self.below {
            Some(_) => Err(error()),
            None => {
                self.pending.postponed = true;
                Ok(())
            }
        }
    }

    /// Creates something at a place, where it gets room before; returns whether anything had to
    /// make way. The tree learns of it from the caller.
    fn create(
        &mut self,
        parent: DirId,
        place: &EntryPath,
        make: impl FnOnce(&Dir, &[u8]) -> io::Result<()>,
    ) -> Result<bool> {
        let replaces = self.make_room(parent, place)?;
        let directory = self.root.dir(&self.pending.tree.directory(parent).path);
        directory
            .and_then(|directory| make(directory, place.name()))
            .map_err(|error| system("creating it", error).at_entry(place))?;
        Ok(replaces)
    }

    /// Removes what this layer has at a place; returns whether it had anything.
    fn make_room(&mut self, parent: DirId, place: &EntryPath) -> Result<bool> {
        if self.pending.tree.child(parent, place.name()).is_none() {
            return Ok(false);
        }
        self.crew.wait(&mut self.pending)?;
        self.last_parent = None;
        let tree = &mut self.pending.tree;
        self.root
            .remove(&tree.directory(parent).path, place.name())
            .map_err(|error| system("removing what it replaces", error).at_entry(place))?;
        tree.remove(parent, place.name());
        Ok(true)
    }

    /// Sets the attributes of something that was just created, and adds it to the tree.
    fn finish(&mut self, parent: DirId, place: &EntryPath, kind: Kind, meta: &Meta) -> Result<()> {
        let inode = self.describe(crate::layer::tree::Inode::new(kind), meta);
        let tree = &mut self.pending.tree;
        tree.add(parent, place.name(), inode);
        let directory = self
            .root
            .dir(&tree.directory(parent).path)
            .map_err(|error| system("opening its directory", error))?;
        let inode = Inode::Named(directory, place.name(), kind.file_type());
        let fresh = Fresh {
            owner: Some(self.pending.created.owner),
            mode: None,
        };
        let report = &mut self.pending.report;
        apply(&inode, meta, place, self.options, fresh, report)
    }

    fn describe(&self, inode: crate::layer::tree::Inode, meta: &Meta) -> crate::layer::tree::Inode {
        self.pending.created.describe(inode, meta, self.options)
    }
}

fn hard_link_error(why: &str, target: &EntryPath) -> Error {
    Error::refused(format!("a hard link to {target}, which {why}"))
}
