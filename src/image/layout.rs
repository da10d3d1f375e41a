//! OCI image layouts, bare content stores and skopeo's directories: from an index, through nested
//! indexes, to one manifest and its layers.

use std::collections::BTreeSet;

use crate::compress::codec::Expected;
use crate::digest::Digest;
use crate::error::{Advice, Error, Kind, Result};

use super::blob::{LayerBlob, Source};
use super::choice::{LOOKS_MAX, choose};
use super::entries::{other_config, other_entry, other_manifest};
use super::json::{self, Config, Descriptor, Document};
use super::names;
use super::platform::Platform;
use super::reference::Choice;
use super::{Documents, Image, Layer, Selection, stored};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Nested indexes are rare, and none can contain itself, because it is named by its digest.
const MAX_NESTING: usize = 4;

/// Opens the image that is wanted, or the only one.
pub fn open(source: &Source, wanted: &Selection) -> Result<Image> {
    let descriptor = match wanted.choice {
        Some(Choice::Digest(digest)) => of_digest(source, digest)?,
        Some(Choice::Name(name)) => of_index(source, Some(name), wanted)?,
        Some(Choice::NameAndDigest(name, digest)) => of_name_and_digest(source, name, digest)?,
        Some(Choice::Index(at)) => at_index(index(source)?.manifests, *at)?,
        None => of_index(source, None, wanted)?,
    };
    let bytes = descriptor.fetch(source, "the manifest")?;
    image(source, descriptor, bytes, wanted)
}

/// Opens a directory in skopeo's format: `manifest.json` is the manifest or the index, and no digest is
/// given for it.
pub fn open_flat(source: &Source, wanted: &Selection) -> Result<Image> {
    let bytes = source.get("manifest.json")?.document("manifest.json")?;
    let digest = Digest::of(&bytes);
    let top = Descriptor::of(&digest, bytes.len() as i64);
    match wanted.choice {
        None | Some(Choice::Index(0)) => {}
        Some(Choice::Digest(wanted)) if *wanted == digest => {}
        Some(Choice::Digest(wanted_digest)) => {
            let descriptor = of_digest(source, wanted_digest)?;
            let bytes = descriptor.fetch(source, "the manifest")?;
            return image(source, descriptor, bytes, wanted);
        }
        Some(Choice::Name(_) | Choice::NameAndDigest(..) | Choice::Index(_)) => {
            return Err(Error::not_found("it holds one image, which has no name")
                .hint("leave out what follows the directory"));
        }
    }
    image(source, top, bytes, wanted)
}

/// The image that a manifest or an index leads to.
pub fn image(
    source: &Source,
    descriptor: Descriptor,
    bytes: Vec<u8>,
    wanted: &Selection,
) -> Result<Image> {
    let names = names_of(&descriptor);
    let (descriptor, bytes, manifest) = descend(source, descriptor, bytes, wanted)?;
    let (document, config, layers) = config_and_layers(source, &manifest)?;
    // The platform in the index comes first, because the image was chosen by it.
    let platform = platform_of(&descriptor).or_else(|| config.platform.platform());
    let digest = Digest::parse(&descriptor.digest)?;
    wanted.check(platform.as_ref(), &digest)?;
    Ok(Image {
        digest,
        name: names.first().cloned(),
        names,
        platform,
        layers,
        documents: Documents {
            manifest: Some(bytes),
            config: document,
        },
    })
}

/// Whether the index lists any image: Docker writes an empty index beside its own documents.
pub fn lists_images(source: &Source) -> Result<bool> {
    Ok(source.has("index.json") && !index(source)?.manifests.is_empty())
}

