//! The archives of `docker save`: `manifest.json` names a config and the layers of each image.

use crate::codec::Expected;
use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::{LayerBlob, Source};
use super::json::{self, Config, Saved};
use super::names;
use super::reference::Choice;
use super::{Documents, Image, Layer, Wanted};

/// Opens the image that is wanted, or the only one.
pub fn open(source: &Source, wanted: &Wanted) -> Result<Image> {
    if !source.has("manifest.json") {
        let error = Error::refused("no Docker archive: it has no manifest.json");
        return Err(match source.has("index.json") {
            true => error.hint("it is an OCI layout: say oci-archive:FILE, or just FILE"),
            false => error,
        });
    }
    let bytes = source.get("manifest.json")?.document("manifest.json")?;
    let images: Vec<Saved> = json::parse(&bytes, "manifest.json")?;
    let saved = choose(images, wanted)?;
    let (digest, document, config) = config(source, &saved)?;
    wanted.check(config.platform.platform().as_ref())?;
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
        name: saved.repo_tags.into_iter().next(),
        platform: config.platform.platform(),
        layers,
        documents: Documents {
            manifest: None,
            config: document,
        },
    })
}

fn choose(mut images: Vec<Saved>, wanted: &Wanted) -> Result<Saved> {
    let names: Vec<String> = images.iter().flat_map(names_of).collect();
    match wanted.choice {
        Some(Choice::Name(name)) => {
            images.retain(|image| image.repo_tags.iter().any(|tag| names::is_meant(name, tag)));
            if images.is_empty() {
                return Err(names::no_such(name, &names));
            }
        }
        // A Docker archive has no manifests: its configs identify its images.
        Some(Choice::Digest(digest)) => {
            images.retain(|image| digest_in(&image.config).as_ref() == Some(digest));
            if images.is_empty() {
                return Err(names::no_such(&digest.to_string(), &names));
            }
        }
        None => {}
    }
    match images.len() {
        1 => Ok(images.remove(0)),
        0 => Err(Error::not_found("there is no image in it")),
        _ => Err(names::ambiguous(&names)),
    }
}

/// What tells an image from the others in a reference: `@DIGEST` where it has no name.
fn names_of(image: &Saved) -> Vec<String> {
    match (image.repo_tags.is_empty(), digest_in(&image.config)) {
        (true, Some(digest)) => vec![format!("@{digest}")],
        _ => image.repo_tags.clone(),
    }
}

/// The config, checked against the digest in its file name where it has one.
fn config(source: &Source, saved: &Saved) -> Result<(Digest, Vec<u8>, Config)> {
    let bytes = source.get(&saved.config)?.document("the config")?;
    if let Some(digest) = digest_in(&saved.config) {
        json::check(&digest, &bytes, "the config")?;
    }
    let config = json::parse(&bytes, "the config")?;
    Ok((Digest::of(&bytes), bytes, config))
}

fn layer(source: &Source, number: usize, file: &str, diff_id: &str) -> Result<Layer> {
    let diff_id = Digest::parse(diff_id)?;
    let incomplete = || "the archive is incomplete: save the image again".to_string();
    Ok(Layer {
        number,
        blob: LayerBlob::found(source.get(file), incomplete)?,
        expected: Expected {
            // Only new archives name layers by digest: old ones made up an identifier.
            blob: digest_in(file).filter(|_| file.starts_with("blobs/")),
            size: None,
            diff_id: Some(diff_id.clone()),
        },
        diff_id,
        media_type: None,
    })
}

/// `DIGITS.json` in old archives, `blobs/sha256/DIGITS` in new ones, `sha256:DIGITS` in kaniko's.
fn digest_in(file: &str) -> Option<Digest> {
    let name = file.rsplit('/').next()?;
    let digits = name.strip_suffix(".json").unwrap_or(name);
    let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
    Digest::parse(&format!("sha256:{digits}")).ok()
}
