//! `LowerView`: what a stack of finished layer directories shows, name by name, as overlayfs
//! would merge them; and [`Below`], the same once a layer's own deletions are taken away.
//!
//! [`crate::unpack::settle`] asks it about directories and deleted names, the second pass of
//! [`crate::unpack`] about symbolic links and files. It reads and never writes.
//! Source: kernel `Documentation/filesystems/overlayfs.rst`, "Directories" and "whiteouts and
//! opaque directories".

mod open_dirs;

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, Result};
use crate::fs::root::{self, Dir};
use crate::layer::below::Below;
use crate::layer::lower::{self, Lower};
use crate::layer::tree::Kind;
use crate::meta::{Device, Meta};
use crate::overlay::dialect::{self, Dialect, Namespace, Whiteout};
use crate::path::EntryPath;

use open_dirs::OpenDirs;

/// The layers below, merged.
pub struct LowerView {
    /// Topmost first.
    layers: Vec<Arc<Dir>>,
    dialect: Dialect,
    /// Directories that were looked up before: neighbours share their ancestors.
    seen: RefCell<BTreeMap<EntryPath, Rc<Found>>>,
    /// Some of them, open.
    open: RefCell<OpenDirs>,
    /// The names of inodes that have several, of layers that were asked for them.
    linked: RefCell<BTreeMap<usize, Linked>>,
    handles: RefCell<Vec<EntryPath>>,
}

/// Inodes of one layer, by their numbers, with all their names in order.
type Linked = HashMap<u64, Vec<EntryPath>>;

/// What a path is in the merged layers.
pub enum Found {
    /// Nothing, or deleted.
    Absent,
    /// A directory, merged from these layers, topmost first.
    Directory(Vec<usize>),
    /// Anything else.
    Leaf(Leaf),
}

/// Something below that is no directory.
pub struct Leaf {
    /// Which layer holds it, counted from the topmost.
    pub layer: usize,
    /// What it is.
    pub stat: Stat,
}

impl Leaf {
    /// Its type.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Errors ([`Kind::Unsupported`](crate::Kind::Unsupported)): the marks of layer directories and upperdirs in this
/// namespace do not show to the caller, who would take what is deleted for what is there.
pub fn check_marks_show(namespace: Namespace) -> Result<()> {
    if namespace == Namespace::User || root::sees_trusted_xattrs() {
        return Ok(());
    }
    let text =
        "its marks are trusted.overlay.* xattrs, which the kernel shows only to CAP_SYS_ADMIN";
    Err(Error::unsupported(text)
        .hint("run it as root; without, --userxattr (`convert`: --from user) reads a directory that has user.overlay.* xattrs, or no marks"))
}

impl LowerView {
    /// Takes finished layer directories, topmost first, all of one dialect.
    pub fn new(layers: Vec<Arc<Dir>>, dialect: Dialect) -> LowerView {
        LowerView {
            layers,
            dialect,
            seen: RefCell::default(),
            open: RefCell::default(),
            linked: RefCell::default(),
            handles: RefCell::new(vec![EntryPath::root()]),
        }
    }

    /// The directory of one layer, counted from the topmost.
    pub fn layer(&self, index: usize) -> &Dir {
        &self.layers[index]
    }

    /// What a path is. Symbolic links on the way are not followed: what is behind one is absent.
    pub fn lookup(&self, path: &EntryPath) -> Result<Rc<Found>> {
        if let Some(found) = self.seen.borrow().get(path) {
            return Ok(Rc::clone(found));
        }
        let found = match path.split() {
            None => Found::Directory((0..self.layers.len()).collect()),
            Some((parent, name)) => match &*self.lookup(&parent)? {
                Found::Directory(layers) => self
                    .merge(layers, &parent, name)
                    .map_err(|error| looking_below(path, error))?,
                _ => Found::Absent,
            },
        };
        let found = Rc::new(found);
        if matches!(*found, Found::Directory(_)) {
            self.seen.borrow_mut().insert(path.clone(), found.clone());
        }
        Ok(found)
    }

    fn open(&self, layer: usize, path: &EntryPath) -> io::Result<Rc<Dir>> {
        let open = || self.layers[layer].open_beneath(path);
        self.open.borrow_mut().get(layer, path, open)
    }

