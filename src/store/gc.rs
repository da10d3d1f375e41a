//! Garbage collection: removes an image with the layers that only it needs, or all layers that nothing
//! needs.
//!
//! Called for `rm` and `prune`. It never removes a layer that an image of the store, a pin, or an overlay
//! mount in any mount namespace still needs. It holds an exclusive lock on the store, so that no layer
//! becomes needed meanwhile.

mod in_use;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::error::{Advice, Error, Result};
use crate::image::names::closest;
use crate::progress::{Progress, Silent};
use crate::setters::setters;
use crate::store::{Store, StoreLock, Sync};

pub use in_use::InUse;

/// What was removed, or would be removed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Removal {
    /// The removed image.
    pub image: Option<Digest>,
    /// The name that was taken away from an image that has others, and stays.
    pub name: Option<String>,
    /// The chain IDs of the layers, sorted.
    pub layers: BTreeSet<Digest>,
    /// The total size of their files, as far as it is known, and of the downloads.
    pub bytes: u64,
    /// How many unfinished downloads were removed.
    pub downloads: u64,
    /// Layers that only a mount needs, with the mount point.
    pub mounted: BTreeMap<Digest, String>,
    /// Layers that only a pin needs, with its owner.
    pub pinned: BTreeMap<Digest, String>,
    /// Why it is not known which layers the image needs: its record is damaged. [`prune`] removes them
    /// once no other record is damaged.
    pub damage: Option<String>,
}

/// The options of a removal.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Removing<'a> {
    /// Remove nothing, and report what would be removed.
    pub dry_run: bool,
    /// Whether to wait for the disk.
    pub sync: Sync,
    /// Shows when it waits, and may cancel.
    pub progress: &'a dyn Progress,
}

impl Default for Removing<'_> {
    /// Removes, waits for the disk, and shows nothing.
    fn default() -> Self {
        Removing {
            dry_run: false,
            sync: Sync::default(),
            progress: &Silent,
        }
    }
}

impl<'a> Removing<'a> {
    setters! {
        dry_run: bool,
        sync: Sync,
        progress: &'a dyn Progress,
    }
}

/// Removes an image, and the layers that no other image needs. Of an image with several names, a name
/// removes only itself; its digest removes the image with all of them. Other stores that are only read do not
/// change.
///
/// Errors: the store can only be read; no such image ([`Kind::NotFound`](crate::Kind::NotFound)); one of
/// these layers is mounted; the record of another image is damaged, so that its layers are not known.
///
/// ```
/// use lowerdir::store::{Removing, prune, remove_image};
/// use lowerdir::{Image, Options, Reference, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let options = Options::rootless(place.path())?;
/// # let image = Image::open(&Reference::parse(&archive)?)?;
/// # let store = Store::open(&directory)?;
/// # store.unpack(&image).options(options).run()?;
///
/// let how = Removing::default();
/// let removal = remove_image(&store, &image.digest.to_string(), how)?;
///
/// assert_eq!(removal.layers.len(), 2);
/// assert!(store.layers()?.is_empty());
/// // Nothing is left that no image needs.
/// assert!(prune(&store, how)?.layers.is_empty());
/// # Ok(())
/// # }
/// ```
pub fn remove_image(store: &Store, wanted: &str, how: Removing<'_>) -> Result<Removal> {
    store.check_writable()?;
    let hold = store.lock_exclusive(how.progress)?;
    let found = store.look_up(wanted)?;
    let found = found.ok_or_else(|| no_such_image(store, wanted))?;
    let names = match found.name {
        Some(_) => store.names_of(&found.digest)?.len(),
        None => 0,
    };
    if let Some(name) = found.name.filter(|_| names > 1) {
        let removal = look(store, BTreeSet::new())?;
        if !how.dry_run {
            store.untag(&name, &found.digest, how.sync)?;
        }
        return Ok(Removal {
            name: Some(name),
            ..removal
        });
    }
    let digest = found.digest;
    let mut removal = match store.image(&digest) {
        Ok(image) => {
            let needed = needed(store, Some(&digest))?;
            let layers = BTreeSet::from_iter(image.layers);
            look(store, layers.difference(&needed).cloned().collect())?
        }
        // A record that the system could not read may be intact.
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(error) => {
            let mut nothing = look(store, BTreeSet::new())?;
            nothing.damage = Some(error.reason());
            nothing
        }
    };
    if let Some((layer, mount)) = removal.mounted.pop_first() {
        let text = format!("layer {} is in use by {mount}", layer.short());
        return Err(Error::conflict(text).hint(Advice::UnmountFirst));
    }
    if !how.dry_run {
        // The image goes first: `prune` finds layers without an image, but an image without layers is broken.
        store.forget_image(&digest, how.sync)?;
    }
    removal.image = Some(digest);
    remove(store, removal, hold, how)
}

