//! A regular file of the archive: its data to whoever makes files, where the extents of a sparse
//! one say.

use crate::chunk::Chunks;
use crate::error::Result;
use crate::meta::Meta;
use crate::path::EntryPath;
use crate::tar::archive::{Archive, Extent, FileShape};

use super::Unpacker;
use super::writer::NewFile;
use crate::layer::tree::{DirId, Inode, Kind};

impl Unpacker<'_> {
    pub(super) fn file(
        &mut self,
        archive: &mut Archive<Chunks<'_>>,
        parent: DirId,
        place: EntryPath,
        shape: &FileShape,
        meta: Meta,
    ) -> Result<()> {
        self.make_room(parent, &place)?;
        let kind = Kind::File {
            size: shape.size,
            content: None,
        };
        let inode = self.describe(Inode::new(kind), &meta);
        let inode = self.pending.tree.add(parent, place.name(), inode);
        let file = NewFile {
            inode,
            place,
            directory: parent,
            meta,
            size_with_holes: shape.extents.as_ref().map(|_| shape.size),
        };
        self.crew.open(file, &mut self.pending)?;
        let whole = [Extent {
            offset: 0,
            length: shape.size,
        }];
        for extent in shape.extents.as_deref().unwrap_or(&whole) {
            self.write(archive, *extent)?;
        }
        self.crew.close(&mut self.pending)
    }

    fn write(&mut self, archive: &mut Archive<Chunks<'_>>, extent: Extent) -> Result<()> {
        let mut offset = extent.offset;
        let end = extent.offset + extent.length;
        while offset < end {
            let piece = archive.piece(end - offset)?;
            let length = piece.len() as u64;
            self.crew.write(offset, piece, &mut self.pending)?;
            offset += length;
        }
        self.pending.report.bytes += extent.length;
        Ok(())
    }
}
