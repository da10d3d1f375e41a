//! The archives of `docker save`: `manifest.json` names a config and the layers of each image.

use std::collections::{BTreeMap, BTreeSet};

use crate::compress::codec::Expected;
use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::{LayerBlob, Source};
use super::json::{self, Config, Saved};
use super::names;
use super::reference::Choice;
use super::{Documents, Image, Layer, Selection};

/// The folder where newer archives keep files by digest.
const BLOBS: &str = "blobs/";
/// How many bytes of configs are hashed to find one by its digest.
const HASHED_MAX: u64 = 1 << 30;
/// The file that Docker before 1.10 wrote instead of `manifest.json`.
pub const REPOSITORIES: &str = "repositories";

/// Whether `manifest.json` is a single manifest, as in skopeo's `dir:`, rather than a list of images.
pub fn is_one_manifest(source: &Source) -> Result<bool> {
    let bytes = source.get("manifest.json")?.document("manifest.json")?;
    Ok(bytes.trim_ascii_start().starts_with(b"{"))
}

/// Opens the image that is wanted, or the only one.
pub fn open(source: &Source, wanted: &Selection) -> Result<Image> {
    if !source.has("manifest.json") {
        return Err(no_list(source));
    }
    if is_one_manifest(source)? {
        let what = "not a Docker archive: its manifest.json is one manifest, as in skopeo's dir:";
        return Err(
            Error::refused(what).hint("extract it with `tar`, and use dir:DIR, or just DIR")
        );
    }
    let bytes = source.get("manifest.json")?.document("manifest.json")?;
    let images: Vec<Saved> = json::parse(&bytes, "manifest.json", &json::SAVED)?;
    let saved = choose(source, images, wanted)?;
    let (digest, document) = config(source, &saved)?;
    let config: Config = json::parse(&document, "the config", &json::CONFIG)?;
    let platform = config.platform.platform();
    wanted.check(platform.as_ref(), &digest)?;
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != saved.layers.len() {
        return Err(Error::refused(format!(
            "manifest.json has {} layers, the config {} diff IDs",
            saved.layers.len(),
            diff_ids.len()
        )));
    }
    let layers = saved.layers.iter().zip(&diff_ids).enumerate();
    let layers = layers
        .map(|(index, (file, diff_id))| {
            layer(source, index + 1, file, diff_id).map_err(|error| error.in_layer(index + 1))
        })
        .collect::<Result<Vec<Layer>>>()?;
    Ok(Image {
        digest,
        name: saved.repo_tags.first().cloned(),
        names: saved.repo_tags,
        platform,
        layers,
        documents: Documents {
            manifest: None,
            config: document,
        },
    })
}

/// The error for an archive without `manifest.json`.
fn no_list(source: &Source) -> Error {
    if source.has("index.json") {
        return Error::refused("not a Docker archive: it has no manifest.json")
            .hint("it is an OCI layout: use oci-archive:FILE, or just FILE");
    }
    if source.has(REPOSITORIES) {
        // moby pull request 50324 removed the reader.
        return Error::refused("an archive of Docker before 1.10, without a manifest.json").hint(
            "Docker 1.10 to 27 converts it: \
                 `docker load -i FILE && docker save -o NEW NAME:TAG`",
        );
    }
    Error::refused("not a Docker archive: it has no manifest.json")
}

fn choose(source: &Source, mut images: Vec<Saved>, wanted: &Selection) -> Result<Saved> {
    if let Some(Choice::Index(at)) = wanted.choice {
        return match *at < images.len() {
            true => Ok(images.swap_remove(*at)),
            false => Err(names::no_such_index(*at, images.len())),
        };
    }
    let mut digests = Digests::of(source);
    let name = wanted.choice.and_then(Choice::name);
    let known = names_of(&images, &mut digests);
    if let Some(name) = name {
        images.retain(|image| image.repo_tags.iter().any(|tag| names::matches(name, tag)));
        if images.is_empty() {
            return Err(names::no_such(name, &known));
        }
    }
    // A Docker archive has no manifests: its configs identify its images.
    if let Some(digest) = wanted.choice.and_then(Choice::digest) {
        images.retain(|image| digests.get(&image.config).as_ref() == Some(digest));
        if images.is_empty() {
            return Err(names::no_such(&digest.to_string(), &known));
        }
    }
    // An image may be listed once for each of its names.
    let mut seen = BTreeSet::new();
    images.retain(|image| seen.insert((image.config.clone(), image.layers.clone())));
    match images.len() {
        1 => Ok(images.remove(0)),
        0 => Err(Error::not_found("there is no image in it")),
        _ => Err(ambiguous(&images, name, &mut digests)),
    }
}

