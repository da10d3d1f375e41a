//! `Image`: an ordered list of layers, each with its expected digests and its blob. Reads OCI layouts
//! and Docker archives; unpacks nothing, and writes nothing but an unnamed temporary file when an
//! archive comes through a pipe.
//!
//! The command line opens images; `store::pipeline` unpacks their layers.
//! Source: image-spec `image-layout.md`, `image-index.md`, `manifest.md`, `config.md`; Docker's
//! image specification v1.2 for the archives of `docker save`.

mod archive;
mod blob;
mod choice;
mod compressed;
mod docker;
mod entries;
mod holes;
mod json;
mod layout;
mod media_type;
mod members;
pub(crate) mod names;
mod platform;
mod reference;
mod signs;
pub(crate) mod stored;
mod written;

use std::fs::File;
use std::path::Path;

use crate::digest::{Digest, chain_id};
use crate::error::{Advice, Error, Operation, Result};
#[cfg(feature = "registry")]
use crate::registry::Repository;

pub use crate::compress::codec::{Expected, Measured};
pub use crate::digest::Algorithm;
#[cfg(feature = "registry")]
pub use crate::registry::Access;
pub use blob::{Blob, BlobReader, LayerBlob};
pub use platform::Platform;
pub use reference::{Choice, Reference, Transport};

pub(crate) use archive::{spooling, temporary};
pub(crate) use blob::{DOCUMENT_MAX, open_at_once};
pub(crate) use json::{config_value, manifest_value, null_is_empty};
pub(crate) use signs::ImageSigns;

use archive::Members;
use blob::Source;

/// An image, ready to be unpacked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Image {
    /// The digest of its manifest, or of its config if the archive has no manifest.
    pub digest: Digest,
    /// The name that the archive or layout gives it.
    pub name: Option<String>,
    /// The names that it gets in a store, unless the caller has others: full names that it came with, or else
    /// one made of the file that it came from, and its tag.
    pub names: Vec<String>,
    /// The platform that it was built for, if it says.
    pub platform: Option<Platform>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// The manifest and config, byte for byte.
    pub documents: Documents,
}

/// The documents of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Documents {
    /// The manifest; a Docker archive has none.
    pub manifest: Option<Vec<u8>>,
    /// The config: how to run the image, and its history.
    pub config: Vec<u8>,
}

impl Documents {
    /// The config with known members spelled as in image-spec, once each, however the writer spelled
    /// them. Errors: it is not JSON ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn config_by_specification(&self) -> Result<Vec<u8>> {
        Ok(config_value(&self.config)?.to_string().into_bytes())
    }

    /// The same for the manifest, if there is one.
    pub fn manifest_by_specification(&self) -> Result<Option<Vec<u8>>> {
        let read = |manifest: &Vec<u8>| manifest_value(manifest, "the manifest");
        let value = self.manifest.as_ref().map(read).transpose()?;
        Ok(value.map(|value| value.to_string().into_bytes()))
    }
}

/// One layer of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layer {
    /// Its number in the image, from 1 at the bottom, as in error messages.
    pub number: usize,
    /// The digest of its uncompressed archive, which identifies it.
    pub diff_id: Digest,
    /// The expected digests and size of its blob.
    pub expected: Expected,
    /// The media type in the manifest; a Docker archive has none.
    pub media_type: Option<String>,
    /// Its blob.
    pub blob: LayerBlob,
}

impl Layer {
    /// Its name in errors and progress: `2 (sha256:ab12…)`.
    pub fn label(&self) -> String {
        let digest = self.expected.blob.as_ref().unwrap_or(&self.diff_id);
        format!("{} ({})", self.number, digest.short())
    }
}

impl Image {
    /// The chain IDs of its layers, lowest first: the names of its layers in a store.
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            chain.push(chain_id(chain.last(), &layer.diff_id));
        }
        chain
    }

    /// Checks the media type of every layer (rule T1), for callers that do not read the layers.
    /// Errors: one is not a tar archive; the error names the layer and the type.
    pub fn check_media_types(&self) -> Result<()> {
        self.layers.iter().try_for_each(|layer| {
            let checked = layer.blob.check_media_type();
            checked.map_err(|error| error.in_layer(layer.label()))
        })
    }

    /// Opens the image that a reference names, and checks its manifest and config against their
    /// digests. The layers are checked when they are read. A single image is opened whatever its
    /// platform, and of several the best match for this machine.
    ///
    /// Errors: no such file, no such name, no image for this machine
    /// ([`Kind::NotFound`](crate::Kind::NotFound)); several images and no name given; documents that
    /// break the specification ([`Kind::Refused`](crate::Kind::Refused)) or differ from their
    /// digests ([`Kind::Mismatch`](crate::Kind::Mismatch)).
    pub fn open(reference: &Reference) -> Result<Image> {
        Image::find(reference, None)
    }

    /// The same for a platform, also where there is only one image. Errors: as of [`Image::open`].
    pub fn open_for(reference: &Reference, platform: &Platform) -> Result<Image> {
        Image::find(reference, Some(platform))
    }

    /// The same with what the user says about registries. Errors: as of [`Image::open`].
    #[cfg(feature = "registry")]
    pub fn open_with(
        reference: &Reference,
        platform: Option<&Platform>,
        access: &Access,
    ) -> Result<Image> {
        if reference.transport != Transport::Docker {
            return Image::find(reference, platform);
        }
        let choice = reference.choice.as_ref();
        let wanted = Selection { choice, platform };
        let name = reference.registry_name()?;
        let repository = Repository::open(&name, access, temporary(), DOCUMENT_MAX)?;
        layout::open_in_registry(repository, &name, &wanted)
    }

    fn find(reference: &Reference, platform: Option<&Platform>) -> Result<Image> {
        #[cfg(feature = "registry")]
        if reference.transport == Transport::Docker {
            return Image::open_with(reference, platform, &Access::default());
        }
        if reference.transport == Transport::Store {
            return Err(Error::usage("an image in a store is opened by that store"));
        }
        let choice = reference.choice.as_ref();
        let wanted = Selection { choice, platform };
        let source = open_source(reference)?;
        let mut image = Image::open_in(reference.transport, source, &wanted)?;
        image.names = names::in_store(&image.names, reference);
        Ok(image)
    }

    fn open_in(transport: Transport, source: Source, wanted: &Selection) -> Result<Image> {
        match transport {
            Transport::DockerArchive => docker::open(&source, wanted),
            Transport::Dir => layout::open_flat(&source, wanted),
            Transport::Oci | Transport::OciArchive | Transport::Blobs => {
                layout::open(&source, wanted)
            }
            #[cfg(feature = "registry")]
            Transport::Docker => layout::open(&source, wanted),
            Transport::Any | Transport::Store => open_any(source, wanted),
        }
    }
}

