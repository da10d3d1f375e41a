//! Removing: an image with the layers that only it needs, or all layers that nothing needs.
//!
//! The command line's `rm` and `prune` call it. It never removes a layer that an image of the store
//! or an overlay mount, in whatever mount namespace, still needs; it decides while nobody else uses
//! the store, so that no layer becomes needed meanwhile.

mod in_use;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::pipeline::waiting;
use crate::progress::Progress;
use crate::store::{Hold, ImageRecord, Store, Sync};

pub use in_use::InUse;

/// What was removed, or would be.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The image that was forgotten.
    pub image: Option<ImageRecord>,
    /// The chain IDs of the layers, sorted.
    pub layers: BTreeSet<Digest>,
    /// The bytes of content that they were unpacked from, where that is known.
    pub bytes: u64,
    /// Layers that no image needs but a mount does, with where it is mounted.
    pub mounted: BTreeMap<Digest, String>,
}

/// How a removal goes about it.
#[derive(Clone, Copy)]
pub struct Removing<'a> {
    /// Only say what would be removed.
    pub dry_run: bool,
    /// When it counts as done.
    pub sync: Sync,
    /// Who is told of waiting, and may cancel.
    pub progress: &'a dyn Progress,
}

/// Forgets an image, and removes the layers that no other image needs.
///
/// Errors: no such image ([`Kind::NotFound`](crate::Kind::NotFound)); one of those layers is
/// mounted.
pub fn remove_image(store: &Store, wanted: &str, how: Removing<'_>) -> Result<Removal> {
    let hold = store.hold_alone(waiting(how.progress, || how.progress.waits_for_store()))?;
    let image = store.find_image(wanted)?.ok_or_else(|| {
        Error::not_found(format!("no image in the store is named {wanted}"))
            .hint("`lowerdir images` lists them")
    })?;
    let needed = needed(store, Some(&image))?;
    let only_here = chain_ids(&image)?.difference(&needed).cloned().collect();
    let mut removal = look(store, only_here)?;
    if let Some((layer, mount)) = removal.mounted.pop_first() {
        let text = format!("layer {} is in use by {mount}", layer.short());
        return Err(Error::in_the_way(text).hint("unmount it first: see `lowerdir umount`"));
    }
    if !how.dry_run {
        // The image goes first: layers of no image can be found again, an image without them not.
        store.forget_image(&image, how.sync)?;
    }
    removal.image = Some(image);
    remove(store, removal, hold, how)
}

/// Removes the layers that neither an image nor a mount needs.
pub fn prune(store: &Store, how: Removing<'_>) -> Result<Removal> {
    let hold = store.hold_alone(waiting(how.progress, || how.progress.waits_for_store()))?;
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

/// The layers that the images of the store need, but for one image.
fn needed(store: &Store, but: Option<&ImageRecord>) -> Result<BTreeSet<Digest>> {
    let mut needed = BTreeSet::new();
    for image in store.images()? {
        if but.is_none_or(|but| but.digest != image.digest) {
            needed.extend(chain_ids(&image)?);
        }
    }
    Ok(needed)
}

fn chain_ids(image: &ImageRecord) -> Result<BTreeSet<Digest>> {
    image.layers.iter().map(|id| Digest::parse(id)).collect()
}

/// Divides layers that no image needs into those that a mount needs, and the rest.
fn look(store: &Store, layers: BTreeSet<Digest>) -> Result<Removal> {
    let in_use = InUse::now(store)?;
    let mut removal = Removal {
        image: None,
        layers: BTreeSet::new(),
        bytes: 0,
        mounted: BTreeMap::new(),
    };
    let there = store.layers()?;
    for layer in layers.intersection(&there).cloned() {
        if let Some(mount) = in_use.of(&layer) {
            removal.mounted.insert(layer, mount.into());
            continue;
        }
        // A damaged layer can be removed like any other.
        if let Ok(Some(stored)) = store.layer(&layer) {
            removal.bytes += stored.record.report.bytes;
        }
        removal.layers.insert(layer);
    }
    Ok(removal)
}
