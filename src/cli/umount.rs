//! `lowerdir umount TARGET`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Global, output};

/// Take a mount down that `lowerdir mount` made.
///
/// With --tmpfs, the changes are gone with it.
#[derive(Debug, Args)]
pub struct Umount {
    /// Where it is mounted
    target: PathBuf,
}

pub fn run(verb: &Umount, global: &Global) -> anyhow::Result<()> {
    lowerdir::mount::umount(&verb.target)?;
    if global.console.json {
        output::json(&json!({ "target": output::text(&verb.target) }))?;
    }
    Ok(())
}
