//! `lowerdir images`

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::digest::Digest;
use crate::escape::{controls, display};
use crate::store::Store;

use super::advice;
use super::progress::Shown;
use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir images
  lowerdir images --json | jq -r 'select(.complete | not) | .digest'";

/// List the images in the store, or in each of several stores.
///
/// SIZE is the total size of the files in an image's layers. Shared layers count for each image.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Images {}

/// An image as JSON: one line each.
#[derive(Serialize)]
struct ImageJson {
    digest: Digest,
    names: Vec<String>,
    /// Chain IDs, the lowest first.
    layers: Vec<Digest>,
    bytes: u64,
    /// Whether all its layers are there, in any of the stores.
    complete: bool,
    /// The store that it is listed in.
    store: String,
}

pub fn run(_: &Images, global: &Global) -> anyhow::Result<()> {
    let store = global.open_store()?;
    let (mut images, mut damaged) = (Vec::new(), Vec::new());
    {
        let _lock = store.lock_shared(&Shown::start(&global.console, 0)?)?;
        for one in store.each() {
            for digest in one.image_digests()? {
                match measure(&digest, one, &store) {
                    Ok(image) => images.push(image),
                    Err(error) if error.is_system_fault() => return Err(error.into()),
                    Err(error) => damaged.push((digest, error)),
                }
            }
        }
    }
    for (digest, error) in &damaged {
        let (short, reason) = (digest.short(), error.reason());
        let hint = advice::hint(error).unwrap_or_default();
        let text = format!("image {short} is not listed: {reason}: {hint}");
        global.console.warning(&text);
    }
    if global.console.json {
        for image in &images {
            output::json(image)?;
        }
        return Ok(());
    }
    if images.is_empty() && damaged.is_empty() {
        global.console.note("there are no images in the store");
        return Ok(());
    }
    let is_one = store.each().count() == 1;
    let width = images.iter().map(|image| image.store.len()).max();
    // The column is only of use with several stores.
    let width = width
        .filter(|_| !is_one)
        .map(|width| width.max("STORE".len()));
    let mut lines = vec![line(["DIGEST", "LAYERS", "SIZE", "STORE", "NAMES"], width)];
    for image in &images {
        lines.push(line(image.columns().each_ref().map(String::as_str), width));
    }
    output::lines(lines.iter().map(|line| line.trim_end().as_bytes()))?;
    Ok(())
}

/// Measures an image of one store, whose layers may be in any of them.
fn measure(digest: &Digest, one: &Store, all: &Store) -> crate::Result<ImageJson> {
    let image = one.image(digest)?;
    let (mut bytes, mut complete) = (0, true);
    for layer in &image.layers {
        // A damaged layer counts as missing.
        match all.layer(layer) {
            Ok(Some(stored)) => bytes += stored.record.report.bytes,
            Err(error) if error.is_system_fault() => return Err(error),
            _ => complete = false,
        }
    }
    Ok(ImageJson {
        digest: image.digest,
        names: image.names,
        layers: image.layers,
        bytes,
        complete,
        store: output::text(one.path()),
    })
}

impl ImageJson {
    fn columns(&self) -> [String; 5] {
        let (algorithm, hex) = (self.digest.algorithm().name(), self.digest.hex());
        let names = self
            .names
            .iter()
            .map(|name| display(name.as_bytes()).to_string());
        let names: Vec<String> = names.collect();
        let names = match self.complete {
            true => names.join(", "),
            false => format!("{} (incomplete)", names.join(", ")),
        };
        [
            // `rm` and `verify` accept this form.
            format!("{algorithm}:{}", &hex[..12]),
            self.layers.len().to_string(),
            HumanBytes(self.bytes).to_string(),
            controls(&self.store).into_owned(),
            names.trim_start().into(),
        ]
    }
}

/// A line, with the store padded to a width.
fn line([digest, layers, size, store, names]: [&str; 5], width: Option<usize>) -> String {
    let store = width.map(|width| format!("{store:<width$}  "));
    let store = store.unwrap_or_default();
    format!("{digest:<20} {layers:>6} {size:>10}  {store}{names}")
}
