//! A mount stack for systemd: a directory with a link to each layer, and nothing else.
//!
//! `systemd-nspawn --mstack=`, a service's `RootMStack=`, and `mount -t mstack` use it. They follow the
//! links, and sort the names as versions, lowest layer first. They always mount with `userxattr`: an opaque
//! directory marked with `trusted.*` would show what it should hide.
//! Source: `systemd.mstack(7)` of systemd 260; `src/shared/mstack.c` of systemd 262.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::dialect::Namespace;
use crate::error::{Advice, Error, Result};
use crate::fs::root;
use crate::store::{AtomicDir, StoredLayer, Sync};

/// Writes a mount stack of an image's layers, lowest first, to an absent or empty directory whose name ends
/// in `.mstack`. It is built under a temporary name and renamed when it is complete.
///
/// Errors: the name has another suffix; there are no layers; their marks are `trusted.*` xattrs, which
/// systemd's mounts do not read; the system's.
///
/// ```
/// use lowerdir::engines::export::write_mstack;
/// use lowerdir::store::Sync;
/// use lowerdir::{Image, Options, Reference, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let target = place.path().join("image.mstack");
/// # let options = Options::rootless(place.path())?;
/// # let image = Image::open(&Reference::parse(&archive)?)?;
/// # let store = Store::open(&directory)?;
/// # store.unpack(&image).options(options).run()?;
///
/// let layers = store.layers_of(&image)?;
/// write_mstack(&layers, &target, Sync::Fs)?;
///
/// assert_eq!(std::fs::read_link(target.join("layer@1"))?, layers[0].path);
/// assert_eq!(std::fs::read_link(target.join("layer@2"))?, layers[1].path);
/// # Ok(())
/// # }
/// ```
pub fn write_mstack(layers: &[StoredLayer], target: &Path, sync: Sync) -> Result<()> {
    check(layers, target)?;
    let output = AtomicDir::new(target, "mount stack")?;
    let directory = output.directory()?;
    for (number, layer) in (1..).zip(layers) {
        let name = format!("layer@{number}");
        directory
            .make_symlink(name.as_bytes(), layer.path.as_os_str().as_bytes())
            .map_err(|error| Error::system(format!("making {name}"), error))?;
    }
    // The links are not secret: the store protects their targets.
    root::set_mode(&directory, 0o755)
        .map_err(|error| Error::system("setting the mode of the directory", error))?;
    output.sync(sync)?;
    output.publish(sync)
}

fn check(layers: &[StoredLayer], target: &Path) -> Result<()> {
    if target.extension().is_none_or(|end| end != "mstack") {
        let text = format!("{} is not the name of a mount stack", target.display());
        return Err(Error::usage(text).hint("it must end in .mstack"));
    }
    let is_trusted =
        |layer: &StoredLayer| layer.record.options.dialect.namespace == Namespace::Trusted;
    match layers.last() {
        None => Err(Error::not_found(
            "the image has no layers, so there is nothing to mount",
        )),
        Some(top) if is_trusted(top) => {
            let what = "systemd mounts with userxattr, and the layers have trusted.overlay.* xattrs: \
                        deleted files would come back";
            let hint = Advice::UserXattrs;
            Err(Error::conflict(what).hint(hint))
        }
        Some(_) => Ok(()),
    }
}
