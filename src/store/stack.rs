//! `Stack`: layer directories in order, and how a mount option spells them.
//!
//! Source: kernel `Documentation/filesystems/overlayfs.rst`, "Multiple lower layers". Pure.
//! [`crate::mount`] mounts it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::dialect::{Dialect, Namespace};
use crate::error::Result;
use crate::ids::IdMaps;
use crate::image::Image;
use crate::limits::check_layers;
use crate::unpack::Options;

use super::{Store, StoredLayer};

/// How much of an option string `mount(2)` copies, in bytes, including its NUL.
pub const PAGE: usize = 4096;

/// Layer directories that form one tree.
///
/// ```
/// use lowerdir::{Image, Options, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let image = Image::open(&lowerdir::Reference::parse(&archive)?)?;
/// # let store = Store::open(place.path().join("store"))?;
/// # let options = Options::rootless(store.path())?;
/// # store.unpack(&image).options(options).run()?;
///
/// let stack = store.stack(&image)?;
/// // For `mount -t overlay -o lowerdir=...`; `Stack::mount` mounts it at once.
/// let lowerdir = stack.lowerdir().into_string().expect("the store's path is UTF-8");
/// assert_eq!(lowerdir.split(':').count(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    /// Topmost first.
    directories: Vec<PathBuf>,
    dialect: Dialect,
    ids: IdMaps,
    stores: Vec<PathBuf>,
}

impl Stack {
    /// From layer directories, topmost first. Without an upperdir overlayfs needs two, and they must
    /// differ: if there are fewer, the `empty` ones are added at the bottom.
    ///
    /// Errors: more than the kernel supports ([`Kind::Limit`](crate::Kind::Limit)).
    pub fn new(
        mut directories: Vec<PathBuf>,
        empty: [PathBuf; 2],
        dialect: Dialect,
    ) -> Result<Stack> {
        check_layers(directories.len())?;
        let lacking = 2usize.saturating_sub(directories.len());
        directories.extend(empty.into_iter().take(lacking));
        Ok(Stack {
            directories,
            dialect,
            ids: IdMaps::default(),
            stores: Vec::new(),
        })
    }

    /// The same with one more directory on top. Errors: as for [`Stack::new`].
    pub fn with_top(&self, directory: PathBuf) -> Result<Stack> {
        let directories = [directory].into_iter().chain(self.directories.clone());
        let stack = Stack::new(directories.collect(), Default::default(), self.dialect)?;
        Ok(Stack {
            ids: self.ids.clone(),
            stores: self.stores.clone(),
            ..stack
        })
    }

    /// From layers of a store, topmost first, which were unpacked with these options.
    pub(crate) fn in_store(
        directories: Vec<PathBuf>,
        options: &Options,
        store: &Store,
    ) -> Result<Stack> {
        let stack = Stack::new(directories, store.empty_directories(), options.dialect)?;
        Ok(Stack {
            ids: options.ids.clone(),
            stores: store.each().map(|store| store.path().into()).collect(),
            ..stack
        })
    }

    /// The directories, topmost first.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The stores that the layers are in, as [`Store::each`] lists them; none if the stack was made of
    /// other directories.
    pub fn stores(&self) -> &[PathBuf] {
        &self.stores
    }

    /// How the layers were translated.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The id maps that the layers were unpacked with.
    pub fn ids(&self) -> &IdMaps {
        &self.ids
    }

    /// Whether the mount needs the option `userxattr`.
    pub fn needs_userxattr(&self) -> bool {
        self.dialect.namespace == Namespace::User
    }

    /// The value of `lowerdir=`: joined by colons, with colons, commas and backslashes escaped.
    pub fn lowerdir(&self) -> OsString {
        let names: Vec<OsString> = self
            .directories
            .iter()
            .map(|directory| escaped(directory.as_os_str()))
            .collect();
        names.join(OsStr::new(":"))
    }
}

impl Store {
    /// The stack of an image whose layers are all in the store. Errors: one is missing
    /// ([`Kind::NotFound`](crate::Kind::NotFound)), or is not a tar archive, by its media type
    /// ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn stack(&self, image: &Image) -> Result<Stack> {
        self.stack_of(&self.layers_of(image)?)
    }

    /// The stack of these layers, lowest first.
    pub(crate) fn stack_of(&self, layers: &[StoredLayer]) -> Result<Stack> {
        let options = layers.last().map(|layer| layer.record.options.clone());
        let directories = layers.iter().rev().map(|layer| layer.path.clone());
        Stack::in_store(directories.collect(), &options.unwrap_or_default(), self)
    }
}

/// A path escaped for an option string: with a backslash before colons, commas and backslashes.
pub fn escaped(path: &OsStr) -> OsString {
    let mut text = Vec::new();
    for &byte in path.as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    OsString::from_vec(text)
}
