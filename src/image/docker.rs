//! The archives of `docker save`: `manifest.json` names a config and the layers of each image.

use crate::codec::Expected;
use crate::digest::Digest;
use crate::error::{Error, Result};

use super::blob::Source;
use super::json::{self, Config, Saved};
use super::{Image, Layer};

/// Opens the image of a name, or the only one.
pub fn open(source: &Source, name: Option<&str>) -> Result<Image> {
    if !source.has("manifest.json") {
        return Err(Error::refused("no Docker archive: it has no manifest.json"));
    }
    let bytes = source.get("manifest.json")?.document("manifest.json")?;
    let images: Vec<Saved> = json::parse(&bytes, "manifest.json")?;
    let saved = choose(images, name)?;
    let (digest, config) = config(source, &saved)?;
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
        layers,
    })
}

fn choose(mut images: Vec<Saved>, name: Option<&str>) -> Result<Saved> {
    let names: Vec<String> = images
        .iter()
        .flat_map(|image| image.repo_tags.iter().cloned())
        .collect();
    let names = names.join(", ");
    if let Some(name) = name {
        let with_default_tag = format!("{name}:latest");
        let is_it = |tag: &String| tag == name || *tag == with_default_tag;
        images.retain(|image| image.repo_tags.iter().any(is_it));
    }
    match (images.len(), name) {
        (1, _) => Ok(images.remove(0)),
        (0, Some(name)) => Err(Error::not_found(format!("no image is named {name}"))
            .hint(format!("there are: {names}"))),
        (0, None) => Err(Error::not_found("there is no image in it")),
        _ => Err(
            Error::not_found("there are several images, and no name says which")
                .hint(format!("add a name to the reference; there are: {names}")),
        ),
    }
}

/// The config, checked against the digest in its file name where it has one.
fn config(source: &Source, saved: &Saved) -> Result<(Digest, Config)> {
    let bytes = source.get(&saved.config)?.document("the config")?;
    if let Some(digest) = digest_in(&saved.config) {
        json::check(&digest, &bytes, "the config")?;
    }
    let config = json::parse(&bytes, "the config")?;
    Ok((Digest::of(&bytes), config))
}

fn layer(source: &Source, number: usize, file: &str, diff_id: &str) -> Result<Layer> {
    let diff_id = Digest::parse(diff_id)?;
    let blob = source.get(file)?;
    Ok(Layer {
        number,
        expected: Expected {
            // Only new archives name layers by digest: old ones made up an identifier.
            blob: digest_in(file).filter(|_| file.starts_with("blobs/")),
            size: None,
            diff_id: Some(diff_id.clone()),
        },
        diff_id,
        blob,
    })
}

/// `DIGITS.json` in old archives, `blobs/sha256/DIGITS` in new ones, `sha256:DIGITS` by kaniko.
fn digest_in(file: &str) -> Option<Digest> {
    let name = file.rsplit('/').next()?;
    let digits = name.strip_suffix(".json").unwrap_or(name);
    let digits = digits.strip_prefix("sha256:").unwrap_or(digits);
    Digest::parse(&format!("sha256:{digits}")).ok()
}
