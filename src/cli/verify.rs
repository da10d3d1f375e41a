//! `lowerdir verify IMAGE`

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use lowerdir::digest::Digest;
use lowerdir::image::{Image, Platform};
use lowerdir::store::Store;
use lowerdir::{Error, pipeline, verify};

use super::limits::LimitsArgs;
use super::options::SyncArgs;
use super::progress::Shown;
use super::summary::count;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir verify --all                  every layer in the store
  lowerdir verify alpine:3.20            an image in the store, by name or digest
  lowerdir verify --quick alpine.tar     an image in the store, by the archive that it came from
  lowerdir verify --repair alpine.tar    unpack its damaged layers again

Exit status: 0 all is as it was unpacked, 3 something was changed.";

/// Compare layers in the store with what was written down when they were unpacked.
///
/// Prints each path that was changed, and what was: its type, mode, owner, time, xattrs, target or
/// content; what is missing, and what was added.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// An image in the store: one of its names, its digest, at least four digits that its digest
    /// begins with; or any IMAGE that `unpack` takes
    #[arg(required_unless_present = "all")]
    image: Option<OsString>,
    /// Every layer in the store, and those that its images lack
    #[arg(long, conflicts_with_all = ["image", "repair"])]
    all: bool,
    /// Compare everything but what files hold, which takes no reading of them
    #[arg(long)]
    quick: bool,
    /// Unpack the damaged layers of IMAGE again: it must be one that `unpack` takes
    #[arg(long)]
    repair: bool,
    /// Which image of several, as OS/ARCHITECTURE[/VARIANT] [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
    /// IMAGE is the digest of a manifest or an index in this content store
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
    #[command(flatten)]
    sync: SyncArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

/// A layer to look at: how it is called, and its chain ID.
type Named = (String, Digest);

pub fn run(verb: &Verify, global: &Global) -> anyhow::Result<()> {
    let store = global.open_store()?;
    let waits = || {
        global
            .console
            .note("waiting for another process that is removing layers")
    };
    let hold = verify::hold(&store, waits)?;
    let image = verb.open_image(&store)?;
    let layers = match &image {
        Some(image) => of_image(image),
        None => verb.of_store(&store)?,
    };
    let damaged = compare(verb, &layers, &store, global)?;
    // Repairing takes the store for one alone.
    drop(hold);
    let total = count(layers.len() as u64, "layer", "layers");
    if damaged.is_empty() {
        let quick = if verb.quick {
            ", but for what files hold"
        } else {
            ""
        };
        let note = format!("{total}: as they were unpacked{quick}");
        global.console.note(&note);
        return Ok(());
    }
    let text = format!("{} of {total} were changed", damaged.len());
    match image.filter(|_| verb.repair) {
        Some(image) => {
            global.console.note(&text);
            repair(verb, &image, &store, &damaged, global)
        }
        None => Err(Error::mismatch(text)
            .hint("`lowerdir verify --repair IMAGE` unpacks them again, from the image's blobs")
            .into()),
    }
}

impl Verify {
    /// The image that blobs are there for; `None` if it is one that only the store knows.
    fn open_image(&self, store: &Store) -> anyhow::Result<Option<Image>> {
        let Some(reference) = self.image.clone() else {
            return Ok(None);
        };
        let is_stored = match reference.to_str() {
            Some(name) => store.find_image(name)?.is_some(),
            None => false,
        };
        if is_stored && !self.repair && self.blobs.is_none() {
            return Ok(None);
        }
        let (platform, blobs) = (self.platform.clone(), self.blobs.clone());
        let image = ImageArgs {
            reference,
            platform,
            blobs,
        };
        Ok(Some(image.open()?))
    }

    /// What the store knows of.
    fn of_store(&self, store: &Store) -> anyhow::Result<Vec<Named>> {
        let mut layers = BTreeSet::new();
        match self.image.as_ref().and_then(|name| name.to_str()) {
            Some(name) => {
                let image = store.find_image(name)?.context("it was just removed")?;
                let ids = image.layers.iter().enumerate();
                let named = ids.map(|(index, id)| {
                    let id = Digest::parse(id)?;
                    Ok((format!("{} ({})", index + 1, id.short()), id))
                });
                return named.collect();
            }
            None => {
                layers.extend(store.layers()?);
                for image in store.images()? {
                    for id in &image.layers {
                        layers.insert(Digest::parse(id)?);
                    }
                }
            }
        }
        Ok(layers.into_iter().map(|id| (id.short(), id)).collect())
    }
}

fn of_image(image: &Image) -> Vec<Named> {
    let labels = image.layers.iter().map(|layer| layer.label());
    labels.zip(pipeline::chain_ids(image)).collect()
}

/// Prints what is wrong with each layer; returns which ones something is wrong with.
fn compare(
    verb: &Verify,
    layers: &[Named],
    store: &Store,
    global: &Global,
) -> anyhow::Result<BTreeSet<usize>> {
    let mut damaged = BTreeSet::new();
    for (index, (label, chain_id)) in layers.iter().enumerate() {
        let changes = verify::verify_layer(store, chain_id, verb.quick)?;
        if !changes.is_empty() {
            damaged.insert(index);
        }
        let whole = if changes.is_empty() {
            "whole"
        } else {
            "changed"
        };
        global.console.detail(&format!("layer {label}: {whole}"));
        for change in changes {
            if global.console.json {
                output::json(&json!({
                    "layer": label,
                    "chain_id": chain_id.to_string(),
                    "path": change.path,
                    "change": change.what,
                }))?;
                continue;
            }
            let path = change.path.map_or_else(String::new, |path| path + ": ");
            let line = format!("layer {label}: {path}{}", change.what);
            output::lines(std::iter::once(line.as_bytes()))?;
        }
    }
    Ok(damaged)
}

fn repair(
    verb: &Verify,
    image: &Image,
    store: &Store,
    damaged: &BTreeSet<usize>,
    global: &Global,
) -> anyhow::Result<()> {
    let layers = {
        let shown = Shown::start(&global.console, image.layers.len())?;
        let how = global.how(verb.sync.sync(), verb.limits.limits(), &shown);
        verify::repair(image, store, damaged, how)?
    };
    let unpacked = layers.iter().filter(|layer| !layer.was_there).count();
    let unpacked = count(unpacked as u64, "layer was", "layers were");
    global.console.note(&format!("{unpacked} unpacked again"));
    Ok(())
}