    /// One name in a merged directory: the topmost layer that says anything decides, and
    /// directories go on downwards until something stops them.
    fn merge(&self, layers: &[usize], parent: &EntryPath, name: &[u8]) -> io::Result<Found> {
        let mut merged = Vec::new();
        for &layer in layers {
            let directory = self.open(layer, parent)?;
            let Some(stat) = directory.stat(name)? else {
                continue;
            };
            if is_directory(&stat) {
                merged.push(layer);
                if self.is_opaque(&directory, name)? {
                    break;
                }
            } else if merged.is_empty() && !self.is_whiteout(&directory, name, &stat)? {
                return Ok(Found::Leaf(Leaf { layer, stat }));
            } else {
                break;
            }
        }
        Ok(match merged.is_empty() {
            true => Found::Absent,
            false => Found::Directory(merged),
        })
    }

    fn is_opaque(&self, directory: &Dir, name: &[u8]) -> io::Result<bool> {
        let value = directory.short_xattr(name, self.dialect.opaque_xattr())?;
        Ok(value.as_deref() == Some(dialect::OPAQUE))
    }

    fn is_whiteout(&self, directory: &Dir, name: &[u8], stat: &Stat) -> io::Result<bool> {
        let (kind, number) = (FileType::from_raw_mode(stat.st_mode), stat.st_rdev);
        let zero = rustix::fs::makedev(Device::WHITEOUT.major, Device::WHITEOUT.minor);
        if kind == FileType::CharacterDevice && number == zero {
            return Ok(true);
        }
        if self.dialect.whiteout == Whiteout::Device
            || kind != FileType::RegularFile
            || stat.st_size != 0
        {
            return Ok(false);
        }
        let mark = directory.short_xattr(name, self.dialect.whiteout_xattr())?;
        Ok(mark.is_some())
    }

    /// The names that a merged directory shows, with no deleted ones.
    pub fn names(&self, path: &EntryPath) -> Result<BTreeSet<Box<[u8]>>> {
        let mut names = BTreeSet::new();
        if let Found::Directory(layers) = &*self.lookup(path)? {
            for &layer in layers {
                let listed = self
                    .open(layer, path)
                    .and_then(|directory| directory.names())
                    .map_err(|error| looking_below(path, error))?;
                names.extend(listed);
            }
        }
        let mut shown = BTreeSet::new();
        for name in names {
            if !matches!(*self.lookup(&path.join(&name)?)?, Found::Absent) {
                shown.insert(name);
            }
        }
        Ok(shown)
    }

    /// The attributes that a merged directory shows: those of its topmost layer, without
    /// overlayfs's own marks.
    pub fn directory_meta(&self, path: &EntryPath, layers: &[usize]) -> Result<Meta> {
        let read = || {
            let directory = self.open(layers[0], path)?;
            self.meta(&directory, b".", &directory.stat_self()?)
        };
        read().map_err(|error| looking_below(path, error))
    }

    /// The attributes of a leaf.
    pub fn leaf_meta(&self, path: &EntryPath, leaf: &Leaf) -> Result<Meta> {
        let (parent, name) = path.split().expect("a leaf is never the root");
        let read = || {
            let directory = self.open(leaf.layer, &parent)?;
            self.meta(&directory, name, &leaf.stat)
        };
        read().map_err(|error| looking_below(path, error))
    }

    fn meta(&self, directory: &Dir, name: &[u8], stat: &Stat) -> io::Result<Meta> {
        let mut xattrs = directory.xattrs(name)?;
        // A label belongs to the system that the layer lies on, not to the layer (rule X2).
        xattrs.retain(|xattr| {
            !self.dialect.is_order(&xattr.name) && &*xattr.name != b"security.selinux"
        });
        Ok(root::attributes(stat, xattrs))
    }

    /// The target of a symbolic link that [`lookup`](LowerView::lookup) found.
    pub fn read_link(&self, path: &EntryPath, leaf: &Leaf) -> Result<Vec<u8>> {
        let (parent, name) = path.split().expect("a leaf is never the root");
        self.open(leaf.layer, &parent)
            .and_then(|directory| directory.read_link(name))
            .map_err(|error| looking_below(path, error))
    }

    /// All paths that show the inode of a leaf, its own among them. The first call walks that
    /// layer's whole directory, so it is for the rare leaf that has several names.
    pub fn names_of_inode(&self, leaf: &Leaf) -> Result<Vec<EntryPath>> {
        let mut linked = self.linked.borrow_mut();
        let names = match linked.entry(leaf.layer) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(linked_names(&self.layers[leaf.layer])?),
        };
        let mut shown = Vec::new();
        for path in names.get(&leaf.stat.st_ino).into_iter().flatten() {
            if let Found::Leaf(found) = &*self.lookup(path)?
                && found.layer == leaf.layer
            {
                shown.push(path.clone());
            }
        }
        Ok(shown)
    }
}

