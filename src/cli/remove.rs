//! `lowerdir rm IMAGE` and `lowerdir prune`

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;

use crate::store::{self, Removal, Removing};

use super::options::SyncArgs;
use super::progress::{self, Shown};
use super::summary::count;
use super::{Global, output};

const RM_EXAMPLES: &str = "\
Examples:
  lowerdir rm alpine:3.20
  lowerdir rm -n sha256:DIGITS     what would be removed
  lowerdir rm 8d5b                 by the first digits of its digest

`lowerdir images` lists the images.";

const PRUNE_EXAMPLES: &str = "\
Examples:
  lowerdir prune -n     what would be removed
  lowerdir prune";

/// Remove images, with the layers that only they need.
///
/// Prints the chain IDs of these layers. Of an image with several names, a name removes only itself; a digest
/// removes the image. A mounted image is not removed, in whatever mount namespace it is
/// mounted. Layers in use by a snapshot of lowerdir-snapshotter stay.
#[derive(Debug, Args)]
#[command(after_help = RM_EXAMPLES)]
pub struct Rm {
    /// One of its names, its digest, or the first four or more digits of its digest
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    how: RemovalArgs,
}

/// Remove layers that no image, mount or snapshot needs.
///
/// Prints their chain IDs. Such layers remain when a run is killed at the last moment, or when the
/// record of a mounted image is removed by hand. What was fetched of layers from a registry, before
/// `unpack` failed or was killed, is removed too; otherwise the next `unpack` goes on from there.
#[derive(Debug, Args)]
#[command(after_help = PRUNE_EXAMPLES)]
pub struct Prune {
    #[command(flatten)]
    how: RemovalArgs,
}

#[derive(Debug, Args)]
struct RemovalArgs {
    /// Print what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    sync: SyncArgs,
}

pub fn rm(verb: &Rm, global: &Global) -> anyhow::Result<()> {
    let store = global.open_existing_store()?;
    for image in &verb.images {
        let removal = {
            let shown = Shown::start(&global.console, &progress::Expected::nothing())?;
            let image = image.strip_prefix("store:").unwrap_or(image);
            store::remove_image(&store, image, verb.how.removing(&shown))?
        };
        print(&removal, verb.how.dry_run, global)?;
    }
    Ok(())
}

pub fn prune(verb: &Prune, global: &Global) -> anyhow::Result<()> {
    let store = global.open_existing_store()?;
    let removal = {
        let shown = Shown::start(&global.console, &progress::Expected::nothing())?;
        store::prune(&store, verb.how.removing(&shown))?
    };
    print(&removal, verb.how.dry_run, global)
}

impl RemovalArgs {
    fn removing<'a>(&self, progress: &'a Shown) -> Removing<'a> {
        Removing {
            dry_run: self.dry_run,
            sync: self.sync.sync(),
            progress,
        }
    }
}

fn print(removal: &Removal, dry_run: bool, global: &Global) -> anyhow::Result<()> {
    let layers: Vec<String> = removal.layers.iter().map(ToString::to_string).collect();
    for (layer, mount) in &removal.mounted {
        let layer = layer.short();
        global
            .console
            .note(&format!("{layer} stays: it is in use by {mount}"));
    }
    for (layer, owner) in &removal.pinned {
        let layer = layer.short();
        global
            .console
            .note(&format!("{layer} stays: {owner} needs it"));
    }
    if let Some(damage) = &removal.damage {
        global.console.warning(&format!(
            "its layers stay, because its record is damaged ({damage}): see `lowerdir prune`"
        ));
    }
    if global.console.json {
        output::json(&json!({
            "image": removal.image,
            "name": removal.name,
            "layers": layers,
            "bytes": removal.bytes,
            "downloads": removal.downloads,
            "pinned": removal.pinned.keys().map(ToString::to_string).collect::<Vec<_>>(),
            "mounted": removal.mounted.keys().map(ToString::to_string).collect::<Vec<_>>(),
            "dry_run": dry_run,
        }))?;
        return Ok(());
    }
    let image = removal.image.as_ref();
    let image = image.map_or_else(String::new, |image| format!("image {image}: "));
    let done = if dry_run { "would remove" } else { "removed" };
    if let Some(name) = &removal.name {
        let name = crate::path::display(name.as_bytes());
        let text = format!("{done} the name {name}: its image has others, and stays");
        global.console.note(&text);
        return Ok(());
    }
    let layers_in_words = count(layers.len() as u64, "layer", "layers");
    let bytes = HumanBytes(removal.bytes);
    let downloads = match removal.downloads {
        0 => String::new(),
        number => format!(
            " and {}",
            count(number, "unfinished download", "unfinished downloads")
        ),
    };
    let summary = format!("{done} {image}{layers_in_words}{downloads}, {bytes}");
    global.console.note(&summary);
    output::lines(layers.iter().map(String::as_bytes))?;
    Ok(())
}
