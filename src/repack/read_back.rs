//! The content of an image of a store, read back from its layers, because a store keeps no blobs.
//!
//! [`read_back`] gives an [`Image`] whose layers are archives again, which [`pack`](super::pack) writes while they are
//! read. `ls`, `diff`, `flatten` and the lists of `export` call it. It changes nothing, and spools nothing.
//!
//! ```
//! use lowerdir::repack::read_back::read_back;
//! use lowerdir::view::View;
//! use lowerdir::{Image, Options, Run, Store};
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! # let archive = place.path().join("image.tar");
//! # doc_image(&archive)?;
//! # let image = Image::open(&lowerdir::Reference::parse(&archive)?)?;
//! # let store = Store::open(place.path().join("store"))?;
//! # let options = Options::rootless(store.path())?;
//! # store.unpack(&image).options(options).run()?;
//! # let digest = image.digest.clone();
//! // The archive that the image came from is not needed.
//! let (image, _) = read_back(&store, store.open_image(&digest)?)?;
//! let view = View::read(&image, &Options::default(), Run::default())?;
//! let names = view.tree.walk().map(|item| item.path.to_string());
//! assert_eq!(names.collect::<Vec<_>>(), [".", "etc"]);
//! # Ok(())
//! # }
//! ```

use crate::compress::codec::Expected;
use crate::error::Result;
use crate::image::{Blob, Image, Layer, LayerBlob};
use crate::layer::options::Owners;
use crate::store::{Store, StoredLayer};

use super::pack::{PackOptions, pack};

/// The image with the layers of this store as the blobs of its layers. The caller locks the store while they are read.
///
/// Each archive has the tree of its layer, but is not the archive that the layer came from: it has the parent
/// directories that the layer only implied, and no digest is checked.
///
/// Also says whether the files have the owners of the image, and not that of the user who unpacked it.
///
/// Errors: a layer is not in the store ([`Kind::NotFound`](crate::Kind::NotFound)). What is wrong with a layer is found
/// when it is read.
pub fn read_back(store: &Store, image: Image) -> Result<(Image, bool)> {
    let stored = store.layers_of(&image)?;
    let mut options = stored.iter().map(|layer| &layer.record.options);
    let has_owners = options.all(|options| options.owners == Owners::Image);
    let layers = image.layers.into_iter().zip(stored);
    let layers = layers.map(|(layer, stored)| Layer {
        blob: LayerBlob::There(archive(stored)),
        expected: Expected::default(),
        ..layer
    });
    let layers = layers.collect();
    Ok((Image { layers, ..image }, has_owners))
}

fn archive(layer: StoredLayer) -> Blob {
    let made_with = &layer.record.options;
    let options = PackOptions::default()
        .namespace(made_with.dialect.namespace)
        .selinux(made_with.selinux)
        .ids(made_with.ids.clone())
        // What is mounted over a layer does not change it.
        .live(true);
    let size = layer.record.size;
    Blob::written(size, move |out| {
        // Without the layers below: an unpacked layer has no marks that depend on them.
        pack(&layer.path, None, &options, out).map(drop)
    })
}
