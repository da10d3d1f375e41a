//! Copies a file up from the layers below, because the layer has a hard link to it (rule H2).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use crate::content::{Content, ContentHasher};
use crate::error::Result;
use crate::fs::root;
use crate::layer::below::PlaceId;
use crate::layer::tree::{DirId, InodeId, InodeKind};
use crate::meta::Meta;
use crate::path::EntryPath;
use crate::tar::archive::EntryKind;

use super::{Fresh, InodeRef, Unpacker, apply, system};

impl Unpacker<'_> {
    /// Copies what a directory of the layers below has by the same name.
    pub(super) fn copy_up(
        &mut self,
        (parent, place): (DirId, &EntryPath),
        inode: InodeId,
        from: PlaceId,
        kind: InodeKind,
        meta: &Meta,
    ) -> Result<()> {
        let kind = match kind {
            InodeKind::File { .. } => return self.copy_file(parent, place, inode, from, meta),
            InodeKind::Symlink => EntryKind::Symlink(self.layer.tree.target(inode).into()),
            InodeKind::CharDevice(device) => EntryKind::CharDevice(device),
            InodeKind::BlockDevice(device) => EntryKind::BlockDevice(device),
            InodeKind::Fifo => EntryKind::Fifo,
            InodeKind::Directory(_) => unreachable!("no hard link leads to a directory"),
        };
        // If it cannot be made, it still shows from below.
        self.make((parent, place.clone()), inode, &kind, meta, None)
    }

    fn copy_file(
        &mut self,
        parent: DirId,
        place: &EntryPath,
        inode: InodeId,
        from: PlaceId,
        meta: &Meta,
    ) -> Result<()> {
        let fail = |doing| move |error| system(doing, error).at_entry(place);
        let below = self.below.expect("only what is known below is copied");
        let view = below.lower().as_ref();
        let view = view.expect("only what is known below is copied");
        let source = view.open_leaf(below.directory(from), place.name())?;
        let directory = self.open(parent, place)?;
        let mut file = directory
            .make_file(place.name())
            .map_err(fail("creating it"))?;
        let copied = clone_or_copy(&source, &mut file);
        let copied = copied.map_err(fail("copying it from a lower layer"))?;
        self.intake.report.bytes += copied.bytes;
        self.layer.tree.inode_mut(inode).set_content(copied.content);
        let inode = InodeRef::Open(file.as_fd());
        let report = &mut self.intake.report;
        apply(&inode, meta, place, self.options, Fresh::default(), report)
    }
}

struct Copied {
    /// Bytes of data.
    bytes: u64,
    content: Content,
}

/// Reflinks if the file system supports it, and otherwise copies with holes.
fn clone_or_copy(source: &File, file: &mut File) -> io::Result<Copied> {
    let cloned = rustix::fs::ioctl_ficlone(&*file, source).is_ok();
    let size = source.metadata()?.len();
    if !cloned {
        file.set_len(size)?;
    }
    let (mut hasher, mut bytes) = (ContentHasher::blocks(), 0);
    root::read_data(source, &mut |offset, data| {
        hasher.update(offset, data);
        bytes += data.len() as u64;
        match cloned {
            true => Ok(()),
            false => file.write_all_at(data, offset),
        }
    })?;
    let content = hasher.finish();
    Ok(Copied { bytes, content })
}
