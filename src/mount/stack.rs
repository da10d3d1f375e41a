//! `Stack`: layer directories in order, and how a mount option spells them.
//!
//! Source: kernel `Documentation/filesystems/overlayfs.rst`, "Multiple lower layers". Pure.
//! [`crate::mount`] mounts it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::error::Result;
use crate::ids::IdMaps;
use crate::limits::check_layers;
use crate::overlay::dialect::{Dialect, Namespace};
use crate::store::{Store, StoredLayer};

pub use crate::limits::MAX_LAYERS;

/// How much of an option string `mount(2)` copies, in bytes, including its NUL.
pub const PAGE: usize = 4096;

/// Layer directories that form one tree.
///
/// ```
/// use lowerdir::store::pipeline::stored_layers;
/// use lowerdir::{Image, Options, Reference, Run, Stack, Store, unpack_image};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let options = Options {
/// #     dialect: lowerdir::overlay::dialect::Dialect {
/// #         namespace: lowerdir::overlay::dialect::Namespace::User,
/// #         ..Default::default()
/// #     },
/// #     owners: lowerdir::Owners::Caller,
/// #     ..Options::default()
/// # };
/// # let image = Image::open(&Reference::parse(archive.as_os_str())?, None)?;
/// # let store = Store::open(&directory)?;
/// # unpack_image(&image, &store, &options, Run::default())?;
///
/// let layers = stored_layers(&image, &store)?;
/// let directories = layers.into_iter().rev().map(|layer| layer.path).collect();
/// let stack = Stack::new(directories, store.empty_directories(), options.dialect)?;
///
/// // For `mount -t overlay -o lowerdir=...`; `lowerdir::mount::mount` takes the stack itself.
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
        })
    }

    /// From the layers of an image, lowest first, as
    /// [`stored_layers`](crate::store::pipeline::stored_layers) returns them. Errors: as for [`Stack::new`].
    pub fn of_layers(layers: &[StoredLayer], store: &Store) -> Result<Stack> {
        let options = layers.last().map(|layer| layer.record.options.clone());
        let options = options.unwrap_or_default();
        let directories = layers.iter().rev().map(|layer| layer.path.clone());
        let (directories, empty) = (directories.collect(), store.empty_directories());
        let mut stack = Stack::new(directories, empty, options.dialect)?;
        stack.ids = options.ids;
        Ok(stack)
    }

    /// The same with one more directory on top. Errors: as for [`Stack::new`].
    pub fn with_top(&self, directory: PathBuf) -> Result<Stack> {
        let directories = [directory].into_iter().chain(self.directories.clone());
        let mut stack = Stack::new(directories.collect(), Default::default(), self.dialect)?;
        stack.ids = self.ids.clone();
        Ok(stack)
    }

    /// The directories, topmost first.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
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
