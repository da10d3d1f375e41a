//! `Unpacker`: the entries of one layer, in order, into its own directory.
//!
//! A layer is unpacked without looking at the layers below, so that all layers can be unpacked at
//! once; what needs them is kept in a [`Pending`] for [`crate::settle`]. Two rare things cannot
//! wait for that, because they decide where later entries go: a parent that is a symbolic link
//! below (rule N4) and a hard link to a file below (rule H2). A layer that has one is unpacked a
//! second time, and then the unpacker is given the layers [`Below`].
//!
//! [`crate::pipeline`] calls it. It never touches anything outside the layer's directory, and it
//! sets no attribute of a directory: those come last, when nothing is added to it any more.

mod attributes;
mod contents;
mod copy_up;
mod file;
mod options;
mod pending;
mod report;
mod resolve;
mod tree;

use std::io::{self, BufReader, Read};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::archive::{Archive, Entry, EntryKind};
use crate::dialect::Namespace;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::lower::Below;
use crate::meta::{Device, Meta};
use crate::path::EntryPath;
use crate::root::{Dir, Root};
use crate::whiteout::Marker;

pub use attributes::{Inode, apply, system};
pub use contents::Contents;
pub use options::{DeviceZero, Options, OverlayXattrs, Owners};
pub use pending::Pending;
pub use report::{Occurrences, Report, Warning};
pub use tree::{DirNode, DirTree};

use resolve::Missing;

const BUFFER: usize = 256 * 1024;
/// Names that eStargz adds to a layer's root (stargz-snapshotter, `docs/estargz.md`).
pub(crate) const ESTARGZ: [&[u8]; 3] = [
    b"stargz.index.json",
    b".prefetch.landmark",
    b".no.prefetch.landmark",
];

/// Unpacks the uncompressed bytes of a layer into an empty directory.
///
/// With `below`, this is the second pass. Errors: everything that [`Archive`] refuses, names and
/// types that rules N1, W6, S1 and H3 refuse, and the system's.
pub fn unpack(
    layer: impl Read,
    directory: Dir,
    options: &Options,
    limits: &Limits,
    below: Option<&Below>,
) -> Result<Pending> {
    remove_inherited_acls(&directory)?;
    let reader = BufReader::with_capacity(BUFFER, layer);
    let mut archive = Archive::with_limits(reader, *limits);
    let mut unpacker = Unpacker {
        options,
        limits,
        below,
        root: Root::new(directory),
        pending: Pending::new(),
        buffer: vec![0; BUFFER].into(),
    };
    while let Some(entry) = archive.next_entry()? {
        unpacker
            .entry(&mut archive, &entry)
            .map_err(|error| error.at_entry(&entry.path))?;
    }
    Ok(unpacker.pending)
}

/// ACLs that the directory got from the one around it are not the layer's, and would go on to
/// everything made in it.
fn remove_inherited_acls(directory: &Dir) -> Result<()> {
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        match rustix::fs::fremovexattr(directory, acl) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(system("removing an inherited ACL", errno.into())),
        }
    }
    Ok(())
}

