//! `lowerdir umount TARGET`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir umount /mnt
  lowerdir umount --json /mnt     prints {\"target\":\"/mnt\"}";

/// Take a mount down that `lowerdir mount` made.
///
/// With --tmpfs, the changes are gone with it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Umount {
    /// Where it is mounted
    target: PathBuf,
}

pub fn run(verb: &Umount, global: &Global) -> anyhow::Result<()> {
    crate::mount::umount(&verb.target)?;
    if global.console.json {
        output::json(&json!({ "target": output::text(&verb.target) }))?;
    }
    Ok(())
}
