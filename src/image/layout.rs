//! OCI image layouts, and bare content stores: from an index through nested ones to one manifest
//! and its layers.

use crate::codec::Expected;
use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::{LayerBlob, Source};
use super::json::{self, Config, Descriptor, Document};
use super::names;
use super::platform::Platform;
use super::reference::Choice;
use super::{Documents, Image, Layer, Wanted};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// BuildKit marks the manifests that only describe another manifest.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// Indexes in indexes are rare; one that contains itself has no digest.
const MAX_NESTING: usize = 4;
/// The media types of configs of images; other manifests describe artifacts of other kinds.
const CONFIGS: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "",
];

/// Opens the image that is wanted, or the only one.
pub fn open(source: &Source, wanted: &Wanted) -> Result<Image> {
    let descriptor = match wanted.choice {
        Some(Choice::Digest(digest)) => of_digest(source, digest)?,
        Some(Choice::Name(name)) => of_index(source, Some(name), wanted)?,
        None => of_index(source, None, wanted)?,
    };
    let name = names_of(&descriptor).into_iter().next();
    let (descriptor, bytes, manifest) = descend(source, descriptor, wanted)?;
    let (document, config, layers) = config_and_layers(source, &manifest)?;
    // The index says it first, where there is one: it was chosen by that.
    let platform = platform_of(&descriptor).or_else(|| config.platform.platform());
    wanted.check(platform.as_ref())?;
    Ok(Image {
        digest: Digest::parse(&descriptor.digest)?,
        name,
        platform,
        layers,
        documents: Documents {
            manifest: Some(bytes),
            config: document,
        },
    })
}

/// Whether the layout lists any image: Docker writes an empty one beside its own documents.
pub fn lists_images(source: &Source) -> Result<bool> {
    Ok(source.has("index.json") && !index(source)?.manifests.is_empty())
}

fn index(source: &Source) -> Result<Document> {
    if !source.has("index.json") && source.has("manifest.json") {
        return Err(Error::refused("no OCI layout: it has no index.json")
            .hint("it is a Docker archive: say docker-archive:FILE, or just FILE"));
    }
    if !source.has("index.json") {
        return Err(Error::refused(
            "neither an OCI layout (no index.json) nor a Docker archive (no manifest.json)",
        )
        .hint("a single layer is unpacked by `lowerdir unpack-layer`"));
    }
    let bytes = source.get("index.json")?.document("index.json")?;
    json::parse(&bytes, "index.json")
}

fn of_index(source: &Source, name: Option<&str>, wanted: &Wanted) -> Result<Descriptor> {
    let mut manifests = images(index(source)?.manifests);
    if let Some(name) = name {
        let names: Vec<String> = manifests.iter().flat_map(names_of).collect();
        manifests.retain(|descriptor| {
            let names = names_of(descriptor);
            names.iter().any(|known| names::is_meant(name, known))
        });
        if manifests.is_empty() {
            return Err(names::no_such(name, &names));
        }
    }
    choose(manifests, wanted)
}

fn of_digest(source: &Source, digest: &Digest) -> Result<Descriptor> {
    let size = source.blob(digest)?.len();
    let size = i64::try_from(size).map_err(|_| Error::refused("the size overflows"))?;
    Ok(Descriptor::of(digest, size))
}

/// The names of an image, the longest first.
fn names_of(descriptor: &Descriptor) -> Vec<String> {
    let keys = [CONTAINERD_NAME, REF_NAME].iter();
    keys.filter_map(|key| descriptor.annotations.get(*key).cloned())
        .collect()
}

fn images(mut manifests: Vec<Descriptor>) -> Vec<Descriptor> {
    manifests.retain(|descriptor| !descriptor.annotations.contains_key(ATTESTATION));
    manifests
}

fn platform_of(descriptor: &Descriptor) -> Option<Platform> {
    descriptor.platform.as_ref()?.platform()
}

