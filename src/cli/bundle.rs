//! `lowerdir bundle IMAGE DIR`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::engines::bundle::{self, BundleOptions, Overlay, ROOTFS, SCRIPT};
use crate::path::display;

use super::console::ConsoleArgs;
use super::json::Name;
use super::mount::{IdmapArgs, UpperArgs};
use super::options::SyncArgs;
use super::progress::{self, Shown};
use super::target::refuse_archive_name;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir bundle alpine.tar box                          a read-only root
  runc run --bundle box NAME
  lowerdir umount box/rootfs && rm -r box
  lowerdir bundle alpine.tar box --tmpfs -- /bin/ls -l    another command; changes in memory
  lowerdir bundle alpine.tar box --upper changes --work work
  lowerdir bundle alpine.tar box --idmap --uid-map 0:100000:65536
  lowerdir bundle alpine.tar box --rootless               without root
  box/with-rootfs runc run --bundle box NAME
  lowerdir bundle alpine.tar box --overlay=cmd > mount.sh
  lowerdir bundle alpine.tar box --overlay=systemd > unit";

/// Make an OCI runtime bundle, for runc or crun.
///
/// DIR gets a rootfs and a config.json, which is converted from the image's config as the image
/// specification says. The root is read-only, or its changes go to --upper or --tmpfs. The image must be
/// in the store (see `lowerdir unpack`) and stay there as long as the bundle is used. DIR must be absent
/// or empty, and must not be moved. Users are looked up in the image's own /etc/passwd; volumes become
/// tmpfs mounts.
///
/// The layers are mounted on DIR/rootfs, which works with every runtime. Unmount it before you remove
/// DIR: `rm -r` would delete the files in --upper too. The mount does not survive a reboot: make the
/// bundle again, or use --overlay=systemd or fstab. With --rootless, DIR/with-rootfs is a script that
/// mounts the layers and runs the command that follows it; its mount ends with the container.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Bundle {
    #[command(flatten)]
    image: ImageArgs,
    /// The directory to make
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// What to run instead of the image's Cmd; its Entrypoint still comes first
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    upper: UpperArgs,
    /// Who mounts the layers [default: mounted; script with --rootless]
    #[arg(long, value_enum, value_name = "HOW")]
    overlay: Option<OverlayArg>,
    #[command(flatten)]
    idmap: IdmapArgs,
    /// For a runtime without root: a user namespace in which the caller is root and the only user, the
    /// host's network, and no cgroup
    #[arg(long, conflicts_with = "idmap")]
    rootless: bool,
    /// Add an annotation to config.json; may be given many times. Of the image's labels, only
    /// org.opencontainers.image.* become annotations, because runtimes act on others
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// Give the process a terminal
    #[arg(long)]
    terminal: bool,
    #[command(flatten)]
    sync: SyncArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OverlayArg {
    /// lowerdir, on DIR/rootfs, at once
    Mounted,
    /// DIR/with-rootfs, a script that starts the runtime in a mount namespace of its own
    Script,
    /// The runtime, from the first mount in config.json; works with runc before 1.3, and with crun
    /// except 1.21
    Config,
    /// You, with the shell command that is printed
    Cmd,
    /// You, with the line for /etc/fstab that is printed
    Fstab,
    /// You, with the systemd mount unit that is printed
    Systemd,
}

/// The result as JSON.
#[derive(Serialize)]
struct BundleJson {
    #[serde(flatten)]
    directory: Name,
    #[serde(flatten)]
    rootfs: Name,
    read_only: bool,
    lowerdirs: usize,
    /// What to mount the layers with, if another program is to do it.
    #[serde(flatten)]
    mount: Name,
    /// The script that mounts the layers and starts a runtime.
    #[serde(flatten)]
    script: Name,
    left_out: Vec<String>,
    config: Value,
}

/// KEY=VALUE; runtime-spec forbids empty keys.
fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("it must be KEY=VALUE".into()),
    }
}

impl Bundle {
    fn overlay(&self) -> Overlay {
        match self.overlay {
            None if self.rootless => Overlay::Script,
            None | Some(OverlayArg::Mounted) => Overlay::Mounted,
            Some(OverlayArg::Script) => Overlay::Script,
            Some(OverlayArg::Config) => Overlay::InConfig,
            Some(OverlayArg::Cmd) => Overlay::Command,
            Some(OverlayArg::Fstab) => Overlay::Fstab,
            Some(OverlayArg::Systemd) => Overlay::Unit,
        }
    }
}

pub fn run(verb: &Bundle, global: &Global) -> anyhow::Result<()> {
    refuse_archive_name(&verb.directory, "a bundle is no archive")?;
    let (store, image) = verb.image.open_with_store_for(&verb.directory, global)?;
    verb.image.note_platform(&image, global);
    // Keeps its layers in the store until the mount is up.
    let _lock = store.lock_shared(&Shown::start(
        &global.console,
        &progress::Expected::nothing(),
    )?)?;
    let upper = verb.upper.upper();
    let namespace = verb.idmap.user_namespace()?;
    let wanted = BundleOptions {
        idmap: namespace.as_ref(),
        upper: &upper,
        overlay: verb.overlay(),
        annotations: &verb.annotation,
        command: &verb.command,
        terminal: verb.terminal,
        rootless: verb.rootless,
        sync: verb.sync.sync(),
    };
    let bundle = bundle::write(&image, &store, &verb.directory, &wanted)?;
    note(&bundle, &verb.directory, &global.console);
    let script = bundle.path.join(SCRIPT);
    let script = (wanted.overlay == Overlay::Script).then_some(script);
    if global.console.json {
        let config: Value = serde_json::from_str(&bundle.config)?;
        output::json(&BundleJson {
            directory: Name::path("directory", &bundle.path),
            rootfs: Name::path("rootfs", &bundle.path.join(ROOTFS)),
            read_only: config["root"]["readonly"] == true,
            lowerdirs: bundle.stack.directories().len(),
            mount: match bundle.words {
                Some(words) => Name::new("mount", words),
                None => Name::null("mount"),
            },
            script: Name::path_or_null("script", script.as_deref()),
            left_out: bundle.left_out,
            config,
        })?;
        return Ok(());
    }
    if let Some(words) = &bundle.words {
        output::bytes(words)?;
    }
    Ok(())
}

/// Notes what differs from the image, and what to do next.
fn note(bundle: &bundle::Bundle, directory: &Path, console: &ConsoleArgs) {
    if !bundle.left_out.is_empty() {
        let keys = bundle.left_out.iter();
        let keys: Vec<_> = keys
            .map(|key| display(key.as_bytes()).to_string())
            .collect();
        let keys = keys.join(", ");
        console.note(&format!("labels that do not become annotations: {keys}"));
    }
    // If another program mounts the layers, that comes first.
    if bundle.words.is_none() {
        let command = bundle.run_command(directory);
        console.note(&format!("run it with: {command}"));
    }
    if let Some(command) = bundle.umount_command(directory) {
        console.note(&format!("unmount it before you remove it: {command}"));
    }
}
