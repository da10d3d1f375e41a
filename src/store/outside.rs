//! Whether a path lies in a store. Layers are shared by images and by mounts, so no verb writes its
//! output there, and no mount takes its changes there.
//!
//! Every verb that writes where the user says asks here first. A store is recognised by what it
//! holds, so any store counts, not only the one that `--store` names.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::fs::root;
use crate::overlay::overlays;

use super::{FS, FormatFile, LAYER_JSON, TREE_ZST};

/// The store that a path lies in, or is; `None` where it lies in none. Symbolic links are followed,
/// and the path need not exist.
pub fn enclosing_store(path: &Path) -> Option<PathBuf> {
    // Where the path cannot be looked at, it cannot be written to either.
    let real = root::real_path(path).ok()?;
    let found = real
        .ancestors()
        .find(|place| is_store(place) || is_layer(place));
    found
        .map(Path::to_path_buf)
        .or_else(|| layer_by_place(&real))
}

/// A layer that is mounted elsewhere, as by `mount --bind`, is told by where it lies in its file system.
fn layer_by_place(real: &Path) -> Option<PathBuf> {
    let place = overlays::place_in_file_system(real)?;
    let is_fs = |place: &&Path| {
        let mut names = place.components().rev().map(Component::as_os_str);
        names.next().is_some_and(|name| name == FS)
            && names.next().is_some_and(|name| {
                let digits = name.as_encoded_bytes();
                digits.len() >= 64 && digits.iter().all(u8::is_ascii_hexdigit)
            })
            && names
                .next()
                .is_some_and(|name| name == "sha256" || name == "sha512")
            && names.next().is_some_and(|name| name == "layers")
    };
    let found = place.ancestors().find(is_fs)?;
    Some(found.parent().unwrap_or(found).to_path_buf())
}

/// Errors: `what`, which is to be written at `path`, would lie in a store
/// ([`Kind::Conflict`](crate::Kind::Conflict)).
pub fn check_outside(path: &Path, what: &str) -> Result<()> {
    let Some(store) = enclosing_store(path) else {
        return Ok(());
    };
    let (path, store) = (path.display(), store.display());
    let text = format!("{what} {path} would be inside the store, in {store}");
    Err(Error::conflict(text)
        .hint("layers are shared, and must not change: name a path outside the store"))
}

/// A medium that was copied may lack directories that were empty.
fn is_store(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).is_dir();
    let is_written = ["locks", "staging", "l"].into_iter().any(has);
    has("layers/sha256")
        && has("images")
        && (is_written || directory.join(FormatFile::NAME).is_file())
}

fn is_layer(directory: &Path) -> bool {
    let has_file = |name: &str| directory.join(name).is_file();
    has_file(LAYER_JSON) && has_file(TREE_ZST) && directory.join(FS).is_dir()
}