fn ambiguous(images: &[Saved], name: Option<&str>, digests: &mut Digests) -> Error {
    let names = names_of(images, digests);
    let distinct: BTreeSet<&String> = names.iter().collect();
    if name.is_none() && distinct.len() == names.len() {
        return names::ambiguous(&names);
    }
    let digests = images.iter().filter_map(|image| digests.get(&image.config));
    let digests: Vec<String> = digests.map(|digest| format!("@{digest}")).collect();
    names::of_one_name(name, &digests)
}

/// What identifies each image in a reference: its names, or `@DIGEST`.
fn names_of(images: &[Saved], digests: &mut Digests) -> Vec<String> {
    let mut names = Vec::new();
    for image in images {
        names.extend(image.repo_tags.iter().cloned());
        if image.repo_tags.is_empty() {
            let digest = digests.get(&image.config);
            names.extend(digest.map(|digest| format!("@{digest}")));
        }
    }
    names
}

/// The digests of configs, each computed once.
struct Digests<'a> {
    source: &'a Source,
    known: BTreeMap<String, Option<Digest>>,
    /// How many bytes were read for them, because many names may link to one file.
    bytes: u64,
}

impl Digests<'_> {
    fn of(source: &Source) -> Digests<'_> {
        Digests {
            source,
            known: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The digest of a config, if it can be read.
    fn get(&mut self, file: &str) -> Option<Digest> {
        if let Some(known) = self.known.get(file) {
            return known.clone();
        }
        let blob = self.source.get(file).ok()?;
        self.bytes = self.bytes.saturating_add(blob.len());
        if self.bytes > HASHED_MAX {
            return None;
        }
        let digest = blob.document(file).ok().map(|bytes| Digest::of(&bytes));
        self.known.insert(file.into(), digest.clone());
        digest
    }
}

/// The config, which identifies the image. A file name like a digest is not checked: programs that edit
/// archives leave it as it was, and skopeo, umoci and Docker ignore it.
fn config(source: &Source, saved: &Saved) -> Result<(Digest, Vec<u8>)> {
    let bytes = source.get(&saved.config)?.document("the config")?;
    if let Some(digest) = promised(&saved.config) {
        json::check(&digest, &bytes, "the config")?;
    }
    Ok((Digest::of(&bytes), bytes))
}

fn layer(source: &Source, number: usize, file: &str, diff_id: &str) -> Result<Layer> {
    let diff_id = Digest::parse(diff_id)?;
    let incomplete = || "the archive is incomplete: save the image again".to_string();
    Ok(Layer {
        number,
        blob: LayerBlob::found(source.get(file), incomplete)?,
        expected: Expected {
            // Only newer archives name layers by digest; older ones use an identifier of their own.
            blob: digest_in(file).filter(|_| file.starts_with(BLOBS)),
            size: None,
            diff_id: Some(diff_id.clone()),
        },
        diff_id,
        media_type: None,
    })
}

/// The digest of a file in `blobs/`, or of one whose name is a full digest.
fn promised(file: &str) -> Option<Digest> {
    digest_in(file).filter(|_| file.starts_with(BLOBS) || file.starts_with("sha256:"))
}

/// `DIGITS.json` in old archives, `blobs/sha256/DIGITS` in new ones, `sha256:DIGITS` in kaniko's.
fn digest_in(file: &str) -> Option<Digest> {
    let name = file.rsplit('/').next()?;
    let digits = name.strip_suffix(".json").unwrap_or(name);
    let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
    Digest::parse(&format!("sha256:{digits}")).ok()
}
