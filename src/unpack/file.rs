//! Passes the data of a regular file to the writers, at the offsets that its extents give.

use crate::chunk::Chunks;
use crate::error::Result;
use crate::layer::tree::{DirId, InodeId};
use crate::meta::Meta;
use crate::path::EntryPath;
use crate::tar::archive::{Archive, Extent, FileShape};

use super::writer::FileOrder;
use super::{Unpacker, made};

impl Unpacker<'_> {
    pub(super) fn file(
        &mut self,
        archive: &mut Archive<Chunks<'_>>,
        directory: DirId,
        place: EntryPath,
        inode: InodeId,
        shape: &FileShape,
        meta: Meta,
    ) -> Result<()> {
        let file = FileOrder {
            inode,
            place,
            directory,
            meta,
            size_with_holes: shape.extents.as_ref().map(|_| shape.size),
        };
        let mut made_so_far = made(&mut self.layer, &mut self.intake);
        self.pool.open(file, &mut made_so_far)?;
        let whole = [Extent {
            offset: 0,
            length: shape.size,
        }];
        for extent in shape.extents.as_deref().unwrap_or(&whole) {
            self.write(archive, *extent)?;
        }
        let mut made_so_far = made(&mut self.layer, &mut self.intake);
        self.pool.close(&mut made_so_far)
    }

    fn write(&mut self, archive: &mut Archive<Chunks<'_>>, extent: Extent) -> Result<()> {
        let mut offset = extent.offset;
        let end = extent.offset + extent.length;
        while offset < end {
            let piece = archive.piece(end - offset)?;
            let length = piece.len() as u64;
            let mut made_so_far = made(&mut self.layer, &mut self.intake);
            self.pool.write(offset, piece, &mut made_so_far)?;
            offset += length;
        }
        self.intake.report.bytes += extent.length;
        Ok(())
    }
}
