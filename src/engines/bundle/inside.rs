//! `Inside`: looks up paths in the layers of an image as a process in the container would: symbolic links
//! are followed inside the image's root. It never writes to the layers.

use std::io::Read;
use std::sync::Arc;

use rustix::fs::FileType;

use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::ids::IdMaps;
use crate::layer::walk::{PathWalk, Steps};
use crate::meta::Meta;
use crate::overlay::dialect::Dialect;
use crate::overlay::lower::{Found, LowerView, check_marks_show};
use crate::path::{EntryPath, display};
use crate::store::StoredLayer;
use crate::unpack::{Fresh, Inode, Options, Report, apply};

/// The largest file of users or groups to read, in bytes.
const FILE_MAX: u64 = 16 << 20;

/// What is at a path.
pub enum Place {
    /// Nothing, at this path.
    Absent(EntryPath),
    /// A directory.
    Directory(EntryPath),
    /// Anything else, and the layer that holds it, counted from the topmost.
    Leaf(EntryPath, usize, FileType),
}

pub struct Inside {
    view: LowerView,
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
            view: LowerView::new(directories.collect(), dialect),
        })
    }

    /// Errors: a loop of symbolic links.
    pub fn find(&self, path: &EntryPath) -> Result<Place> {
        self.go(PathWalk::new((), path), path.as_bytes())
    }

    /// The same for a path from the image's config, perhaps with `..`. Errors: also, a component is too
    /// long.
    pub fn find_text(&self, text: &str) -> Result<Place> {
        let mut walk = PathWalk::new((), &EntryPath::root());
        // One step cannot be too many.
        let _ = walk.follow(text.as_bytes(), &mut Steps::default());
        self.go(walk, text.as_bytes())
    }

    fn go(&self, mut walk: PathWalk<()>, path: &[u8]) -> Result<Place> {
        let mut steps = Steps::default();
        while let Some(name) = walk.next_name() {
            let next = walk.path().join(&name)?;
            match &*self.view.lookup(&next)? {
                Found::Directory(_) | Found::Absent => walk.enter(name, ())?,
                Found::Leaf(leaf) if leaf.file_type() == FileType::Symlink => {
                    if !walk.follow(&self.view.read_link(&next, leaf)?, &mut steps)? {
                        let why = "a loop of symbolic links in the image";
                        return Err(Error::refused(why).at_entry(display(path)));
                    }
                }
                Found::Leaf(leaf) => {
                    let (layer, kind) = (leaf.layer, leaf.file_type());
                    return match walk.next_name() {
                        None => Ok(Place::Leaf(next, layer, kind)),
                        Some(_) => {
                            let why = format!("{next} of the image is not a directory");
                            Err(Error::refused(why).at_entry(display(path)))
                        }
                    };
                }
            }
        }
        let end = walk.path();
        Ok(match &*self.view.lookup(&end)? {
            Found::Directory(_) => Place::Directory(end),
            _ => Place::Absent(end),
        })
    }

    /// The content of a file; `None` if it does not exist. Errors: it is not a regular file, or is too
    /// large.
    pub fn read(&self, path: &EntryPath) -> Result<Option<Vec<u8>>> {
        let (place, layer) = match self.find(path)? {
            Place::Leaf(place, layer, FileType::RegularFile) => (place, layer),
            Place::Absent(_) => return Ok(None),
            _ => return Err(Error::refused("it is not a regular file").at_entry(path)),
        };
        let mut bytes = Vec::new();
        let file = self.view.layer(layer).open_file(&place);
        file.and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| Error::system("reading it in the store", error).at_entry(path))?;
        match bytes.len() as u64 > FILE_MAX {
            true => Err(Error::limit("it is larger than 16 MiB").at_entry(path)),
            false => Ok(Some(bytes)),
        }
    }

    /// The attributes of a directory that [`find`](Inside::find) found.
    pub fn attributes(&self, place: &EntryPath) -> Result<Option<Meta>> {
        match &*self.view.lookup(place)? {
            Found::Directory(layers) if !layers.is_empty() => {
                self.view.directory_meta(place, layers).map(Some)
            }
            _ => Ok(None),
        }
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
        let inode = Inode::Open(directory.as_fd());
        let (fresh, mut report) = (Fresh::default(), Report::default());
        apply(&inode, &meta, place, options, fresh, &mut report)
    }
}