/// Opens an image of a registry: its digest counts, and the tag if there is none.
#[cfg(feature = "registry")]
pub fn open_in_registry(
    repository: crate::registry::Repository,
    name: &crate::registry::Name,
    wanted: &Selection,
) -> Result<Image> {
    let (digest, bytes) = match (&name.digest, &name.tag) {
        (Some(digest), _) => (digest.clone(), repository.manifest(digest)?),
        (None, tag) => {
            let bytes = repository.tagged(tag.as_deref().unwrap_or("latest"))?;
            (Digest::of(&bytes), bytes)
        }
    };
    let descriptor = Descriptor::of(&digest, bytes.len() as i64);
    let source = Source::Registry(repository);
    let mut image = image(&source, descriptor, bytes, wanted)?;
    if let Source::Registry(repository) = &source {
        repository.check_signatures(&[&digest, &image.digest])?;
    }
    let full = name
        .tag
        .as_ref()
        .map(|tag| format!("{}:{tag}", name.place()));
    image.name = full.clone();
    image.names = full.into_iter().collect();
    Ok(image)
}

fn index(source: &Source) -> Result<Document> {
    if !source.has("index.json") && source.has("manifest.json") {
        return Err(Error::refused("not an OCI layout: it has no index.json")
            .hint("it is a Docker archive: use docker-archive:FILE, or just FILE"));
    }
    if !source.has("index.json") {
        let error = Error::refused(
            "neither an OCI layout (no index.json) nor a Docker archive (no manifest.json)",
        );
        return Err(match source {
            Source::Archive(_) => error.hint(Advice::UnpackLayer),
            _ => error,
        });
    }
    let bytes = source.get("index.json")?.document("index.json")?;
    json::parse(&bytes, "index.json", &json::MANIFEST)
}

fn of_index(source: &Source, name: Option<&str>, wanted: &Selection) -> Result<Descriptor> {
    let mut manifests = index(source)?.manifests;
    if let Some(name) = name {
        manifests = of_name(manifests, name)?;
    }
    choose(source, manifests, wanted, name)
}

/// The entries with this name. Errors: there is none; the error lists the names of the images.
fn of_name(mut manifests: Vec<Descriptor>, name: &str) -> Result<Vec<Descriptor>> {
    let images = manifests
        .iter()
        .filter(|entry| other_entry(entry).is_none());
    let known: Vec<String> = images.flat_map(names_of).collect();
    manifests.retain(|descriptor| {
        let names = names_of(descriptor);
        names.iter().any(|known| names::matches(name, known))
    });
    match manifests.is_empty() {
        true => Err(names::no_such(name, &known)),
        false => Ok(manifests),
    }
}

/// The manifest or index with this digest, if the name leads to it.
fn of_name_and_digest(source: &Source, name: &str, digest: &Digest) -> Result<Descriptor> {
    let named = of_name(index(source)?.manifests, name)?;
    let is_wanted = |entry: &&Descriptor| entry.digest == digest.to_string();
    if let Some(entry) = named.iter().find(is_wanted) {
        return Ok(entry.clone());
    }
    let label = names_of(&named[0]).into_iter().next();
    let mut level = named.clone();
    let mut seen = BTreeSet::new();
    for _ in 0..MAX_NESTING {
        level.retain(|entry| seen.insert(entry.digest.clone()));
        let looked = level.iter().take(LOOKS_MAX);
        level = looked.flat_map(|entry| below(source, entry)).collect();
        if let Some(entry) = level.iter().find(is_wanted) {
            let mut entry = entry.clone();
            let names = label.map(|label| (REF_NAME.to_string(), label));
            entry.annotations.extend(names);
            return Ok(entry);
        }
    }
    let digests: Vec<String> = named.iter().map(|entry| entry.digest.clone()).collect();
    let is = names::listed(&digests);
    Err(Error::not_found(format!("{name} is {is}, not {digest}"))
        .hint("leave out the digest, or the name"))
}

/// The entries of an index; anything else has none.
fn below(source: &Source, descriptor: &Descriptor) -> Vec<Descriptor> {
    let bytes = descriptor.fetch(source, "the index");
    let read = bytes.and_then(|bytes| json::parse(&bytes, "the index", &json::MANIFEST));
    read.map_or_else(|_| Vec::new(), |document: Document| document.manifests)
}

