//! `lowerdir inspect IMAGE`

use std::fmt::Write;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Kind;
use crate::image::{Image, Layer, LayerBlob};
use crate::path::display;
use crate::progress::Silent;
use crate::store::{StoredLayer, Sync};
use crate::view::{Applied, View};

use super::json::Name;
use super::limits::LimitsArgs;
use super::options::ViewArgs;
use super::registry_args::RegistryArgs;
use super::{Global, ImageArgs, output, summary};

const EXAMPLES: &str = "\
Examples:
  lowerdir inspect alpine.tar
  lowerdir inspect oci:layout:latest --no-read       what the documents say, at once
  lowerdir inspect alpine.tar --json | jq '.layers[] | {chain_id, deletions}'
  lowerdir inspect alpine.tar --json | jq -r '.history[].created_by'";

/// Show an image's metadata and its layers.
///
/// Prints name, digest, platform and config, and for each layer its digest, diff ID, chain ID, media
/// type and size, its directory in the store, its number of entries, deletions and opaque directories,
/// and the build step that made it. Layers that are not in the store are read to count their entries.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    #[command(flatten)]
    image: ImageArgs,
    /// Read no blobs: leave out the counts of layers that are not in the store
    #[arg(long)]
    no_read: bool,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// An image as JSON.
#[derive(Serialize)]
struct ImageJson {
    digest: String,
    name: Option<String>,
    platform: Option<String>,
    layers: Vec<LayerJson>,
    history: Vec<StepJson>,
    manifest: Option<Value>,
    config: Value,
}

/// A layer as JSON.
#[derive(Serialize)]
struct LayerJson {
    layer: usize,
    digest: Option<String>,
    diff_id: String,
    chain_id: String,
    media_type: Option<String>,
    /// The size of the blob; `None` if the image lacks it.
    size: Option<u64>,
    /// Its directory in the store, if it is there.
    #[serde(flatten)]
    directory: Name,
    #[serde(flatten)]
    counts: Option<Counts>,
}

#[derive(Serialize)]
struct Counts {
    entries: u64,
    bytes: u64,
    deletions: u64,
    opaque: u64,
}

/// image-spec `config.md`, "history", with the layer that the step made.
#[derive(Serialize)]
struct StepJson {
    layer: Option<usize>,
    #[serde(flatten)]
    step: Step,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Step {
    created: Option<String>,
    created_by: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
}

pub fn run(verb: &Inspect, global: &Global) -> anyhow::Result<()> {
    let image = verb.image.open(&verb.registry, global)?;
    // With --no-read, the documents are shown unchecked.
    if !verb.no_read {
        image.check_media_types()?;
    }
    let stored = stored(&image, global)?;
    let lacks = |layer: &Layer| matches!(layer.blob, LayerBlob::Missing { .. });
    let is_read =
        !verb.no_read && stored.iter().any(Option::is_none) && !image.layers.iter().any(lacks);
    let read = match is_read {
        true => {
            let how = global.how(Sync::None, verb.limits.limits(), &Silent);
            let view = View::read(&image, &verb.view.options(), how)?;
            summary::warn_of_view(&global.console, &image, &view, None);
            view.layers
        }
        false => Vec::new(),
    };
    let chain = image.chain_ids();
    let layers = image.layers.iter().zip(&chain).enumerate();
    let layers = layers.map(|(index, (layer, chain_id))| {
        let stored = stored[index].as_ref();
        LayerJson {
            layer: layer.number,
            digest: layer.expected.blob.as_ref().map(ToString::to_string),
            diff_id: layer.diff_id.to_string(),
            chain_id: chain_id.to_string(),
            media_type: layer.media_type.clone(),
            size: layer.blob.size(),
            directory: Name::path_or_null("directory", stored.map(|stored| &*stored.path)),
            counts: stored
                .map(Counts::recorded)
                .or_else(|| read.get(index).map(Counts::read)),
        }
    });
    let layers: Vec<LayerJson> = layers.collect();
    let documents = &image.documents;
    let config: Value = serde_json::from_slice(&documents.config_by_specification()?)?;
    let manifest = documents.manifest_by_specification()?;
    let told = ImageJson {
        digest: image.digest.to_string(),
        name: image.name.clone(),
        platform: image.platform.as_ref().map(ToString::to_string),
        history: history(&config, layers.len()),
        layers,
        manifest: manifest
            .as_deref()
            .map(serde_json::from_slice)
            .transpose()?,
        config,
    };
    match global.console.json {
        true => output::json(&told)?,
        false => output::bytes(text(&told).as_bytes())?,
    }
    Ok(())
}

/// Each layer that is in the store; `None` if it is missing or damaged. Creates no store.
/// Errors: the store has another format, so that its content is unknown.
fn stored(image: &Image, global: &Global) -> crate::Result<Vec<Option<StoredLayer>>> {
    let store = match global.find_store() {
        Err(error) if error.kind() == Kind::Unsupported => return Err(error),
        Err(error) => {
            let text = format!("skipping the store: {error}");
            global.console.detail(&text);
            None
        }
        Ok(store) => store,
    };
    let find = |chain_id| {
        let Some(store) = &store else {
            return Ok(None);
        };
        match store.layer(&chain_id) {
            Err(error) if error.is_system_fault() && !error.is_denied() => Err(error),
            found => Ok(found.ok().flatten()),
        }
    };
    image.chain_ids().into_iter().map(find).collect()
}

impl Counts {
    fn recorded(stored: &StoredLayer) -> Counts {
        let report = &stored.record.report;
        Counts {
            entries: report.entries,
            bytes: report.bytes,
            deletions: report.deletions,
            opaque: report.opaque,
        }
    }

