//! `lowerdir unpack IMAGE`

use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;

use crate::image::{Image, Layer};
use crate::store::pipeline::{self, Unpacked};

use super::json::{Name, ReportJson};
use super::limits::LimitsArgs;
use super::options::{SyncArgs, TranslationArgs};
use super::progress::{self, Shown};
use super::registry_args::RegistryArgs;
use super::summary::{self, count, counts, warn};
use super::tag::check_names;
use super::usage::of_option;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir unpack alpine.tar                        what `docker save` or `podman save` wrote
  lowerdir unpack oci:layout:3.20                   one image of an OCI layout
  lowerdir unpack --platform linux/arm64 multi.tar  one platform of several
  zstdcat image.tar.zst | lowerdir unpack -         an archive on standard input
  lowerdir unpack --blobs /var/lib/containerd/io.containerd.content.v1.content sha256:DIGITS
  lowerdir unpack --json alpine.tar | jq -r '.layers[].directory'";

/// Unpack an image into the store, and print the layer directories.
///
/// The directories are printed one per line, topmost first. Layers already in the store are not read
/// again. The digest, size and diff ID of every blob are verified. If a layer fails, or on Ctrl-C, no
/// layer is added.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Unpack {
    #[command(flatten)]
    image: ImageArgs,
    /// Name of the image in the store; may be given many times [default: its full names or, if it has none, the
    /// name of its file and its tag]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    #[command(flatten)]
    translation: TranslationArgs,
    #[command(flatten)]
    sync: SyncArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub fn run(verb: &Unpack, global: &Global) -> anyhow::Result<()> {
    let started = Instant::now();
    let names = check_names(&verb.name).map_err(|error| of_option("--name", error))?;
    let mut image = verb.image.open(&verb.registry, global)?;
    if !names.is_empty() {
        image.names = names;
    }
    verb.image.note_platform(&image, global);
    let store = global.open_store()?;
    let options = verb.translation.options(|| store.stage())?;
    let layers = {
        let shown = Shown::start(&global.console, &progress::Expected::image(&image))?;
        let how = global.how(verb.sync.sync(), verb.limits.limits(), &shown);
        pipeline::unpack_image(&image, &store, &options, how)?
    };
    let reports = image.layers.iter().zip(&layers);
    let reports = reports.map(|(layer, unpacked)| (layer.label(), &unpacked.record.report));
    warn(&global.console, reports);
    if image.names.is_empty() && store.names_of(&image.digest)?.is_empty() {
        let digest = image.digest.short();
        let text =
            format!("the image gets no name in the store: it is {digest}, and --name names it");
        global.console.note(&text);
    }
    let seconds = started.elapsed().as_secs_f64();
    if global.console.json {
        output::json(&Unpacking::new(&image, &layers, seconds))?;
        return Ok(());
    }
    global.console.note(&summarize(&layers, seconds));
    let directories = layers.iter().rev();
    output::lines(directories.map(|layer| layer.path.as_os_str().as_bytes()))?;
    Ok(())
}

/// What was done, in one line.
fn summarize(layers: &[Unpacked], seconds: f64) -> String {
    let new = layers.iter().filter(|layer| !layer.was_there);
    let total = summary::sum(new.map(|layer| &layer.record.report));
    let were_there = layers.iter().filter(|layer| layer.was_there).count();
    let unpacked = count((layers.len() - were_there) as u64, "layer", "layers");
    match (layers.len(), were_there) {
        (0, _) => "the image has no layers".into(),
        (1, 1) => "its layer is already present".into(),
        (all, were) if all == were => {
            format!("all {} layers are already present", HumanCount(all as u64))
        }
        (_, 0) => format!("{unpacked} in {seconds:.2} s: {}", counts(&total)),
        (_, were) => format!(
            "{unpacked} in {seconds:.2} s: {}; {} already present",
            counts(&total),
            HumanCount(were as u64)
        ),
    }
}

/// The result as JSON.
#[derive(Serialize)]
struct Unpacking {
    digest: String,
    /// The names that it was given in the store.
    names: Vec<String>,
    platform: Option<String>,
    /// The lowest first.
    layers: Vec<LayerJson>,
    seconds: f64,
}

#[derive(Serialize)]
struct LayerJson {
    diff_id: String,
    chain_id: String,
    digest: String,
    size: u64,
    #[serde(flatten)]
    directory: Name,
    was_there: bool,
    #[serde(flatten)]
    report: ReportJson,
}

impl Unpacking {
    fn new(image: &Image, layers: &[Unpacked], seconds: f64) -> Unpacking {
        let layers = image.layers.iter().zip(layers);
        Unpacking {
            digest: image.digest.to_string(),
            names: image.names.clone(),
            platform: image.platform.as_ref().map(ToString::to_string),
            layers: layers
                .map(|(layer, unpacked)| layer_json(layer, unpacked))
                .collect(),
            seconds,
        }
    }
}

fn layer_json(layer: &Layer, unpacked: &Unpacked) -> LayerJson {
    let record = &unpacked.record;
    LayerJson {
        diff_id: layer.diff_id.to_string(),
        chain_id: record.chain_id.clone(),
        digest: record.blob.clone(),
        size: record.size,
        directory: Name::path("directory", &unpacked.path),
        was_there: unpacked.was_there,
        report: ReportJson::from(&record.report),
    }
}
