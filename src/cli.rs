//! The command line: what users type, and one function for each verb.
//!
//! It turns arguments into calls of the library, and results into text. No rule of translation
//! lives here.

mod mount;
mod options;
mod stack;
mod unpack;
mod unpack_layer;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use lowerdir::image::{Image, Platform, Reference};
use lowerdir::store::Store;

const EXAMPLES: &str = "\
Examples:
  lowerdir unpack oci:alpine:3.20             every layer into the store
  lowerdir mount oci:alpine:3.20 /mnt         the merged tree, read-only
  mount -t overlay overlay -o lowerdir=$(lowerdir stack alpine.tar) /mnt
  lowerdir unpack-layer layer.tar.gz dir --parent below

Exit status: 0 done, 1 failed, 2 usage, 3 image refused or digest mismatch, 4 a limit was reached.";

/// Unpack every layer of an OCI or Docker image into its own overlayfs-ready directory.
///
/// Deletions (`.wh.NAME`) and opaque directories (`.wh..wh..opq`) become what overlayfs calls by
/// those names, so that one overlay mount of the layer directories is exactly the image.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
struct Global {
    /// Where unpacked layers live
    #[arg(long, global = true, value_name = "DIR", env = "LOWERDIR_STORE")]
    #[arg(default_value = "/var/lib/lowerdir")]
    store: PathBuf,
    /// How many layers to unpack at once [default: one for each core]
    #[arg(short, long, global = true, value_name = "N")]
    jobs: Option<std::num::NonZero<usize>>,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Unpack(unpack::Unpack),
    UnpackLayer(unpack_layer::UnpackLayer),
    Stack(stack::Stack),
    Mount(mount::Mount),
    Umount(mount::Umount),
}

/// Runs what the user typed.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.verb {
        Verb::Unpack(verb) => unpack::run(verb, &cli.global),
        Verb::UnpackLayer(verb) => unpack_layer::run(verb, &cli.global),
        Verb::Stack(verb) => stack::run(verb, &cli.global),
        Verb::Mount(verb) => mount::run(verb, &cli.global),
        Verb::Umount(verb) => mount::run_umount(verb),
    }
}

#[derive(Debug, Args)]
struct ImageArgs {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], or a path, which is
    /// recognised by its content; `-` is an archive on standard input
    #[arg(value_name = "IMAGE")]
    reference: OsString,
    /// Which image of several, as OS/ARCHITECTURE[/VARIANT] [default: this machine's]
    #[arg(long)]
    platform: Option<Platform>,
}

impl ImageArgs {
    fn open(&self) -> anyhow::Result<Image> {
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let image = Image::open(&Reference::parse(&self.reference)?, &platform);
        image.with_context(|| self.reference.display().to_string())
    }
}

impl Global {
    fn open_store(&self) -> lowerdir::Result<Store> {
        Store::open(&self.store)
    }

    fn jobs(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }

    /// Tells a person something, unless they asked for silence.
    fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

/// Prints paths as they are, one a line.
fn print_paths<'a>(paths: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for path in paths {
        out.write_all(path.as_os_str().as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