/// The entry with a number, from 0.
fn at_index(mut manifests: Vec<Descriptor>, at: usize) -> Result<Descriptor> {
    if at >= manifests.len() {
        return Err(names::no_such_index(at, manifests.len()));
    }
    let entry = manifests.swap_remove(at);
    match other_entry(&entry) {
        Some(other) => Err(not_an_image(&other)),
        None => Ok(entry),
    }
}

fn of_digest(source: &Source, digest: &Digest) -> Result<Descriptor> {
    let size = source.blob(digest)?.len();
    let size = i64::try_from(size).map_err(|_| Error::refused("the size overflows"))?;
    Ok(Descriptor::of(digest, size))
}

/// The names of an image, longest first.
pub fn names_of(descriptor: &Descriptor) -> Vec<String> {
    let keys = [CONTAINERD_NAME, REF_NAME].iter();
    keys.filter_map(|key| descriptor.annotations.get(*key).cloned())
        .collect()
}

pub fn platform_of(descriptor: &Descriptor) -> Option<Platform> {
    descriptor.platform.as_ref()?.platform()
}

/// What identifies an image in a reference: its name, or `@DIGEST`.
pub fn name_or_digest(descriptor: &Descriptor) -> String {
    let name = names_of(descriptor).into_iter().next();
    name.unwrap_or_else(|| format!("@{}", descriptor.digest))
}

fn not_an_image(other: &str) -> Error {
    Error::refused(format!("{other}, not an image"))
}

/// Follows nested indexes to a manifest.
fn descend(
    source: &Source,
    mut descriptor: Descriptor,
    mut bytes: Vec<u8>,
    wanted: &Selection,
) -> Result<(Descriptor, Vec<u8>, Document)> {
    let mut is_listed = !matches!(wanted.choice, Some(Choice::Digest(_)));
    for _ in 0..MAX_NESTING {
        let document: Document = json::parse(&bytes, "the manifest", &json::MANIFEST)?;
        if document.schema_version == Some(1) {
            return Err(
                Error::refused("a manifest of Docker's schema 1, from before 2016")
                    .hint("convert it: `skopeo copy --format v2s2`"),
            );
        }
        match (&document.config, document.manifests.is_empty()) {
            (Some(_), true) => {
                let other = match is_listed {
                    true => other_manifest(&descriptor, &document),
                    false => other_config(&descriptor, &document),
                };
                return match other {
                    Some(other) => Err(not_an_image(&other)),
                    None => Ok((descriptor, bytes, document)),
                };
            }
            (None, false) if document.layers.is_empty() => {
                let name = wanted.choice.and_then(Choice::name);
                descriptor = choose(source, document.manifests, wanted, name)?;
                bytes = descriptor.fetch(source, "the manifest")?;
                is_listed = true;
            }
            (None, true) => return Err(Error::refused("a manifest without a config")),
            _ => {
                return Err(Error::refused(
                    "a manifest with both manifests and a config or layers",
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
        .expect("descend returns only manifests with a config");
    let bytes = config.fetch_config(source).map_err(incomplete)?;
    let config: Config = json::parse(&bytes, "the config", &json::CONFIG)?;
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
    let (digest, size) = descriptor.digest_and_size()?;
    let diff_id = Digest::parse(diff_id)?;
    let hint = || match source {
        Source::Documents(_) => stored::HINT.into(),
        _ => hint_at_missing(descriptor),
    };
    let blob = LayerBlob::found(source.content(&digest, size), hint)?;
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

/// Adds a hint for an image whose config is missing.
fn incomplete(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => error.hint("the image is incomplete: fetch it again"),
        _ => error,
    }
}

fn hint_at_missing(descriptor: &Descriptor) -> String {
    let is_foreign = ["nondistributable", "foreign"]
        .iter()
        .any(|word| descriptor.media_type.contains(word));
    match (is_foreign, descriptor.urls.first()) {
        (true, Some(url)) => {
            let url = crate::path::display(url.as_bytes());
            format!("a foreign layer, which images need not carry; it is at {url}")
        }
        (true, None) => "a foreign layer, which images need not carry".into(),
        (false, _) => "the image is incomplete: fetch it again".into(),
    }
}
