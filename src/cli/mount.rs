//! `lowerdir mount IMAGE TARGET` and `lowerdir umount TARGET`

use std::path::PathBuf;

use clap::Args;

use lowerdir::mount::{self, Upper};

use super::{Global, ImageArgs};

/// Mount an unpacked image.
///
/// Read-only, or with changes going to --upper. The store must have the image: `lowerdir unpack`
/// puts it there.
#[derive(Debug, Args)]
pub struct Mount {
    #[command(flatten)]
    image: ImageArgs,
    /// An existing directory to mount on
    target: PathBuf,
    /// Take changes in this directory; without it the mount is read-only
    #[arg(long, value_name = "DIR", requires = "work")]
    upper: Option<PathBuf>,
    /// An empty directory on the file system of --upper
    #[arg(long, value_name = "DIR", requires = "upper")]
    work: Option<PathBuf>,
}

/// Take an overlay mount down.
#[derive(Debug, Args)]
pub struct Umount {
    /// Where it is mounted
    target: PathBuf,
}

pub fn run(verb: &Mount, global: &Global) -> anyhow::Result<()> {
    let stack = super::stack::of_image(&verb.image, &global.open_store()?)?;
    let upper = match (&verb.upper, &verb.work) {
        (Some(upperdir), Some(workdir)) => Some(Upper { upperdir, workdir }),
        _ => None,
    };
    Ok(mount::mount(&stack, &verb.target, upper)?)
}

pub fn run_umount(verb: &Umount) -> anyhow::Result<()> {
    Ok(mount::umount(&verb.target)?)
}
