//! `lowerdir pull IMAGE oci:DIR:TAG`

use std::ffi::OsString;
use std::path::Path;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::Error;
use crate::repack::layout::Layout;
use crate::store::Sync;

use super::json::Name;
use super::limits::LimitsArgs;
use super::progress::{self, Shown};
use super::registry_args::RegistryArgs;
use super::summary::count;
use super::target;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir pull docker://alpine:3.20 oci:images:3.20
  lowerdir pull --platform linux/arm64 docker://example.org/app oci:/media/usb/images:app
  lowerdir unpack oci:images:3.20                  on another machine, without a network";

/// Copy an image into an OCI layout, as it is.
///
/// The manifest, the config and the layers keep their digests. DIR is made if it is absent; blobs that it
/// has are not fetched, and TAG moves to the new image. If a pull is killed or fails, the next one goes
/// on where it stopped. Of an image for several platforms, one is copied.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Pull {
    #[command(flatten)]
    image: ImageArgs,
    /// The image to write: a tag in an OCI layout
    #[arg(value_name = "oci:DIR:TAG")]
    target: OsString,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// The result as JSON.
#[derive(Serialize)]
struct Pulled {
    #[serde(flatten)]
    target: Name,
    digest: String,
    layers: usize,
    /// How many blobs of layers were not there.
    new_blobs: usize,
    /// Their size.
    bytes: u64,
}

pub fn run(verb: &Pull, global: &Global) -> anyhow::Result<()> {
    let Some(target) = target::layout(&verb.target) else {
        let text = "an image is copied into an OCI layout: name oci:DIR:TAG after IMAGE";
        let error = Error::usage(text);
        return Err(
            match verb.target.to_string_lossy().starts_with("docker://") {
                true => error.hint("`skopeo copy` pushes images: lowerdir only fetches them"),
                false => error,
            }
            .into(),
        );
    };
    let (path, tag) = target?;
    let image = verb.image.open(&verb.registry, global)?;
    verb.image.note_platform(&image, global);
    let copied = {
        let shown = Shown::start(&global.console, &progress::Expected::image(&image))?;
        let how = global.how(Sync::Fs, verb.limits.limits(), &shown);
        Layout::open_or_create(&path)?.copy(&image, &tag, how)?
    };
    if global.console.json {
        output::json(&Pulled {
            target: Name::path("target", Path::new(&verb.target)),
            digest: copied.digest.to_string(),
            layers: image.layers.len(),
            new_blobs: copied.blobs,
            bytes: copied.bytes,
        })?;
        return Ok(());
    }
    let layers = count(image.layers.len() as u64, "layer", "layers");
    let bytes = HumanBytes(copied.bytes);
    global.console.note(&format!(
        "{layers}, {} of them new, {bytes}; manifest {}",
        copied.blobs, copied.digest
    ));
    Ok(())
}
