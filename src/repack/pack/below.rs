//! `Lowers`: the directories below an upperdir, and what they show of a directory in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::meta::Meta;
use crate::overlay::dialect::Dialect;
use crate::overlay::lower::{Found, Leaf, LowerView};
use crate::path::EntryPath;

/// What the directories below show in the place of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
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
pub struct Lowers {
    view: LowerView,
    layers: Vec<Arc<Dir>>,
    dialect: Dialect,
}

impl Lowers {
    /// Topmost first.
    pub fn new(layers: Vec<Dir>, dialect: Dialect) -> Lowers {
        let layers: Vec<Arc<Dir>> = layers.into_iter().map(Arc::new).collect();
        Lowers {
            view: LowerView::new(layers.clone(), dialect),
            layers,
            dialect,
        }
    }

    /// Whether anything shows at a path.
    pub fn shows(&self, path: &EntryPath) -> Result<bool> {
        Ok(!matches!(*self.view.lookup(path)?, Found::Absent))
    }

    /// Whether a directory shows at a path. Errors: it was renamed by the mount that made it, so
    /// that what it holds is elsewhere.
    pub fn shows_directory(&self, path: &EntryPath) -> Result<bool> {
        let found = self.view.lookup(path)?;
        let Found::Directory(merged) = &*found else {
            return Ok(false);
        };
        for &layer in merged.iter().filter(|_| !path.is_root()) {
            self.refuse_mark(layer, path, "redirect")?;
        }
        Ok(true)
    }

    fn refuse_mark(&self, layer: usize, path: &EntryPath, mark: &str) -> Result<()> {
        let (parent, name) = path.split().expect("the root has no such mark");
        let xattr = format!("{}{mark}", self.dialect.prefix());
        let value = self.layers[layer]
            .open_beneath(&parent)
            .and_then(|parent| parent.short_xattr(name, &xattr))
            .map_err(|error| Error::system("looking at it below", error).at_entry(path))?;
        match value {
            None => Ok(()),
            Some(_) => Err(
                Error::refused(format!("a directory below has the mark {xattr} on it"))
                    .at_entry(path)
                    .hint("give image layers with --lower, not the upperdir of another mount"),
            ),
        }
    }

    /// The names that show in a directory.
    pub fn names(&self, path: &EntryPath) -> Result<BTreeSet<Box<[u8]>>> {
        self.view.names(path)
    }

    /// The attributes of a directory that shows.
    pub fn directory_meta(&self, path: &EntryPath) -> Result<Meta> {
        match &*self.view.lookup(path)? {
            Found::Directory(merged) => self.view.directory_meta(path, merged),
            _ => Err(Error::conflict("it went away while it was read").at_entry(path)),
        }
    }

    /// What shows at a path and is no directory: calls back with its directory, its name in it,
    /// and what it is. `None` if nothing of that kind shows.
    pub fn leaf<T>(
        &self,
        path: &EntryPath,
        look: impl FnOnce(&Dir, &[u8], &Leaf) -> Result<T>,
    ) -> Result<Option<T>> {
        let found = self.view.lookup(path)?;
        let (Found::Leaf(leaf), Some((parent, name))) = (&*found, path.split()) else {
            return Ok(None);
        };
        self.refuse_mark(leaf.layer, path, "metacopy")?;
        let directory = self
            .view
            .layer(leaf.layer)
            .open_beneath(&parent)
            .map_err(|error| Error::system("opening its directory below", error).at_entry(path))?;
        look(&directory, name, leaf).map(Some)
    }

    /// Every path at which the inode of what shows at a path shows.
    pub fn names_of_inode(&self, path: &EntryPath) -> Result<Vec<EntryPath>> {
        match &*self.view.lookup(path)? {
            Found::Leaf(leaf) if leaf.stat.st_nlink > 1 => self.view.names_of_inode(leaf),
            _ => Ok(Vec::new()),
        }
    }

    /// The regular file that shows at a path, if one does.
    pub fn file(&self, path: &EntryPath) -> Result<Option<File>> {
        let open = |directory: &Dir, name: &[u8], leaf: &Leaf| {
            if leaf.file_type() != FileType::RegularFile {
                return Ok(None);
            }
            let file = directory.open_file(&EntryPath::root().join(name)?);
            file.map(Some)
                .map_err(|error| Error::system("opening the file below", error).at_entry(path))
        };
        Ok(self.leaf(path, open)?.flatten())
    }
}
