//! `lowerdir bundle IMAGE DIR`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use lowerdir::bundle::{self, Overlay, ROOTFS, Wanted};

use super::mount::{IdmapArgs, UpperArgs};
use super::options::SyncArgs;
use super::progress::Shown;
use super::target::refuse_archive_name;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir bundle alpine.tar box                          a read-only root
  runc run --bundle box NAME
  lowerdir bundle alpine.tar box --tmpfs -- /bin/ls -l    another command; changes in memory
  lowerdir bundle alpine.tar box --upper changes --work work
  lowerdir bundle alpine.tar box --overlay=mounted        then `lowerdir umount box/rootfs`
  lowerdir bundle alpine.tar box --overlay=mounted --idmap --uid-map 0:100000:65536
  lowerdir bundle alpine.tar box --rootless               for `runc run` without root
  lowerdir bundle alpine.tar box --overlay=cmd > mount.sh
  lowerdir bundle alpine.tar box --overlay=systemd > unit";

/// Make an OCI runtime bundle of an unpacked image: what runc runs.
///
/// DIR gets a config.json, made of the image's config as the image specification says, and a rootfs.
/// The root is read-only, or has its changes in --upper or --tmpfs. The store must have the image, and
/// keep it as long as the bundle is used: `lowerdir unpack` puts it there. DIR must be absent or empty,
/// and stay where it is. A user is looked up in the image's own /etc/passwd; volumes become tmpfs
/// mounts.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bundle {
    #[command(flatten)]
    image: ImageArgs,
    /// The directory to make
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// What to run in the place of the image's Cmd; its Entrypoint stays before it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    upper: UpperArgs,
    /// Who mounts the layers
    #[arg(long, value_enum, value_name = "HOW", default_value = "config")]
    overlay: OverlayArg,
    #[command(flatten)]
    idmap: IdmapArgs,
    /// For a runtime that is not started by root: a user namespace with the caller alone, who is root
    /// there, the host's network, and no cgroup
    #[arg(long, conflicts_with = "idmap")]
    rootless: bool,
    /// Give the process a terminal
    #[arg(long)]
    terminal: bool,
    #[command(flatten)]
    sync: SyncArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OverlayArg {
    /// The runtime: as the first mount in config.json, which runc takes
    Config,
    /// This command, on DIR/rootfs
    Mounted,
    /// A shell command, which is printed
    Cmd,
    /// A line of /etc/fstab, which is printed
    Fstab,
    /// A systemd mount unit, which is printed
    Systemd,
}

/// The result as JSON.
#[derive(Serialize)]
struct BundleJson {
    directory: String,
    rootfs: String,
    read_only: bool,
    lowerdirs: usize,
    /// What mounts the layers, where somebody else does.
    mount: Option<String>,
    left_out: Vec<String>,
    config: Value,
}

pub fn run(verb: &Bundle, global: &Global) -> anyhow::Result<()> {
    refuse_archive_name(&verb.directory, "a bundle is no archive")?;
    let image = verb.image.open()?;
    let store = global.open_store()?;
    // Until the mount is up, nobody removes what it is made of.
    let _hold = store.share(&Shown::start(&global.console, 0)?)?;
    let upper = verb.upper.upper();
    let namespace = verb.idmap.user_namespace()?;
    let wanted = Wanted {
        idmap: namespace.as_ref(),
        upper: &upper,
        overlay: match verb.overlay {
            OverlayArg::Config => Overlay::InConfig,
            OverlayArg::Mounted => Overlay::Mounted,
            OverlayArg::Cmd => Overlay::Command,
            OverlayArg::Fstab => Overlay::Fstab,
            OverlayArg::Systemd => Overlay::Unit,
        },
        command: &verb.command,
        terminal: verb.terminal,
        rootless: verb.rootless,
        sync: verb.sync.sync(),
    };
    let bundle = bundle::write(&image, &store, &verb.directory, &wanted)?;
    for key in &bundle.left_out {
        let key = lowerdir::path::display(key.as_bytes());
        let text = format!("annotation {key} is left out: runtimes would obey it");
        global.console.warning(&text);
    }
    if global.console.json {
        output::json(&BundleJson {
            directory: output::text(&bundle.path),
            rootfs: output::text(&bundle.path.join(ROOTFS)),
            read_only: bundle.config["root"]["readonly"] == true,
            lowerdirs: bundle.stack.directories().len(),
            mount: bundle
                .words
                .map(|text| String::from_utf8_lossy(&text).into_owned()),
            left_out: bundle.left_out,
            config: bundle.config,
        })?;
        return Ok(());
    }
    if let Some(words) = &bundle.words {
        output::bytes(words)?;
    }
    Ok(())
}
