//! `lowerdir unpack-layer BLOB DIR`

use std::fs::File;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::Error;
use crate::compress::codec::Expected;
use crate::digest::Digest;
use crate::image::Blob;
use crate::store::Staging;
use crate::store::pipeline::{self, Parents};

use super::input::open_layer;
use super::json::{Name, ReportJson};
use super::limits::LimitsArgs;
use super::options::{SyncArgs, TranslationArgs};
use super::progress::{self, Shown};
use super::summary::{counts, warn};
use super::target::refuse_archive_name;
use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir unpack-layer --base layer1.tar.gz dir1           the lowest layer
  lowerdir unpack-layer layer2.tar.gz dir2 --lower dir1    the one above it
  lowerdir unpack-layer layer3.tar.gz dir3 --lower dir2 --lower dir1
  lowerdir unpack-layer layer.tar.zst dir                   over layers that are not known
  curl -s URL | lowerdir unpack-layer --digest sha256:DIGITS - dir

A snapshotter runs it once per layer; mount(8) stacks the directories, topmost first.";

/// Unpack one layer into a directory.
///
/// DIR must be absent or empty. The layer is unpacked beside it and renamed when it is complete; on
/// failure nothing is left. If every layer directory below is given with --lower, or there is none
/// (--base), the result equals that of `unpack`. Otherwise the result fits over any layers, if that is
/// possible: every whiteout is written, needed or not, and directories without an entry get 0755 0:0.
/// An archive of a whole image is refused, unless --digest or --diff-id says that it is the layer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct UnpackLayer {
    /// The layer: a tar archive, plain or compressed by gzip, zstd or xz; `-` is standard input
    blob: PathBuf,
    /// Where to unpack it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A layer directory below, topmost first; may be given many times
    #[arg(
        long = "lower",
        alias = "parent",
        value_name = "DIR",
        conflicts_with = "base"
    )]
    parent: Vec<PathBuf>,
    /// There are no layers below
    #[arg(long)]
    base: bool,
    /// Expected digest of the blob
    #[arg(long, value_parser = Digest::parse)]
    digest: Option<Digest>,
    /// Expected digest of the uncompressed archive
    #[arg(long, value_name = "DIGEST", value_parser = Digest::parse)]
    diff_id: Option<Digest>,
    #[command(flatten)]
    translation: TranslationArgs,
    #[command(flatten)]
    sync: SyncArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

/// A pipe is copied first.
fn open_blob(file: File) -> crate::Result<Blob> {
    let metadata = file
        .metadata()
        .map_err(|error| Error::system("looking at it", error))?;
    if metadata.is_file() {
        Blob::from_file(file)
    } else {
        Blob::from_reader(file)
    }
}

pub fn run(verb: &UnpackLayer, global: &Global) -> anyhow::Result<()> {
    let instead = format!(
        "`lowerdir translate BLOB {}` writes one",
        verb.directory.display()
    );
    refuse_archive_name(&verb.directory, &instead)?;
    let file = open_layer(&verb.blob)?;
    let blob = open_blob(file).with_context(|| verb.blob.display().to_string())?;
    let expected = Expected {
        blob: verb.digest.clone(),
        size: None,
        diff_id: verb.diff_id.clone(),
    };
    let parents = match verb.parent.is_empty() && !verb.base {
        true => Parents::Unknown,
        false => Parents::Known(verb.parent.clone()),
    };
    let options = verb
        .translation
        .options(|| Staging::beside_target(&verb.directory))?;
    let done = {
        let shown = Shown::start(&global.console, &progress::Expected::layers(1))?;
        let how = global.how(verb.sync.sync(), verb.limits.limits(), &shown);
        pipeline::unpack_layer(&blob, &expected, &verb.directory, &parents, &options, how)
    };
    let (report, measured) = done.map_err(|error| error.in_layer(verb.blob.display()))?;
    warn(&global.console, std::iter::once((String::new(), &report)));
    if global.console.json {
        output::json(&UnpackedLayer {
            directory: Name::path("directory", &verb.directory),
            diff_id: measured.diff_id.to_string(),
            digest: measured.blob.to_string(),
            size: measured.size,
            report: ReportJson::from(&report),
        })?;
        return Ok(());
    }
    let text = format!("{}; diff ID {}", counts(&report), measured.diff_id);
    global.console.note(&text);
    Ok(())
}

/// The result as JSON.
#[derive(Serialize)]
struct UnpackedLayer {
    #[serde(flatten)]
    directory: Name,
    diff_id: String,
    digest: String,
    size: u64,
    #[serde(flatten)]
    report: ReportJson,
}