/// Whether an entry of an index may be an image, judging by the index alone (rule T2).
pub(crate) fn is_image(entry: &serde_json::Value) -> bool {
    let entry: serde_json::Result<json::Descriptor> = serde_json::from_value(entry.clone());
    entry.is_ok_and(|entry| entries::other_entry(&entry).is_none())
}

/// Opens a source of unknown type, judging by its documents.
fn open_any(source: Source, wanted: &Selection) -> Result<Image> {
    let (has_list, has_index) = (source.has("manifest.json"), source.has("index.json"));
    if has_list && !has_index && docker::is_one_manifest(&source)? {
        return match source {
            Source::Directory(path) => layout::open_flat(&Source::Flat(path), wanted),
            source => docker::open(&source, wanted),
        };
    }
    let is_old = !has_list && !has_index && source.has(docker::REPOSITORIES);
    match is_old || (has_list && !wanted.needs_index(&source)?) {
        true => docker::open(&source, wanted),
        false => layout::open(&source, wanted),
    }
}

/// Which of the available images the user wants.
struct Selection<'a> {
    choice: Option<&'a Choice>,
    platform: Option<&'a Platform>,
}

impl Selection<'_> {
    /// The platform given, or else this machine's.
    fn platform(&self) -> Platform {
        self.platform.cloned().unwrap_or_else(Platform::host)
    }

    /// Errors: the image was built for another platform than the one given.
    fn check(&self, built_for: Option<&Platform>, digest: &Digest) -> Result<()> {
        match (self.platform, built_for) {
            (Some(platform), Some(built_for)) if platform.distance(built_for).is_none() => {
                let label = format!("{built_for} ({})", digest.short());
                Err(self.no_such_platform(std::iter::once(label)))
            }
            _ => Ok(()),
        }
    }

    /// The error that lists the available platforms, with digests.
    fn no_such_platform(&self, known: impl Iterator<Item = String>) -> Error {
        let known: Vec<String> = known.collect();
        let platform = self.platform();
        Error::not_found(format!("there is no image for {platform}"))
            .hint(Advice::ChoosePlatform.with(names::listed(&known)))
    }

    /// An archive may have both documents: Docker's has the short names, the OCI index has manifests
    /// and platforms.
    fn needs_index(&self, source: &Source) -> Result<bool> {
        let digest = self.choice.and_then(Choice::digest);
        let asks = self.platform.is_some() || digest.is_some();
        Ok(asks && layout::lists_images(source)?)
    }
}

fn open_source(reference: &Reference) -> Result<Source> {
    let path = &reference.path;
    if path == Path::new("-") {
        let stdin = std::io::stdin();
        let file = rustix::io::dup(&stdin)
            .map_err(|error| Error::system("opening standard input", error))?;
        return Members::read(File::from(file)).map(Source::Archive);
    }
    let opening = |error: std::io::Error| {
        Error::system(format!("opening {}", path.display()), error).during(Operation::OpenImage)
    };
    if reference.transport == Transport::Blobs {
        let nested = path.join("blobs");
        let directory = if nested.is_dir() { &nested } else { path };
        std::fs::read_dir(directory).map_err(opening)?;
        return Ok(Source::Blobs(directory.clone()));
    }
    if std::fs::metadata(path).map_err(opening)?.is_dir() {
        return match reference.transport {
            Transport::Oci | Transport::Any => Ok(Source::Directory(path.clone())),
            Transport::Dir => Ok(Source::Flat(path.clone())),
            _ => Err(
                Error::refused(format!("{} is a directory, not an archive", path.display()))
                    .hint("a layout in a directory is named oci:DIR"),
            ),
        };
    }
    if matches!(reference.transport, Transport::Oci | Transport::Dir) {
        let what = format!("{} is not a directory", path.display());
        return Err(Error::refused(what).hint("a layout in a file is named oci-archive:FILE"));
    }
    Members::read(File::open(path).map_err(opening)?).map(Source::Archive)
}
