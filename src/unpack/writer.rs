//! [`Writer`]: makes regular files, order by order. The [`WriterPool`](super::writer_pool) of a layer has
//! several of them, on threads of their own. A writer knows neither the archive nor the tree.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::chunk::Piece;
use crate::content::{Content, ContentHasher};
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::meta::Meta;
use crate::path::EntryPath;

use super::attributes::{Fresh, apply};
use super::{Created, InodeRef, Options, Report, system};
use crate::layer::tree::{DirId, InodeId};

/// A regular file to make.
#[derive(Debug)]
pub struct FileOrder {
    /// Its number in the tree.
    pub inode: InodeId,
    /// Where, as a path of the layer.
    pub place: EntryPath,
    /// The directory of that path: the tree reuses no number, so it is a key.
    pub directory: DirId,
    /// Its attributes.
    pub meta: Meta,
    /// Its size, if it has holes.
    pub size_with_holes: Option<u64>,
}

/// One step of making a file; steps come in the order of the archive.
#[derive(Debug)]
pub enum Order {
    /// Create the file.
    Open(FileOrder),
    /// Write this piece at this offset.
    Write(u64, Piece),
    /// The file is complete: set its attributes.
    Close,
    /// Keep no directory open: it may be removed.
    CloseDirectory,
}

/// The result of some orders.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The contents of the files that were completed.
    pub contents: Vec<(InodeId, Content)>,
    /// The first file that failed.
    pub failed: Option<(InodeId, Error)>,
    /// Warnings, in order.
    pub report: Report,
}

/// Makes regular files in one layer's directory.
pub struct Writer<'a> {
    options: &'a Options,
    created: Created,
    /// The layer's directory.
    top: Arc<Dir>,
    /// The directory of the last file, open. Orders that wait hold none open.
    last: Option<(DirId, Dir)>,
    /// Whether files get their permissions when they are created.
    umask_is_clear: bool,
    open: Option<(FileOrder, File)>,
    whole: ContentHasher,
    blocks: ContentHasher,
    outcome: Outcome,
}

impl<'a> Writer<'a> {
    /// A writer without orders. `umask_is_clear` is a property of the thread that it works on.
    pub fn new(
        options: &'a Options,
        created: Created,
        top: Arc<Dir>,
        umask_is_clear: bool,
    ) -> Writer<'a> {
        Writer {
            options,
            created,
            top,
            last: None,
            umask_is_clear,
            open: None,
            whole: ContentHasher::whole(),
            blocks: ContentHasher::blocks(),
            outcome: Outcome::default(),
        }
    }

    /// Carries out an order. After a failure the rest of that file is skipped.
    pub fn run(&mut self, order: Order) {
        match order {
            Order::Open(file) => match self.make(&file) {
                Ok(made) => self.open = Some((file, made)),
                Err(error) => self.fail(&file, error),
            },
            Order::Write(offset, piece) => {
                if let Some((file, made)) = self.open.take() {
                    match self.write(&file, &made, offset, &piece) {
                        Ok(()) => self.open = Some((file, made)),
                        Err(error) => self.fail(&file, error),
                    }
                }
            }
            Order::Close => {
                if let Some((file, made)) = self.open.take()
                    && let Err(error) = self.complete(&file, &made)
                {
                    self.fail(&file, error);
                }
            }
            Order::CloseDirectory => self.last = None,
        }
    }

    /// The result of all orders since the last call.
    pub fn outcome(&mut self) -> Outcome {
        std::mem::take(&mut self.outcome)
    }

    fn fail(&mut self, file: &FileOrder, error: Error) {
        // Discards what was hashed of it.
        self.hasher(file).finish();
        let failed = (file.inode, error.at_entry(&file.place));
        self.outcome.failed.get_or_insert(failed);
    }

    fn make(&mut self, file: &FileOrder) -> Result<File> {
        let mode = self.first_mode(file);
        let directory = self.directory(file);
        let directory = directory.map_err(|error| system("opening its directory", error))?;
        let made = directory.make_file_with(file.place.name(), mode);
        let made = made.map_err(|error| system("creating it", error))?;
        if let Some(size) = file.size_with_holes {
            made.set_len(size)
                .map_err(|error| system("setting the size of a sparse file", error))?;
        }
        Ok(made)
    }

    fn directory(&mut self, file: &FileOrder) -> io::Result<&Dir> {
        let is_last = |(last, _): &(DirId, Dir)| *last == file.directory;
        if !self.last.as_ref().is_some_and(is_last) {
            let parent = file.place.parent().unwrap_or_default();
            self.last = Some((file.directory, self.top.open_beneath(&parent)?));
        }
        Ok(&self.last.as_ref().expect("just filled").1)
    }

    /// Without the bits above the permissions: writing would clear them, so they are set last.
    fn first_mode(&self, file: &FileOrder) -> u32 {
        match self.umask_is_clear {
            true => file.meta.mode & 0o777,
            false => 0o600,
        }
    }

    fn write(&mut self, file: &FileOrder, made: &File, offset: u64, piece: &Piece) -> Result<()> {
        made.write_all_at(piece, offset)
            .map_err(|error| system("writing its data", error))?;
        self.hasher(file).update(offset, piece);
        Ok(())
    }

    fn hasher(&mut self, file: &FileOrder) -> &mut ContentHasher {
        match file.size_with_holes {
            Some(_) => &mut self.blocks,
            None => &mut self.whole,
        }
    }

    fn complete(&mut self, file: &FileOrder, made: &File) -> Result<()> {
        let content = self.hasher(file).finish();
        self.outcome.contents.push((file.inode, content));
        let fresh = Fresh {
            owner: Some(self.created.owner),
            mode: Some(self.first_mode(file)),
        };
        let inode = InodeRef::Open(made.as_fd());
        let report = &mut self.outcome.report;
        apply(&inode, &file.meta, &file.place, self.options, fresh, report)
    }
}
