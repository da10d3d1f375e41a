//! Checks that a path is outside of every store. Layers are shared by images and mounts, so no verb may
//! write its output there, and no mount its changes.
//!
//! Every verb that writes to a path from the user calls this first. A store is recognised by its content,
//! so any store counts, not only that of `--store`.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};
use crate::fs::root;
use crate::overlay::overlays;

use super::{FS, FormatFile, LAYER_JSON, TREE_ZST};

/// The store that a path is in, or is itself, if any. Symbolic links are followed, and the path need not
/// exist.
pub fn enclosing_store(path: &Path) -> Option<PathBuf> {
    // A path that cannot be resolved cannot be written to either.
    let real = root::real_path(path).ok()?;
    let found = real
        .ancestors()
        .find(|place| is_store(place) || is_layer(place));
    found
        .map(Path::to_path_buf)
        .or_else(|| layer_by_place(&real))
}

/// Recognises a layer that is mounted elsewhere, as by `mount --bind`, by its path in its file system.
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

/// Errors: `what`, to be written to `path`, would be inside a store
/// ([`Kind::Conflict`](crate::Kind::Conflict)).
pub fn check_outside(path: &Path, what: &str) -> Result<()> {
    let Some(store) = enclosing_store(path) else {
        return Ok(());
    };
    let (path, store) = (path.display(), store.display());
    let text = format!("{what} {path} would be inside the store, in {store}");
    Err(Error::conflict(text)
        .hint("layers are shared, and must not change: use a path outside the store"))
}

/// Whether a directory is a store. A copied medium may lack empty directories.
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