impl Store {
    /// The image that a name or a digest leads to, as [`Store::find_image`] finds it. Errors: there is none
    /// ([`Kind::NotFound`](crate::Kind::NotFound)); it is in a store that is only read.
    pub fn require_image(&self, wanted: &str) -> Result<Digest> {
        let found = self.find_image(wanted)?;
        found.ok_or_else(|| no_such_image(self, wanted))
    }
}

/// The error for an image that is not in the store that is written to.
fn no_such_image(store: &Store, wanted: &str) -> Error {
    let has_it = |other: &&Store| matches!(other.find_image(wanted), Ok(Some(_)));
    match store.each().find(has_it) {
        Some(other) => {
            let path = other.path().display();
            Error::conflict(format!(
                "{wanted} is in the store {path}, which is only read"
            ))
            .hint(Advice::RemoveFromStore)
        }
        None => {
            let names = store.names().unwrap_or_default();
            let wanted = crate::path::display(wanted.as_bytes());
            let text = format!("no image in the store is named {wanted}");
            let error = Error::not_found(text);
            match closest(&wanted.to_string(), names.into_keys()) {
                Some(name) => error.hint(format!("did you mean {name}?")),
                None => error.hint(Advice::ListImages),
            }
        }
    }
}

/// Removes the layers that no image, pin or mount needs. Errors: the store can only be read; the record of
/// an image or a pin is damaged, so that its layers are not known.
pub fn prune(store: &Store, how: Removing<'_>) -> Result<Removal> {
    store.check_writable()?;
    let hold = store.lock_exclusive(how.progress)?;
    let needed = needed(store, None)?;
    if !how.dry_run {
        store.drop_loose_names(&store.lock_images()?, how.sync)?;
    }
    let loose = store.layers()?.difference(&needed).cloned().collect();
    let mut removal = look(store, loose)?;
    // Who fetches holds the store, too: nobody writes to them.
    let (downloads, bytes) = store.drop_downloads(how.dry_run)?;
    removal.downloads = downloads;
    removal.bytes += bytes;
    remove(store, removal, hold, how)
}

fn remove(store: &Store, removal: Removal, hold: StoreLock, how: Removing<'_>) -> Result<Removal> {
    if !how.dry_run {
        store.remove_layers(&removal.layers, hold, how.sync)?;
    }
    Ok(removal)
}

/// The layers that the images of the store need, except one image; and those that images of other stores
/// need, as far as these can be read.
fn needed(store: &Store, but: Option<&Digest>) -> Result<BTreeSet<Digest>> {
    let mut needed = BTreeSet::new();
    for digest in store.image_digests()? {
        if but != Some(&digest) {
            needed.extend(store.image(&digest)?.layers);
        }
    }
    for other in store.each().filter(|other| !std::ptr::eq(*other, store)) {
        for digest in readable(other.image_digests())?.unwrap_or_default() {
            let image = readable(other.image(&digest))?;
            needed.extend(image.into_iter().flat_map(|image| image.layers));
        }
    }
    Ok(needed)
}

/// `None` if it is damaged, or the caller may not read it. Errors: the system's.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_system_fault() && !error.is_denied() => Err(error),
        Err(_) => Ok(None),
    }
}

/// The layers that pins need, each with an owner of its pin.
fn pinned(store: &Store) -> Result<BTreeMap<Digest, String>> {
    let mut pinned = BTreeMap::new();
    for name in store.pin_names()? {
        let pin = store.pinned(&name)?;
        for layer in pin.layers {
            pinned.entry(layer).or_insert_with(|| pin.owner.clone());
        }
    }
    Ok(pinned)
}

/// Splits layers that no image needs into those that a pin or a mount needs, and the rest.
fn look(store: &Store, layers: BTreeSet<Digest>) -> Result<Removal> {
    let (in_use, pinned) = (InUse::now(store)?, pinned(store)?);
    let mut removal = Removal {
        image: None,
        name: None,
        layers: BTreeSet::new(),
        bytes: 0,
        downloads: 0,
        mounted: BTreeMap::new(),
        pinned: BTreeMap::new(),
        damage: None,
    };
    let there = store.layers()?;
    for layer in layers.intersection(&there).cloned() {
        if let Some(owner) = pinned.get(&layer) {
            removal.pinned.insert(layer, owner.clone());
            continue;
        }
        if let Some(mount) = in_use.of(&layer) {
            removal.mounted.insert(layer, mount.into());
            continue;
        }
        // A damaged layer can be removed like any other.
        if let Ok(Some(stored)) = store.own_layer(&layer) {
            removal.bytes += stored.record.report.bytes;
        }
        removal.layers.insert(layer);
    }
    Ok(removal)
}