    fn read(applied: &Applied) -> Counts {
        Counts {
            entries: applied.entries,
            bytes: applied.bytes,
            deletions: applied.deleted.len() as u64,
            opaque: applied.opaque.len() as u64,
        }
    }
}

/// The steps that made the image, each with its layer, if it made one.
fn history(config: &Value, layers: usize) -> Vec<StepJson> {
    let steps = config["history"].as_array().cloned().unwrap_or_default();
    let mut numbers = 1..=layers;
    let steps = steps.into_iter().map(|step| {
        // A malformed history is no reason to fail: the config is shown anyway.
        let step: Step = serde_json::from_value(step).unwrap_or_default();
        let layer = if step.empty_layer {
            None
        } else {
            numbers.next()
        };
        StepJson { layer, step }
    });
    steps.collect()
}

fn text(image: &ImageJson) -> String {
    let mut text = String::new();
    let mut line = |term: &str, meaning: &str| {
        // The image's documents may hold control characters.
        let meaning = display(meaning.as_bytes());
        let term = display(term.as_bytes()).to_string();
        let padded = format!("{term:<11} {meaning}");
        writeln!(text, "{}", padded.trim_end()).expect("memory takes it");
    };
    line("name", image.name.as_deref().unwrap_or("-"));
    line("digest", &image.digest);
    line("platform", image.platform.as_deref().unwrap_or("-"));
    for member in ["created", "author"] {
        if let Some(value) = image.config[member].as_str() {
            line(member, value);
        }
    }
    let empty = Map::new();
    let config = image.config["config"].as_object().unwrap_or(&empty);
    for (name, value) in config.iter().filter(|(_, value)| !value.is_null()) {
        line(&format!("  {name}"), &value.to_string());
    }
    for layer in &image.layers {
        line(&format!("layer {}", layer.layer), "");
        line("  digest", layer.digest.as_deref().unwrap_or("-"));
        line("  diff ID", &layer.diff_id);
        line("  chain ID", &layer.chain_id);
        if let Some(media_type) = &layer.media_type {
            line("  type", media_type);
        }
        let size = layer.size.map(|size| summary::count(size, "byte", "bytes"));
        line(
            "  size",
            size.as_deref().unwrap_or("the image lacks its blob"),
        );
        if let Some(counts) = &layer.counts {
            line("  holds", &counts.text());
        }
        let directory = layer.directory.text();
        line(
            "  store",
            directory.as_deref().unwrap_or("not in the store"),
        );
        let step = image
            .history
            .iter()
            .find(|step| step.layer == Some(layer.layer));
        if let Some(command) = step.and_then(|step| step.step.created_by.as_deref()) {
            line("  made by", command);
        }
    }
    for StepJson { step, .. } in image.history.iter().filter(|step| step.layer.is_none()) {
        line("step", step.created_by.as_deref().unwrap_or("-"));
    }
    text
}

impl Counts {
    /// In the words of `unpack`.
    fn text(&self) -> String {
        summary::counts(&crate::layer::report::Report {
            entries: self.entries,
            bytes: self.bytes,
            deletions: self.deletions,
            opaque: self.opaque,
            ..Default::default()
        })
    }
}
