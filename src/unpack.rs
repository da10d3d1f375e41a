//! `Unpacker`: the sink that carries out the actions of a layer in its own directory.
//!
//! A layer is unpacked without the layers below, so that all layers can be unpacked in parallel. What
//! depends on them is kept in a [`Pending`] for [`settle`](mod@settle). A layer whose entries go elsewhere
//! because of what is below (rules N4, H2) is unpacked a second time, with the layers below.
//! [`crate::layer`] decides what each entry means.
//!
//! Called by [`crate::store::pipeline`]. It never touches anything outside the layer's directory, and sets
//! no attributes of directories: these come last, when nothing more is added to them.

mod attributes;
pub(crate) mod copier;
mod copy_up;
mod created;
mod file;
mod layer_dir;
mod pending;
mod rootless;
pub mod settle;
mod writer;
mod writer_pool;

use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::chunk::Chunks;
use crate::dialect::Namespace;
use crate::error::Result;
use crate::fs::root::Dir;
use crate::image::ImageSigns;
use crate::layer::action::Action;
use crate::layer::apply::Layer;
use crate::layer::intake::Intake;
use crate::layer::xattrs;
use crate::limits::Limits;
use crate::meta::{Device, Meta, Time};
use crate::overlay::merged_view::{LayersBelow, MergedView};
use crate::path::EntryPath;
use crate::tar::archive::{Archive, Entry, EntryKind};
use crate::threads::ThreadShare;

pub use crate::layer::options::{ForeignXattrs, Options, Owners};
pub use crate::layer::report::{Report, Warning};
pub use crate::layer::tree::{DirId, Inode, InodeId, InodeKind, Tree};
pub use crate::layer::xattrs::leave_out_foreign;
pub use attributes::{Fresh, InodeRef, apply, system};
pub use created::Created;
pub use pending::Pending;

use layer_dir::LayerDir;
use writer_pool::{Made, WriterPool};

/// Unpacks the uncompressed bytes of a layer into an empty directory, and reads them to the end.
/// Its share of threads is used to write files.
///
/// With `below`, this is the second pass. Errors: everything that [`Archive`] and the rules refuse,
/// limits, and the system's.
pub fn unpack(
    layer: Chunks<'_>,
    directory: Dir,
    options: &Options,
    limits: &Limits,
    below: Option<&LayersBelow>,
    share: &ThreadShare<'_>,
) -> Result<Pending> {
    let created = Created::find_out(&directory, options)?;
    std::thread::scope(|scope| {
        let directory = LayerDir::new(directory);
        let top = Arc::clone(directory.top());
        let mut unpacker = Unpacker {
            options,
            limits,
            below,
            directory,
            pool: WriterPool::new(scope, share, options, created, &top),
            created,
            intake: Intake::new(options, limits),
            layer: Layer::new(options, limits, below),
            signs: ImageSigns::default(),
        };
        unpacker.run(layer)?;
        Ok(Pending {
            layer: unpacker.layer.finish(),
            created,
            markers: unpacker.intake.markers,
            signs: unpacker.signs,
            report: unpacker.intake.report,
        })
    })
}

struct Unpacker<'a> {
    options: &'a Options,
    limits: &'a Limits,
    below: Option<&'a LayersBelow>,
    directory: LayerDir,
    pool: WriterPool<'a>,
    created: Created,
    intake: Intake<'a>,
    layer: Layer<'a, Option<MergedView>>,
    signs: ImageSigns,
}

