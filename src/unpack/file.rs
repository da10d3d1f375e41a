//! A regular file of the archive: its data, where the extents of a sparse one say, and its digest
//! on the way.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use crate::archive::{Archive, Extent, FileShape};
use crate::content::{Content, ContentHasher};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::path::EntryPath;

use super::{Inode, Unpacker, apply, system};

impl Unpacker<'_> {
    pub(super) fn file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        place: &EntryPath,
        shape: &FileShape,
        meta: &Meta,
    ) -> Result<()> {
        let mut made = None;
        self.create(place, |dir, name| {
            made = Some(dir.make_file(name)?);
            Ok(())
        })?;
        let mut file = made.expect("create made it, or failed");
        let content = self.write(archive, &mut file, shape)?;
        self.pending.contents.add(&file, content)?;
        let report = &mut self.pending.report;
        apply(
            &Inode::Open(file.as_fd()),
            meta,
            place,
            self.options,
            report,
        )
    }

    fn write<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        file: &mut File,
        shape: &FileShape,
    ) -> Result<Content> {
        let whole = [Extent {
            offset: 0,
            length: shape.size,
        }];
        let mut hasher = ContentHasher::whole();
        if shape.extents.is_some() {
            file.set_len(shape.size)
                .map_err(|error| system("setting the size of a sparse file", error))?;
            hasher = ContentHasher::blocks();
        }
        for extent in shape.extents.as_deref().unwrap_or(&whole) {
            if extent.offset != 0 {
                file.seek(SeekFrom::Start(extent.offset))
                    .map_err(|error| system("seeking in a sparse file", error))?;
            }
            self.copy(archive, file, *extent, &mut hasher)?;
        }
        Ok(hasher.finish())
    }

    fn copy<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        file: &mut File,
        extent: Extent,
        hasher: &mut ContentHasher,
    ) -> Result<()> {
        let mut left = extent.length;
        while left > 0 {
            let most = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = archive
                .data()
                .read(&mut self.buffer[..most])
                .map_err(|error| Error::reading("reading its data", error))?;
            let data = &self.buffer[..count];
            file.write_all(data)
                .map_err(|error| system("writing its data", error))?;
            hasher.update(extent.offset + (extent.length - left), data);
            left -= count as u64;
        }
        self.pending.report.bytes += extent.length;
        Ok(())
    }
}
