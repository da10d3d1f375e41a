//! A mount stack of systemd: a directory with a link to each layer, and nothing else.
//!
//! `systemd-nspawn --mstack=`, `RootMStack=` of a service, and `mount -t mstack` take it; they follow
//! the links, and sort the names as versions, the lowest layer first. They mount with `userxattr`,
//! always: an opaque directory that is marked in `trusted.*` would show what it deletes.
//! Source: `systemd.mstack(7)` of systemd 260; `src/shared/mstack.c` of systemd 262.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fs::root;
use crate::overlay::dialect::Namespace;
use crate::store::{Beside, StoredLayer, Sync};

/// Writes a mount stack of an image's layers, the lowest first, into a directory that is absent or
/// empty, and whose name ends in `.mstack`. It is made beside it and renamed when it is complete.
///
/// Errors: the name does not end so; there are no layers; they have their marks in `trusted.*`, which
/// systemd's mounts do not read; what the system says.
///
/// ```
/// use lowerdir::engines::export::write_mstack;
/// use lowerdir::store::pipeline::stored_layers;
/// use lowerdir::store::Sync;
/// use lowerdir::{Image, Options, Owners, Reference, Run, Store, unpack_image};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let target = place.path().join("image.mstack");
/// # let options = Options {
/// #     dialect: lowerdir::overlay::dialect::Dialect {
/// #         namespace: lowerdir::overlay::dialect::Namespace::User,
/// #         ..Default::default()
/// #     },
/// #     owners: Owners::Caller,
/// #     ..Options::default()
/// # };
/// # let image = Image::open(&Reference::parse(archive.as_os_str())?, None)?;
/// # let store = Store::open(&directory)?;
/// # unpack_image(&image, &store, &options, Run::default())?;
///
/// let layers = stored_layers(&image, &store)?;
/// write_mstack(&layers, &target, Sync::Fs)?;
///
/// assert_eq!(std::fs::read_link(target.join("layer@1"))?, layers[0].path);
/// assert_eq!(std::fs::read_link(target.join("layer@2"))?, layers[1].path);
/// # Ok(())
/// # }
/// ```
pub fn write_mstack(layers: &[StoredLayer], target: &Path, sync: Sync) -> Result<()> {
    check(layers, target)?;
    let beside = Beside::new(target, "mount stack")?;
    let directory = beside.directory()?;
    for (number, layer) in (1..).zip(layers) {
        let name = format!("layer@{number}");
        directory
            .make_symlink(name.as_bytes(), layer.path.as_os_str().as_bytes())
            .map_err(|error| Error::system(format!("making {name}"), error))?;
    }
    // Links are no secret; what they lead to is in the store.
    root::set_mode(&directory, 0o755)
        .map_err(|error| Error::system("setting the mode of the directory", error))?;
    beside.sync(sync)?;
    beside.publish(sync)
}

fn check(layers: &[StoredLayer], target: &Path) -> Result<()> {
    if target.extension().is_none_or(|end| end != "mstack") {
        let text = format!("{} is no name of a mount stack", target.display());
        return Err(Error::usage(text).hint("it must end in .mstack"));
    }
    let is_trusted =
        |layer: &StoredLayer| layer.record.options.dialect.namespace == Namespace::Trusted;
    match layers.last() {
        None => Err(Error::not_found(
            "the image has no layers, and so there is nothing to mount",
        )),
        Some(top) if is_trusted(top) => {
            let what = "systemd mounts with userxattr, and the layers have trusted.overlay.* xattrs: \
                        deleted files would come back";
            let hint = "unpack the image once more: lowerdir --store DIR unpack --userxattr IMAGE";
            Err(Error::conflict(what).hint(hint))
        }
        Some(_) => Ok(()),
    }
}