/// The one image that is meant: the only one there is, else the one that the platform runs best.
fn choose(manifests: Vec<Descriptor>, wanted: &Wanted) -> Result<Descriptor> {
    let known: Vec<Platform> = manifests.iter().filter_map(platform_of).collect();
    if manifests.len() == 1 {
        wanted.check(known.first())?;
    }
    let distance = |descriptor: &Descriptor| match platform_of(descriptor) {
        Some(_) if manifests.len() == 1 => Some(0),
        Some(built_for) => wanted.platform().distance(&built_for),
        None => Some(0),
    };
    let best = manifests.iter().filter_map(distance).min();
    let mut best: Vec<Descriptor> = manifests
        .iter()
        .filter(|descriptor| best.is_some() && distance(descriptor) == best)
        .cloned()
        .collect();
    best.dedup_by(|one, other| one.digest == other.digest);
    match best.len() {
        1 => Ok(best.remove(0)),
        0 if manifests.is_empty() => Err(Error::not_found("there is no image in it")),
        0 => Err(wanted.no_such_platform(&known)),
        _ => Err(names::ambiguous(
            &best.iter().map(name_or_digest).collect::<Vec<_>>(),
        )),
    }
}

/// What tells an image from the others in a reference: `@DIGEST` where it has no name.
fn name_or_digest(descriptor: &Descriptor) -> String {
    let name = names_of(descriptor).into_iter().next();
    name.unwrap_or_else(|| format!("@{}", descriptor.digest))
}

/// Goes through nested indexes to a manifest.
fn descend(
    source: &Source,
    mut descriptor: Descriptor,
    wanted: &Wanted,
) -> Result<(Descriptor, Vec<u8>, Document)> {
    for _ in 0..MAX_NESTING {
        let bytes = descriptor.fetch(source, "the manifest")?;
        let document: Document = json::parse(&bytes, "the manifest")?;
        if document.schema_version == Some(1) {
            return Err(
                Error::refused("a manifest of Docker's schema 1, of before 2016")
                    .hint("convert it: `skopeo copy --format v2s2`"),
            );
        }
        match (&document.config, document.manifests.is_empty()) {
            (Some(_), true) => return Ok((descriptor, bytes, document)),
            (None, false) if document.layers.is_empty() => {
                descriptor = choose(images(document.manifests), wanted)?;
            }
            (None, true) => return Err(Error::refused("a manifest without a config")),
            _ => {
                return Err(Error::refused(
                    "a manifest that has both manifests and a config or layers",
                ));
            }
        }
    }
    Err(Error::refused("indexes nested too deeply"))
}

fn config_and_layers(
    source: &Source,
    manifest: &Document,
) -> Result<(Vec<u8>, Config, Vec<Layer>)> {
    let config = manifest
        .config
        .as_ref()
        .expect("descend returns only those");
    if !CONFIGS.contains(&&*config.media_type) {
        let media_type = config.media_type.escape_debug();
        return Err(Error::refused(format!(
            "an artifact with a config of type {media_type}, not an image"
        )));
    }
    let bytes = config.fetch(source, "the config")?;
    let config: Config = json::parse(&bytes, "the config")?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::refused(format!(
            "the manifest has {} layers, the config {} diff IDs",
            manifest.layers.len(),
            diff_ids.len()
        )));
    }
    let layers = manifest.layers.iter().zip(diff_ids).enumerate();
    let layers = layers
        .map(|(index, (descriptor, diff_id))| {
            layer(source, index + 1, descriptor, diff_id).map_err(|error| {
                let digest = Digest::parse(&descriptor.digest).ok();
                let digest = digest.map_or_else(|| "?".into(), |digest| digest.short());
                error.in_layer(format!("{} ({digest})", index + 1))
            })
        })
        .collect::<Result<Vec<Layer>>>()?;
    Ok((bytes, config, layers))
}

fn layer(source: &Source, number: usize, descriptor: &Descriptor, diff_id: &str) -> Result<Layer> {
    let (digest, size) = descriptor.promise()?;
    let diff_id = Digest::parse(diff_id)?;
    let blob = LayerBlob::found(source.blob(&digest), || hint_at_missing(descriptor))?;
    Ok(Layer {
        number,
        blob: blob.of_type(&descriptor.media_type),
        expected: Expected {
            blob: Some(digest),
            size: Some(size),
            diff_id: Some(diff_id.clone()),
        },
        diff_id,
        media_type: Some(descriptor.media_type.clone()).filter(|text| !text.is_empty()),
    })
}

fn hint_at_missing(descriptor: &Descriptor) -> String {
    let is_foreign = ["nondistributable", "foreign"]
        .iter()
        .any(|word| descriptor.media_type.contains(word));
    match (is_foreign, descriptor.urls.first()) {
        (true, Some(url)) => {
            let url = url.escape_debug();
            format!("this layer is a foreign one, which images need not carry; it is at {url}")
        }
        (true, None) => "this layer is a foreign one, which images need not carry".into(),
        (false, _) => "the image is incomplete: fetch it again".into(),
    }
}
