//! `Lowers`: the directories below an upperdir, and what they show of a directory in it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::layer::lower::Lower;
use crate::meta::Meta;
use crate::overlay::merged_view::{LayerRoot, MergedView, Seen};
use crate::path::EntryPath;

use super::PackOptions;

/// What the directories below show in the place of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowerState {
    /// Nobody knows.
    Unknown,
    /// Nothing, or something that goes anyway.
    Nothing,
    /// A directory, which shows through.
    Merged,
    /// A directory, which must not show through.
    Replaced,
}

/// The directories below, merged.
pub struct Lowers(MergedView);

/// What shows by a name and is no directory, with its directory in the layer that has it.
pub struct Leaf {
    pub directory: Arc<Dir>,
    pub stat: Stat,
}

impl Lowers {
    /// Topmost first. Errors: one cannot be opened.
    pub fn open(paths: &[PathBuf], options: &PackOptions) -> Result<Lowers> {
        let open = |path: &PathBuf| {
            let directory = super::open(path)?;
            Ok(LayerRoot::from(Arc::new(directory)).called(path.display().to_string()))
        };
        let layers = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
        let view = MergedView::of_layers(layers, options.namespace);
        Ok(Lowers(view.with_labels(options.selinux)))
    }

    /// Whether anything shows at a path.
    pub fn shows(&self, path: &EntryPath) -> Result<bool> {
        Ok(!matches!(self.0.see_path(path)?.1, Seen::Absent))
    }

    /// Whether a directory shows at a path. Errors: it was renamed by the mount that made it, so
    /// that what it holds is elsewhere.
    pub fn shows_directory(&self, path: &EntryPath) -> Result<bool> {
        Ok(self.0.directory(path)?.is_some())
    }

    /// The names that show in a directory, sorted.
    pub fn names(&self, path: &EntryPath) -> Result<Vec<Box<[u8]>>> {
        match self.0.directory(path)? {
            Some(directory) => self.0.names(directory),
            None => Ok(Vec::new()),
        }
    }

    /// The attributes of a directory that shows.
    pub fn directory_meta(&self, path: &EntryPath) -> Result<Meta> {
        let directory = self.0.directory(path)?;
        let meta = directory.map(|directory| self.0.directory_meta_on_disk(directory));
        let gone = || Error::conflict("it went away while it was read").at_entry(path);
        meta.transpose()?.flatten().ok_or_else(gone)
    }

    /// What shows at a path and is no directory; `None` if nothing of that kind shows. Errors: its content
    /// is elsewhere.
    pub fn leaf(&self, path: &EntryPath) -> Result<Option<Leaf>> {
        match self.0.see_path(path)? {
            (parent, Seen::Leaf(..)) => {
                let found = self.0.find_leaf(parent, path.name())?;
                Ok(found.map(|(directory, stat)| Leaf { directory, stat }))
            }
            _ => Ok(None),
        }
    }

    /// Every path at which the inode of what shows at a path shows.
    pub fn names_of_inode(&self, path: &EntryPath) -> Result<Vec<EntryPath>> {
        match self.0.see_path(path)? {
            (parent, Seen::Leaf(_, stat)) if stat.st_nlink > 1 => {
                self.0.names_of_inode(parent, path.name())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The regular file that shows at a path, if one does.
    pub fn file(&self, path: &EntryPath) -> Result<Option<File>> {
        let found = self.leaf(path)?;
        let is_file =
            |leaf: &Leaf| FileType::from_raw_mode(leaf.stat.st_mode) == FileType::RegularFile;
        let Some(leaf) = found.filter(is_file) else {
            return Ok(None);
        };
        let name = EntryPath::parse(path.name())?;
        let file = leaf.directory.open_file(&name);
        file.map(Some)
            .map_err(|error| Error::system("opening the file below", error).at_entry(path))
    }
}
