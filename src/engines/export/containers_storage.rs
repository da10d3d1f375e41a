//! An additional image store of containers/storage: Podman, Buildah and CRI-O use its images, read-only,
//! if `additionalimagestores` in storage.conf(5) names it.
//!
//! `lowerdir export` calls [`add`]. The layers come from lowerdir's store by hard link, symbolic link,
//! reflink or copy (see [`Link`]). With a tar-split, a recipe for the archive of a layer, the image can
//! also be pushed.
//!
//! ```text
//! DIR/overlay/<layer>/diff             the layer directory: see Link
//! DIR/overlay/<layer>/link             its short name: the first digits of its chain ID
//! DIR/overlay/<layer>/lower            the short names of the layers below, if any, topmost first
//! DIR/overlay/l/<short>                a symlink to ../<layer>/diff
//! DIR/overlay-layers/layers.json       the layers and their parents
//! DIR/overlay-layers/<layer>.tar-split.gz
//!                                      a recipe for its archive; optional
//! DIR/overlay-layers/layers.lock       changes with layers.json, to tell readers
//! DIR/overlay-images/images.json       names, digests, top layers
//! DIR/overlay-images/images.lock       changes with images.json
//! DIR/overlay-images/<image>/          manifest and config
//! ```
//!
//! Everything is built in a staging directory in DIR, written to disk, and then renamed into place: layers
//! before the list of layers, and that before the list of images. On an error the renames are reverted, so
//! DIR is unchanged. A kill may leave layers that are not listed.
//!
//! Source: containers/storage 1.43, `layers.go`, `images.go`, `drivers/overlay/overlay.go`; for the
//! IDs and the names of big data, containers/image 5.23, `storage/storage_dest.go`.

mod documents;
mod image_store;
mod names;
mod placing;
mod records;
mod tar_split;

use std::path::Path;

use crate::digest::Digest;
use crate::error::Result;
use crate::image::Image;
use crate::setters::setters;
use crate::store::StoredLayer;
use crate::store::pipeline::Run;

pub use names::ImageName;

use image_store::ImageStore;

/// How a layer directory gets into the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// [`Hard`](Link::Hard) if possible, otherwise [`Symlink`](Link::Symlink).
    #[default]
    Auto,
    /// A symbolic link to it: the image lasts as long as lowerdir's store has it. For a container with a
    /// user namespace, containers/storage id-maps the directory *above* the layers; a link leads out of
    /// that mount, and the container has no files.
    Symlink,
    /// A directory tree with hard links as files, on the file system of lowerdir's store. Changing such a
    /// file changes the store.
    Hard,
    /// A tree with reflinked files, on a file system that supports reflinks.
    Reflink,
    /// A full copy.
    Copy,
}

/// How to add an image.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Adding<'a> {
    /// The additional image store, which is created if it is absent or an empty directory.
    pub directory: &'a Path,
    /// How its layers get there.
    pub link: Link,
    /// The names of the image. Another image that had one of them loses it.
    pub names: &'a [ImageName],
    /// Whether to write a tar-split for each layer, so that its archive can be rebuilt: reads the blobs.
    pub tar_split: bool,
}

impl<'a> Adding<'a> {
    /// Without a name or a tar-split, and with symbolic links to the layers.
    pub fn new(directory: &'a Path) -> Adding<'a> {
        Adding {
            directory,
            link: Link::Symlink,
            names: &[],
            tar_split: false,
        }
    }

    setters! {
        link: Link,
        names: &'a [ImageName],
        tar_split: bool,
    }
}

/// The added image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Added {
    /// The image's ID: the digits of its config's digest.
    pub id: String,
    /// The digest of its manifest, which is generated if the archive had none.
    pub digest: Digest,
    /// All its names there, starting with those that it had before.
    pub names: Vec<String>,
    /// The IDs of its layers, lowest first.
    pub layers: Vec<String>,
    /// How many of them are new, or replace a layer that was there in another form.
    pub new_layers: usize,
    /// How many of the new ones are symbolic links.
    pub symlinks: usize,
}

/// Adds an image to an additional image store, which is created if needed. `layers` are those of the
/// image, lowest first; the caller keeps them in lowerdir's store meanwhile.
///
/// Errors: the directory is something else; hard links to another file system, or reflinks on one without
/// them; the system's.
///
/// ```
/// use lowerdir::engines::export::containers_storage::{Adding, ImageName, Link, add};
/// use lowerdir::{Image, Options, Reference, Run, Silent, Store};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let directory = place.path().join("store");
/// # let target = place.path().join("images");
/// # let options = Options::rootless(place.path())?;
/// # let image = Image::open(&Reference::parse(&archive)?)?;
/// # let store = Store::open(&directory)?;
/// # store.unpack(&image).options(options).run()?;
///
/// // Keeps its layers in the store until it is added.
/// let hold = store.lock_shared(&Silent)?;
/// let layers = store.layers_of(&image)?;
/// let names = [ImageName::parse("example")?];
/// let adding = Adding::new(&target).link(Link::Symlink).names(&names);
/// let added = add(&image, &layers, &adding, Run::default())?;
///
/// assert_eq!(added.names, ["localhost/example:latest"]);
/// let diff = target.join("overlay").join(&added.layers[0]).join("diff");
/// assert_eq!(std::fs::read_link(diff)?, layers[0].path);
/// # Ok(())
/// # }
/// ```
pub fn add(
    image: &Image,
    layers: &[StoredLayer],
    adding: &Adding<'_>,
    run: Run<'_>,
) -> Result<Added> {
    let store = ImageStore::open(adding.directory, run.progress)?;
    let added = store.add(image, layers, adding, run);
    let added = added.map_err(|error| store.told(error));
    if added.is_err() {
        store.abandon();
    }
    added
}
