//! `lowerdir images`

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use lowerdir::digest::Digest;
use lowerdir::store::Store;

use super::progress::Shown;
use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir images
  lowerdir images --json | jq -r 'select(.complete | not) | .digest'";

/// List the images in the store.
///
/// SIZE is what the files of its layers hold; layers that images share count for each of them.
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
    /// Whether the store has all its layers.
    complete: bool,
}

pub fn run(_: &Images, global: &Global) -> anyhow::Result<()> {
    let store = global.open_store()?;
    let (mut images, mut damaged) = (Vec::new(), Vec::new());
    {
        let _hold = store.share(&Shown::start(&global.console, 0)?)?;
        for digest in store.image_digests()? {
            match measure(&digest, &store) {
                Ok(image) => images.push(image),
                Err(error) => damaged.push((digest, error)),
            }
        }
    }
    for (digest, error) in &damaged {
        let (short, reason) = (digest.short(), error.reason());
        let hint = error.hint_text().unwrap_or_default();
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
    let mut lines = vec![format!(
        "{:<20} {:>6} {:>10}  NAMES",
        "DIGEST", "LAYERS", "SIZE"
    )];
    lines.extend(images.iter().map(line));
    output::lines(lines.iter().map(|line| line.trim_end().as_bytes()))?;
    Ok(())
}

fn measure(digest: &Digest, store: &Store) -> lowerdir::Result<ImageJson> {
    let image = store.image(digest)?;
    let (mut bytes, mut complete) = (0, true);
    for layer in &image.layers {
        // A damaged layer is one that is not there.
        match store.layer(layer) {
            Ok(Some(stored)) => bytes += stored.record.report.bytes,
            _ => complete = false,
        }
    }
    Ok(ImageJson {
        digest: image.digest,
        names: image.names,
        layers: image.layers,
        bytes,
        complete,
    })
}

fn line(image: &ImageJson) -> String {
    let (algorithm, hex) = (image.digest.algorithm().name(), image.digest.hex());
    // As `rm` and `verify` take it.
    let short = format!("{algorithm}:{}", &hex[..12]);
    let names = match image.complete {
        true => image.names.join(", "),
        false => format!("{} (incomplete)", image.names.join(", ")),
    };
    let (layers, size) = (image.layers.len(), HumanBytes(image.bytes).to_string());
    format!("{short:<20} {layers:>6} {size:>10}  {}", names.trim_start())
}
