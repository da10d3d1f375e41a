//! Removing: an image with the layers that only it needs, or all layers that nothing needs.
//!
//! The command line's `rm` and `prune` call it. It never removes a layer that an image of the store,
//! a pin, or an overlay mount, in whatever mount namespace, still needs; it decides while nobody else
//! uses the store, so that no layer becomes needed meanwhile.

mod in_use;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::progress::{Progress, Silent};
use crate::setters::setters;
use crate::store::{Hold, Store, Sync};

pub use in_use::InUse;

/// What was removed, or would be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Removal {
    /// The image that was forgotten.
    pub image: Option<Digest>,
    /// The chain IDs of the layers, sorted.
    pub layers: BTreeSet<Digest>,
    /// The bytes of content that they were unpacked from, where that is known.
    pub bytes: u64,
    /// Layers that no image needs but a mount does, with where it is mounted.
    pub mounted: BTreeMap<Digest, String>,
    /// Layers that no image needs but a pin does, with who needs them.
    pub pinned: BTreeMap<Digest, String>,
    /// Why nobody knows which layers the image needs: its record is damaged. [`prune`] removes
    /// them once no other record is.
    pub damage: Option<String>,
}

/// How a removal goes about it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Removing<'a> {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// When it counts as done.
    pub sync: Sync,
    /// Who is told of waiting, and may cancel.
    pub progress: &'a dyn Progress,
}

impl Default for Removing<'_> {
    /// At once, durably, in silence.
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

/// Forgets an image, and removes the layers that no other image needs. Stores that are only read
/// beside this one stay as they are.
///
/// Errors: the store can only be read; no such image ([`Kind::NotFound`](crate::Kind::NotFound)); one of those layers is
/// mounted; the record of another image is damaged, so that nobody knows what it needs.
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
    let hold = store.hold_alone(how.progress)?;
    let found = store.find_image(wanted)?;
    let digest = found.ok_or_else(|| no_such_image(store, wanted))?;
    let mut removal = match store.image(&digest) {
        Ok(image) => {
            let needed = needed(store, Some(&digest))?;
            let layers = BTreeSet::from_iter(image.layers);
            look(store, layers.difference(&needed).cloned().collect())?
        }
        // What the system did not let us read may be whole.
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(error) => {
            let mut nothing = look(store, BTreeSet::new())?;
            nothing.damage = Some(error.reason());
            nothing
        }
    };
    if let Some((layer, mount)) = removal.mounted.pop_first() {
        let text = format!("layer {} is in use by {mount}", layer.short());
        return Err(Error::conflict(text).hint("unmount it first: see `lowerdir umount`"));
    }
    if !how.dry_run {
        // The image goes first: layers of no image can be found again, an image without them not.
        store.forget_image(&digest, how.sync)?;
    }
    removal.image = Some(digest);
    remove(store, removal, hold, how)
}

fn no_such_image(store: &Store, wanted: &str) -> Error {
    let has_it = |other: &&Store| matches!(other.find_image(wanted), Ok(Some(_)));
    match store.each().find(has_it) {
        Some(other) => {
            let path = other.path().display();
            Error::conflict(format!(
                "{wanted} is in the store {path}, which is only read"
            ))
            .hint("--store with that directory alone removes it, if it can be written to")
        }
        None => Error::not_found(format!("no image in the store is named {wanted}"))
            .hint("`lowerdir images` lists them"),
    }
}

/// Removes the layers that no image, pin or mount needs. Errors: the store can only be read; the
/// record of an image or a pin is damaged, so that nobody knows what it needs.
pub fn prune(store: &Store, how: Removing<'_>) -> Result<Removal> {
    store.check_writable()?;
    let hold = store.hold_alone(how.progress)?;
    let needed = needed(store, None)?;
    let loose = store.layers()?.difference(&needed).cloned().collect();
    let removal = look(store, loose)?;
    remove(store, removal, hold, how)
}

fn remove(store: &Store, removal: Removal, hold: Hold, how: Removing<'_>) -> Result<Removal> {
    if !how.dry_run {
        store.remove_layers(&removal.layers, hold, how.sync)?;
    }
    Ok(removal)
}

/// The layers that the images of the store need, but for one image; and those that images of the
/// others need, as far as these can be read: their layers are with them.
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

/// `None` for what is damaged, or not for the caller to read. Errors: the system could not look.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.is_system_fault() && !error.is_denied() => Err(error),
        Err(_) => Ok(None),
    }
}

/// The layers that pins need, each with one of those who need it.
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

/// Divides layers that no image needs into those that a pin or a mount needs, and the rest.
fn look(store: &Store, layers: BTreeSet<Digest>) -> Result<Removal> {
    let (in_use, pinned) = (InUse::now(store)?, pinned(store)?);
    let mut removal = Removal {
        image: None,
        layers: BTreeSet::new(),
        bytes: 0,
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