struct Unpacker<'a> {
    options: &'a Options,
    limits: &'a Limits,
    below: Option<&'a Below>,
    root: Root,
    pending: Pending,
    buffer: Box<[u8]>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<()> {
        self.pending.report.entries += 1;
        self.limits.check_entries(self.pending.report.entries)?;
        self.limits.check_depth(entry.path.components().count())?;
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
            Marker::None if self.is_left_out(entry)? => Ok(()),
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

    fn add<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<()> {
        let mut meta = entry.meta.clone();
        let report = &mut self.pending.report;
        attributes::translate_xattrs(&mut meta, &entry.path, self.options, report)?;
        let Some((parent, name)) = entry.path.split() else {
            // Rule N2: the root entry describes the layer's own directory.
            self.pending.tree.describe(&entry.path, &meta);
            return Ok(());
        };
        let Some(parent) = self.resolve(&parent, Missing::Make)? else {
            return Ok(());
        };
        let place = parent.join(name)?;
        match &entry.kind {
            EntryKind::Directory => self.directory(place, meta),
            EntryKind::File(shape) => self.file(archive, &place, shape, &meta),
            EntryKind::Symlink(target) => {
                self.create(&place, |dir, name| dir.make_symlink(name, target))?;
                self.attributes(&place, FileType::Symlink, &meta)
            }
            EntryKind::HardLink(target) => self.hard_link(&place, target),
            EntryKind::CharDevice(device) => {
                self.node(&place, FileType::CharacterDevice, *device, &meta)
            }
            EntryKind::BlockDevice(device) => {
                self.node(&place, FileType::BlockDevice, *device, &meta)
            }
            EntryKind::Fifo => self.node(&place, FileType::Fifo, Device::WHITEOUT, &meta),
        }
    }

    /// Rule N3: over a directory the attributes are replaced and the children stay; anything else
    /// makes way.
    fn directory(&mut self, place: EntryPath, meta: Meta) -> Result<()> {
        if !self.pending.tree.describe(&place, &meta) {
            let meta = Some(Box::new(meta));
            self.make_directory(place, meta)?;
        }
        Ok(())
    }

    fn make_directory(&mut self, place: EntryPath, meta: Option<Box<Meta>>) -> Result<()> {
        let replaces = self.create(&place, |dir, name| dir.make_dir(name))?;
        let node = DirNode::new(meta, replaces);
        self.pending.tree.insert(place, node);
        Ok(())
    }

    fn node(
        &mut self,
        place: &EntryPath,
        kind: FileType,
        device: Device,
        meta: &Meta,
    ) -> Result<()> {
        let may_be_denied = kind != FileType::Fifo
            && (self.options.owners == Owners::Caller
                || self.options.dialect.namespace == Namespace::User);
        match self.create(place, |dir, name| dir.make_node(name, kind, device)) {
            Ok(_) => self.attributes(place, kind, meta),
            Err(error)
                if may_be_denied && error.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
            {
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
    fn hard_link(&mut self, place: &EntryPath, target: &EntryPath) -> Result<()> {
        let Some(source) = self.resolve_link_target(target)? else {
            return Ok(());
        };
        match self.stat(&source)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return self.postpone(|| hard_link_error("is a directory", target));
            }
            // Making room for the link would remove its target.
            _ if source.is_below(place) => {
                return self.postpone(|| hard_link_error("is inside what it replaces", target));
            }
            Some(_) if source == *place => return Ok(()),
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
                if source == *place {
                    return Ok(());
                }
            }
        }
        self.link(&source, place)
    }

    /// Gives a file of this layer another name.
    fn link(&mut self, source: &EntryPath, place: &EntryPath) -> Result<()> {
        let (parent, name) = source.split().expect("a file is not the root");
        let directory = self
            .root
            .top()
            .open_beneath(&parent)
            .map_err(|error| system("opening the directory of a link's target", error))?;
        self.create(place, |dir, new| directory.link(name, dir, new))?;
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

    /// Creates something at a place, whose directory exists, and makes room for it where this
    /// layer had something before; returns whether that was anything.
    fn create(
        &mut self,
        place: &EntryPath,
        mut make: impl FnMut(&Dir, &[u8]) -> io::Result<()>,
    ) -> Result<bool> {
        let (parent, name) = place.split().expect("the root is never created");
        let fail = |error| system("creating it", error).at_entry(place);
        let directory = self.root.dir(&parent).map_err(fail)?;
        match make(directory, name) {
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error)),
        }
        self.root
            .remove(&parent, name)
            .map_err(|error| system("removing what it replaces", error).at_entry(place))?;
        self.pending.tree.remove(place);
        let directory = self.root.dir(&parent).map_err(fail)?;
        make(directory, name).map_err(fail)?;
        Ok(true)
    }

    fn attributes(&mut self, place: &EntryPath, kind: FileType, meta: &Meta) -> Result<()> {
        let (parent, name) = place.split().expect("the root has no entry of this kind");
        let directory = self
            .root
            .dir(&parent)
            .map_err(|error| system("opening its directory", error))?;
        let inode = Inode::Named(directory, name, kind);
        apply(&inode, meta, place, self.options, &mut self.pending.report)
    }

    /// What this layer has at a path that is already resolved.
    fn stat(&mut self, path: &EntryPath) -> Result<Option<rustix::fs::Stat>> {
        let Some((parent, name)) = path.split() else {
            return Ok(None);
        };
        if !self.pending.tree.contains(&parent) {
            return Ok(None);
        }
        self.root
            .dir(&parent)
            .and_then(|directory| directory.stat(name))
            .map_err(|error| system("looking for it", error).at_entry(path))
    }
}

fn hard_link_error(why: &str, target: &EntryPath) -> Error {
    Error::refused(format!("a hard link to {target}, which {why}"))
}
