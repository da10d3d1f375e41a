//! `Inside`: looks up paths in the layers of an image as a process in the container would: symbolic links
//! are followed inside the image's root. It never writes to the layers.

use std::io::Read;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::ids::IdMaps;
use crate::layer::lower::Lower;
use crate::layer::walk::{PathWalk, Steps};
use crate::meta::{Meta, is_label};
use crate::overlay::inspect::check_marks_show;
use crate::overlay::merged_view::{DirectoryId, MergedView, Seen};
use crate::path::{EntryPath, display};
use crate::store::StoredLayer;
use crate::unpack::{Fresh, InodeRef, Options, Report, apply};

/// The largest file of users or groups to read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// What is at a path.
pub enum Lookup {
    /// Nothing, at this path.
    Absent(EntryPath),
    /// A directory.
    Directory(EntryPath),
    /// Something else.
    Leaf(EntryPath, FileType),
}

pub struct Inside {
    view: MergedView,
    dialect: Dialect,
}

impl Inside {
    /// Opens layers, lowest first.
    ///
    /// Errors: the caller cannot read their marks.
    pub fn open(layers: &[StoredLayer], dialect: Dialect) -> Result<Inside> {
        check_marks_show(dialect.namespace)?;
        let directories = layers.iter().rev();
        let directories = directories.map(|layer| Arc::clone(&layer.directory));
        Ok(Inside {
            view: MergedView::of_layers(directories, dialect.namespace),
            dialect,
        })
    }

    /// Errors: a loop of symbolic links.
    pub fn find(&self, path: &EntryPath) -> Result<Lookup> {
        self.go(
            PathWalk::new(Some(DirectoryId::ROOT), path),
            path.as_bytes(),
        )
    }

    /// The same for a path from the image's config, perhaps with `..`. Errors: also, a component is too
    /// long.
    pub fn find_text(&self, text: &str) -> Result<Lookup> {
        let mut walk = PathWalk::new(Some(DirectoryId::ROOT), &EntryPath::root());
        // One step cannot be too many.
        let _ = walk.follow(text.as_bytes(), &mut Steps::default());
        self.go(walk, text.as_bytes())
    }

    fn go(&self, mut walk: PathWalk<Option<DirectoryId>>, path: &[u8]) -> Result<Lookup> {
        let mut steps = Steps::default();
        while let Some(name) = walk.next_name() {
            // What is below something absent is absent.
            let Some(here) = walk.here() else {
                walk.enter(name, None)?;
                continue;
            };
            let kind = match self.view.see(here, &name)? {
                Seen::Directory(directory) => {
                    walk.enter(name, Some(directory))?;
                    continue;
                }
                Seen::Absent => {
                    walk.enter(name, None)?;
                    continue;
                }
                Seen::Leaf(_, stat) => FileType::from_raw_mode(stat.st_mode),
            };
            if kind == FileType::Symlink {
                if !walk.follow(&self.view.read_link(here, &name)?, &mut steps)? {
                    let why = "a loop of symbolic links in the image";
                    return Err(Error::refused(why).at_entry(display(path)));
                }
                continue;
            }
            let place = walk.path().join(&name)?;
            return match walk.next_name() {
                None => Ok(Lookup::Leaf(place, kind)),
                Some(_) => {
                    let why = format!("{place} of the image is not a directory");
                    Err(Error::refused(why).at_entry(display(path)))
                }
            };
        }
        Ok(match walk.here() {
            Some(_) => Lookup::Directory(walk.path()),
            None => Lookup::Absent(walk.path()),
        })
    }

    /// The content of a file; `None` if it does not exist. Errors: it is not a regular file, or is too
    /// large.
    pub fn read(&self, path: &EntryPath) -> Result<Option<Vec<u8>>> {
        let place = match self.find(path)? {
            Lookup::Leaf(place, FileType::RegularFile) => place,
            Lookup::Absent(_) => return Ok(None),
            _ => return Err(Error::refused("it is not a regular file").at_entry(path)),
        };
        let (parent, _) = self.view.see_path(&place)?;
        let file = self.view.open_leaf(parent, place.name())?;
        let mut bytes = Vec::new();
        file.take(FILE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::system("reading it in the store", error).at_entry(path))?;
        match bytes.len() as u64 > FILE_MAX {
            true => Err(Error::limit("it is larger than 16 MiB").at_entry(path)),
            false => Ok(Some(bytes)),
        }
    }

    /// The attributes of a directory that [`find`](Inside::find) found, as a layer above it must have them
    /// on disk: what looks like a mark of overlayfs's stays escaped (rule X1).
    pub fn attributes(&self, place: &EntryPath) -> Result<Option<Meta>> {
        let Some(directory) = self.view.directory(place)? else {
            return Ok(None);
        };
        let mut meta = self.view.directory_meta_on_disk(directory)?;
        if let Some(meta) = &mut meta {
            // A label belongs to the system that the layer lies on, not to the layer (rule X2).
            meta.xattrs
                .retain(|xattr| !self.dialect.is_order(&xattr.name) && !is_label(&xattr.name));
        }
        Ok(meta)
    }

    /// Gives a directory the attributes that the image has at a path (rule I2 if it has none), with owners
    /// mapped.
    pub fn describe(
        &self,
        place: &EntryPath,
        directory: &Dir,
        options: &Options,
        shown: &IdMaps,
    ) -> Result<()> {
        use std::os::fd::AsFd;
        let mut meta = match self.attributes(place)? {
            Some(meta) => meta,
            None => options.implied_meta()?,
        };
        shown
            .map(&mut meta)
            .map_err(|error| error.at_entry(place))?;
        let inode = InodeRef::Open(directory.as_fd());
        let (fresh, mut report) = (Fresh::default(), Report::default());
        apply(&inode, &meta, place, options, fresh, &mut report)
    }
}
