//! `Spool`: the content of files in an unnamed temporary file, because the archive needs it in the order of
//! paths, and the blobs have it in another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use crate::copy::copy;
use crate::error::{Error, Result};
use crate::image::{self, Image};
use crate::store::pipeline::Run;
use crate::view::{Id, ImageTree, contents, file_ids, parts};

const BUFFER: usize = 256 * 1024;

/// The content of files, with its positions.
#[derive(Debug)]
pub struct Spool {
    file: File,
    /// Where the stored bytes of a file begin, and how many there are.
    places: BTreeMap<Id, (u64, u64)>,
}

impl Spool {
    /// Reads the content of every file of a tree that is not empty.
    pub fn fill(image: &Image, tree: &ImageTree, run: Run<'_>) -> Result<Spool> {
        let file = tempfile::tempfile_in(image::temporary()).map_err(image::spooling)?;
        let mut places = BTreeMap::new();
        let mut end = 0;
        let mut out = BufWriter::with_capacity(BUFFER, &file);
        contents(image, tree, &file_ids(tree), run, |id, shape, reader| {
            let stored = parts(shape).map(|(_, length)| length).sum();
            let reading = |error| Error::reading("reading its data", error);
            let copied = copy(reader, &mut out, reading, image::spooling)?;
            if copied != stored {
                return Err(Error::refused("its data is not of the size that it says"));
            }
            places.insert(id, (end, stored));
            end += stored;
            Ok(())
        })?;
        out.flush().map_err(image::spooling)?;
        drop(out);
        Ok(Spool { file, places })
    }

    /// The stored bytes of a file.
    pub fn read(&self, id: Id) -> impl Read + '_ {
        let (position, left) = self.places.get(&id).copied().unwrap_or_default();
        Spooled {
            file: &self.file,
            position,
            left,
        }
    }
}

struct Spooled<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl Read for Spooled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = buffer.len().min(most);
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        match count == 0 && most > 0 {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(count),
        }
    }
}