impl Unpacker<'_> {
    fn run(&mut self, layer: Chunks<'_>) -> Result<()> {
        let mut archive = Archive::with_limits(layer, *self.limits);
        let read = self.read(&mut archive);
        // An error of a file comes before the one that stopped the reading.
        self.wait()?;
        read?;
        // The archive may end before the blob does.
        archive.finish().map(drop)
    }

    fn read(&mut self, archive: &mut Archive<Chunks<'_>>) -> Result<()> {
        let mut actions = Vec::new();
        while let Some(entry) = archive.next_entry()? {
            let path = entry.path.clone();
            if archive.is_overruled() {
                self.warn(Warning::GlobalHeaderSkipped, &path);
            }
            self.entry(archive, entry, &mut actions)
                .map_err(|error| error.at_entry(path))?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        archive: &mut Archive<Chunks<'_>>,
        entry: Entry,
        actions: &mut Vec<Action>,
    ) -> Result<()> {
        self.signs.see(&entry);
        let Some(entry) = self.intake.take(entry)? else {
            return Ok(());
        };
        self.layer.apply(entry, actions)?;
        for action in actions.drain(..) {
            self.carry_out(action, archive)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action, archive: &mut Archive<Chunks<'_>>) -> Result<()> {
        match action {
            Action::Remove {
                parent,
                place,
                is_full_directory,
            } => self.remove(parent, &place, is_full_directory),
            Action::MakeDirectory(directory) => self.make_directory(directory),
            // Directories get their attributes when nothing more is added to them.
            Action::Describe(_) => Ok(()),
            Action::Make {
                parent,
                place,
                inode,
                kind,
                meta,
            } => {
                let meta = self.describe(inode, meta);
                match kind {
                    EntryKind::File(shape) => {
                        self.file(archive, parent, place, inode, &shape, meta)
                    }
                    kind => {
                        let whiteout = Some(meta.mtime);
                        self.make((parent, place), inode, &kind, &meta, whiteout)
                    }
                }
            }
            Action::Link {
                inode,
                source: (directory, source),
                parent,
                place,
                time,
            } => self.link(inode, (directory, &source), (parent, &place), time),
            Action::LeaveOut {
                parent,
                place,
                time,
            } => {
                self.leave_out(parent, &place, Some(time));
                Ok(())
            }
            Action::CopyUp {
                parent,
                place,
                inode,
                from,
                kind,
                meta,
            } => {
                let meta = self.describe(inode, meta);
                self.copy_up((parent, &place), inode, from, kind, &meta)
            }
        }
    }

    fn remove(&mut self, parent: DirId, place: &EntryPath, is_full_directory: bool) -> Result<()> {
        if is_full_directory {
            let mut made = made(&mut self.layer, &mut self.intake);
            self.pool.close_directories(&mut made)?;
            self.directory.close_all();
        } else {
            self.wait()?;
        }
        self.directory
            .get(parent, &self.layer.tree)
            .and_then(|directory| directory.remove_tree(place.name()))
            .map_err(|error| system("removing what it replaces", error).at_entry(place))
    }

    fn make_directory(&mut self, directory: DirId) -> Result<()> {
        let tree = &self.layer.tree;
        let node = tree.directory(directory);
        self.directory
            .get(node.parent, tree)
            .and_then(|parent| parent.make_dir(&node.name))
            .map_err(|error| system("creating it", error).at_entry(tree.path(directory)))
    }

    /// Makes something that is neither a directory nor a regular file.
    fn make(
        &mut self,
        (parent, place): (DirId, EntryPath),
        inode: InodeId,
        kind: &EntryKind,
        meta: &Meta,
        whiteout: Option<Time>,
    ) -> Result<()> {
        let name = place.name();
        let directory = self.open(parent, &place)?;
        let made = match kind {
            EntryKind::Symlink(target) => directory.make_symlink(name, target),
            EntryKind::Fifo => directory.make_node(name, FileType::Fifo, Device::WHITEOUT),
            EntryKind::CharDevice(device) => {
                directory.make_node(name, FileType::CharacterDevice, *device)
            }
            EntryKind::BlockDevice(device) => {
                directory.make_node(name, FileType::BlockDevice, *device)
            }
            EntryKind::File(_) | EntryKind::Directory | EntryKind::HardLink(_) => {
                unreachable!("they are made elsewhere")
            }
        };
        match made {
            Ok(()) => self.finish(&directory, &place, inode, meta),
            Err(error) if self.may_be_left_out(kind, &error) => {
                self.leave_out(parent, &place, whiteout);
                Ok(())
            }
            Err(error) => Err(system("creating it", error).at_entry(place)),
        }
    }

    /// Rule H3: leaves out a device node, or a link to one, with a whiteout if there is a time for it.
    fn leave_out(&mut self, parent: DirId, place: &EntryPath, whiteout: Option<Time>) {
        self.warn(Warning::DeviceNotMade, place);
        self.layer.leave_out(parent, place.name(), whiteout);
    }

    /// Whether the caller may not make a device node.
    fn may_be_left_out(&self, kind: &EntryKind, error: &std::io::Error) -> bool {
        let is_device = matches!(kind, EntryKind::CharDevice(_) | EntryKind::BlockDevice(_));
        let is_unprivileged = self.options.owners == Owners::Caller
            || self.options.dialect.namespace == Namespace::User;
        is_device && is_unprivileged && error.raw_os_error() == Some(Errno::PERM.raw_os_error())
    }

    /// Gives an existing inode another name.
    fn link(
        &mut self,
        inode: InodeId,
        source: (DirId, &EntryPath),
        (directory, place): (DirId, &EntryPath),
        time: Option<Time>,
    ) -> Result<()> {
        if self.layer.was_left_out(source.0, source.1.name()) {
            self.leave_out(directory, place, time);
            return Ok(());
        }
        self.wait_for(inode)?;
        let from = self
            .directory
            .get(source.0, &self.layer.tree)
            .map_err(|error| system("opening the directory of a link's target", error))?;
        let directory = self.open(directory, place)?;
        from.link(source.1.name(), &directory, place.name())
            .map_err(|error| system("creating it", error).at_entry(place))
    }

    /// Sets the attributes of a new inode.
    fn finish(
        &mut self,
        directory: &Dir,
        place: &EntryPath,
        inode: InodeId,
        meta: &Meta,
    ) -> Result<()> {
        let kind = self.layer.tree.inode(inode).kind;
        let inode = InodeRef::Named(directory, place.name(), attributes::file_type(kind));
        let fresh = Fresh {
            owner: Some(self.created.owner),
            mode: None,
        };
        let report = &mut self.intake.report;
        apply(&inode, meta, place, self.options, fresh, report)
    }

    fn open(&mut self, directory: DirId, place: &EntryPath) -> Result<Arc<Dir>> {
        self.directory
            .get(directory, &self.layer.tree)
            .map_err(|error| system("opening its directory", error).at_entry(place))
    }

    /// Records what will be on disk for an inode with these attributes, and returns them with the names that
    /// xattrs have there.
    fn describe(&mut self, inode: InodeId, mut meta: Meta) -> Meta {
        xattrs::escape(&mut meta, self.options.dialect);
        let inode = self.layer.tree.inode_mut(inode);
        self.created.complete(inode, &meta, self.options);
        meta
    }

    fn warn(&mut self, warning: Warning, path: &EntryPath) {
        self.intake.report.warn(warning, path);
    }

    fn wait(&mut self) -> Result<()> {
        self.pool.wait(&mut made(&mut self.layer, &mut self.intake))
    }

    fn wait_for(&mut self, inode: InodeId) -> Result<()> {
        let mut made = made(&mut self.layer, &mut self.intake);
        self.pool.wait_for(inode, &mut made)
    }
}

/// The data that the writers complete.
fn made<'a>(layer: &'a mut Layer<'_, Option<MergedView>>, intake: &'a mut Intake<'_>) -> Made<'a> {
    Made {
        tree: &mut layer.tree,
        report: &mut intake.report,
    }
}