fn linked_names(top: &Dir) -> Result<Linked> {
    let mut linked = Linked::new();
    let mut todo = vec![EntryPath::root()];
    while let Some(path) = todo.pop() {
        let fail = |error| looking_below(&path, error);
        let directory = top.open_beneath(&path).map_err(fail)?;
        for name in directory.names().map_err(fail)? {
            match directory.stat(&name).map_err(fail)? {
                Some(stat) if is_directory(&stat) => todo.push(path.join(&name)?),
                Some(stat) if stat.st_nlink > 1 => {
                    let names = linked.entry(stat.st_ino).or_default();
                    names.push(path.join(&name)?);
                }
                _ => {}
            }
        }
    }
    linked.values_mut().for_each(|names| names.sort_unstable());
    Ok(linked)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn looking_below(path: &EntryPath, error: io::Error) -> Error {
    Error::system("looking it up in the layers below", error).at_entry(path)
}

/// The layers below, with a layer's markers applied; `None`: nothing is known of them.
pub type LayersBelow = Below<Option<LowerView>>;

/// A directory that a view found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(usize);

impl LowerView {
    fn path(&self, directory: Handle) -> EntryPath {
        self.handles.borrow()[directory.0].clone()
    }

    /// Opens a file that was found.
    pub fn open_leaf(&self, directory: Handle, name: &[u8]) -> io::Result<std::fs::File> {
        let path = self.path(directory).join(name).map_err(io::Error::from)?;
        match &*self.lookup(&path).map_err(io::Error::other)? {
            Found::Leaf(leaf) => self.layers[leaf.layer].open_file(&path),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Lower for LowerView {
    type Directory = Handle;

    fn root(&self) -> lower::Found<Handle> {
        lower::Found::Directory(Handle(0))
    }

    fn lookup(&self, directory: Handle, name: &[u8]) -> Result<lower::Found<Handle>> {
        let path = self.path(directory).join(name)?;
        Ok(match &*LowerView::lookup(self, &path)? {
            Found::Absent => lower::Found::Absent,
            Found::Directory(_) => {
                let mut handles = self.handles.borrow_mut();
                handles.push(path);
                lower::Found::Directory(Handle(handles.len() - 1))
            }
            Found::Leaf(leaf) if leaf.file_type() == FileType::Symlink => lower::Found::Symlink,
            Found::Leaf(_) => lower::Found::Other,
        })
    }

    fn names(&self, directory: Handle) -> Result<Vec<Box<[u8]>>> {
        Ok(LowerView::names(self, &self.path(directory))?
            .into_iter()
            .collect())
    }

    fn directory_meta(&self, directory: Handle) -> Result<Option<Meta>> {
        let path = self.path(directory);
        match &*LowerView::lookup(self, &path)? {
            Found::Directory(layers) if !layers.is_empty() => {
                let mut meta = LowerView::directory_meta(self, &path, layers)?;
                meta.xattrs = self.dialect.shown(meta.xattrs, false);
                Ok(Some(meta))
            }
            _ => Ok(None),
        }
    }

    fn read_link(&self, directory: Handle, name: &[u8]) -> Result<Box<[u8]>> {
        let path = self.path(directory).join(name)?;
        match &*LowerView::lookup(self, &path)? {
            Found::Leaf(leaf) => Ok(LowerView::read_link(self, &path, leaf)?.into()),
            _ => Ok(Box::default()),
        }
    }

    fn leaf(&self, directory: Handle, name: &[u8]) -> Result<lower::Leaf> {
        let path = self.path(directory).join(name)?;
        let found = LowerView::lookup(self, &path)?;
        let Found::Leaf(leaf) = &*found else {
            return Err(Error::refused("it went away"));
        };
        let mut meta = self.leaf_meta(&path, leaf)?;
        meta.xattrs = self.dialect.shown(meta.xattrs, false);
        let device = root::device(&leaf.stat);
        let (size, content) = (leaf.stat.st_size as u64, None);
        let kind = match leaf.file_type() {
            FileType::RegularFile => Kind::File { size, content },
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice(device),
            FileType::BlockDevice => Kind::BlockDevice(device),
            _ => return Err(Error::refused("a hard link to a socket of a lower layer")),
        };
        let bytes = size.min(leaf.stat.st_blocks as u64 * 512);
        Ok(lower::Leaf { kind, meta, bytes })
    }

    fn names_of_inode(&self, directory: Handle, name: &[u8]) -> Result<Vec<EntryPath>> {
        let path = self.path(directory).join(name)?;
        match &*LowerView::lookup(self, &path)? {
            Found::Leaf(leaf) if leaf.stat.st_nlink > 1 => LowerView::names_of_inode(self, leaf),
            _ => Ok(vec![path]),
        }
    }
}
