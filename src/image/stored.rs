//! An image from its documents alone, as a store keeps them: everything but the blobs, which a store does not
//! keep. [`crate::store`] calls it.

use crate::compress::codec::Expected;
use crate::digest::Digest;
use crate::error::Result;

use super::blob::{LayerBlob, Source};
use super::json::{self, Config, Descriptor};
use super::{Documents, Image, Layer, Platform, Selection, layout};

/// What helps someone who needs the blobs.
pub const HINT: &str =
    "a store keeps no blobs: name the archive or the layout that the image came from";

/// Opens the image with this digest. Errors: a document is not the one that the digest names
/// ([`Kind::Mismatch`](crate::Kind::Mismatch)), or breaks the specification.
pub fn open(digest: &Digest, platform: Option<Platform>, documents: Documents) -> Result<Image> {
    let image = match &documents.manifest {
        Some(manifest) => of_manifest(digest, manifest.clone(), &documents.config)?,
        None => of_config(digest, &documents)?,
    };
    // The index that an image was chosen from, and its platform there, are not kept.
    let platform = platform.or(image.platform.clone());
    Ok(Image { platform, ..image })
}

fn of_manifest(digest: &Digest, manifest: Vec<u8>, config: &[u8]) -> Result<Image> {
    json::check(digest, &manifest, "the manifest")?;
    let source = Source::Documents(vec![(Digest::of(config), config.into())]);
    let descriptor = Descriptor::of(digest, manifest.len() as i64);
    let wanted = Selection {
        choice: None,
        platform: None,
    };
    layout::image(&source, descriptor, manifest, &wanted)
}

/// An image of a Docker archive has no manifest: its config identifies it.
fn of_config(digest: &Digest, documents: &Documents) -> Result<Image> {
    json::check(digest, &documents.config, "the config")?;
    let config: Config = json::parse(&documents.config, "the config", &json::CONFIG)?;
    let layers = config.rootfs.diff_ids.iter().enumerate();
    let layers = layers.map(|(index, diff_id)| layer(index + 1, diff_id));
    Ok(Image {
        digest: digest.clone(),
        name: None,
        names: Vec::new(),
        platform: config.platform.platform(),
        layers: layers.collect::<Result<_>>()?,
        documents: documents.clone(),
    })
}

fn layer(number: usize, diff_id: &str) -> Result<Layer> {
    let diff_id = Digest::parse(diff_id)?;
    Ok(Layer {
        number,
        blob: LayerBlob::Missing {
            what: "the image is in the store without its blobs".into(),
            hint: HINT.into(),
        },
        expected: Expected {
            blob: None,
            size: None,
            diff_id: Some(diff_id.clone()),
        },
        diff_id,
        media_type: None,
    })
}
