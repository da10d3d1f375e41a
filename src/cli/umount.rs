//! `lowerdir umount TARGET`

use std::path::PathBuf;

use clap::Args;

use super::json::Name;
use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir umount /mnt
  lowerdir umount --json /mnt     prints {\"target\":\"/mnt\"}";

/// Unmount what `lowerdir mount` mounted.
///
/// Changes of a mount with --tmpfs are lost.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Umount {
    /// The mount point
    target: PathBuf,
}

pub fn run(verb: &Umount, global: &Global) -> anyhow::Result<()> {
    crate::mount::umount(&verb.target)?;
    if global.console.json {
        output::json(&Name::path("target", &verb.target))?;
    }
    Ok(())
}
