//! `lowerdir tag IMAGE NAME...`

use clap::Args;
use serde_json::json;

use crate::Result;

use super::options::SyncArgs;
use super::progress::{self, Shown};
use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir tag alpine:3.20 base             base:latest is the same image
  lowerdir tag 8d5b docker.io/me/app:1.0    an image by the first digits of its digest
  lowerdir rm base                          take the name away again";

/// Give an image in the store more names.
///
/// A name without a tag gets `latest`. A name belongs to one image: giving it to this one takes it from
/// another, and a note says so.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Tag {
    /// One of its names, its digest, or the first four or more digits of its digest
    image: String,
    /// A name, such as alpine:3.20 or docker.io/library/alpine:3.20
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    sync: SyncArgs,
}

pub fn run(verb: &Tag, global: &Global) -> anyhow::Result<()> {
    let store = global.open_existing_store()?;
    // The image stays until it has the names.
    let _lock = store.lock_shared(&Shown::start(
        &global.console,
        &progress::Expected::nothing(),
    )?)?;
    let image = verb.image.strip_prefix("store:").unwrap_or(&verb.image);
    let digest = store.require_image(image)?;
    let moved = store.tag(&digest, &verb.names, verb.sync.sync())?;
    for (name, before) in &moved {
        let text = format!("{name} was the name of image {}", before.short());
        global.console.note(&text);
    }
    let names = store.names_of(&digest)?;
    if global.console.json {
        let moved = moved
            .iter()
            .map(|(name, before)| json!({ "name": name, "from": before }));
        output::json(&json!({
            "digest": digest,
            "names": names,
            "moved": moved.collect::<Vec<_>>(),
        }))?;
        return Ok(());
    }
    global
        .console
        .note(&format!("image {}: {}", digest.short(), names.join(", ")));
    Ok(())
}

/// Names that are given to an image with --name. Errors: one of them cannot be a name.
pub fn check_names(names: &[String]) -> Result<Vec<String>> {
    names
        .iter()
        .map(|name| crate::image::names::parse(name))
        .collect()
}
