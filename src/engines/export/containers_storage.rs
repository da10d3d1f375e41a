//! An additional image store of containers/storage: what Podman, Buildah and CRI-O take images from,
//! read-only, when `additionalimagestores` of storage.conf(5) names it.
//!
//! `lowerdir export` calls [`add`]. The layers are those of our store: by hard link, symbolic link,
//! reflink or copy (see [`Link`]). With a tar-split, which tells what the archive of a layer was, the
//! image can also be pushed.
//!
//! ```text
//! DIR/overlay/<layer>/diff             the layer directory: see Link
//! DIR/overlay/<layer>/link             its short name: the first digits of its chain ID
//! DIR/overlay/<layer>/lower            the short names of those below, if any, topmost first
//! DIR/overlay/l/<short>                a symlink to ../<layer>/diff
//! DIR/overlay-layers/layers.json       who is whose parent
//! DIR/overlay-layers/<layer>.tar-split.gz
//!                                      what its archive was; it need not be there
//! DIR/overlay-layers/layers.lock       changed with it, which is how a reader sees that it was
//! DIR/overlay-images/images.json       names, digests, top layers
//! DIR/overlay-images/images.lock       the same
//! DIR/overlay-images/<image>/          manifest and config
//! ```
//!
//! All of it is made in a staging directory beside, made durable, and then renamed into its place:
//! layers before the list of layers, that before the list of images. On an error each rename is taken
//! back, so DIR is as it was. After a kill there may be layers that no list has.
//!
//! Source: containers/storage 1.43, `layers.go`, `images.go`, `drivers/overlay/overlay.go`; for the
//! IDs and the names of big data, containers/image 5.23, `storage/storage_dest.go`.

mod documents;
mod names;
mod place;
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

use place::Place;

/// How a layer directory is part of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// [`Hard`](Link::Hard) where that can be, else [`Symlink`](Link::Symlink).
    #[default]
    Auto,
    /// A symbolic link to it: the image is there as long as our store has it. For a container with a
    /// user namespace, containers/storage mounts the directory *above* the layers with its ids; a link
    /// leads out of that mount, and the container has no files.
    Symlink,
    /// A directory tree of its own, whose files are hard links: on the file system of our store. Who
    /// changes such a file changes our store.
    Hard,
    /// A tree of its own, whose files share their blocks: on a file system that can do that.
    Reflink,
    /// A tree of its own.
    Copy,
}

/// What to add, beside the image.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Adding<'a> {
    /// The additional image store, which is made if it is absent or an empty directory.
    pub directory: &'a Path,
    /// What its layers are.
    pub link: Link,
    /// What the image is called there. An image that had such a name loses it.
    pub names: &'a [ImageName],
    /// Whether the layers get a tar-split, so that they can be made archives again: then their blobs
    /// are read.
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

/// What was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Of the image: the digits of its config's digest.
    pub id: String,
    /// Of its manifest, which was made up if the archive had none.
    pub digest: Digest,
    /// All that it is called there, those that it had before first.
    pub names: Vec<String>,
    /// The IDs of its layers, the lowest first.
    pub layers: Vec<String>,
    /// How many of them were not there before, or were there as something else.
    pub new_layers: usize,
    /// How many of these are symbolic links.
    pub symlinks: usize,
}

/// Adds an image to an additional image store, which it makes if there is none. `layers` are those of
/// the image, the lowest first, which stay in our store meanwhile.
///
/// Errors: the directory is something else; hard links to another file system, or reflinks where
/// there are none; what the system says.
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
/// // Until it is added, nobody removes its layers.
/// let hold = store.share(&Silent)?;
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
    let place = Place::open(adding.directory, run.progress)?;
    let added = place.add(image, layers, adding, run);
    let added = added.map_err(|error| place.told(error));
    if added.is_err() {
        place.abandon();
    }
    added
}
