//! `lowerdir bundle IMAGE DIR`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::engines::bundle::{self, Overlay, ROOTFS, SCRIPT, Wanted};
use crate::path::display;

use super::console::ConsoleArgs;
use super::mount::{IdmapArgs, UpperArgs};
use super::options::SyncArgs;
use super::progress::Shown;
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

/// Make an OCI runtime bundle of an unpacked image: what runc runs.
///
/// DIR gets a config.json, made of the image's config as the image specification says, and a rootfs.
/// The root is read-only, or has its changes in --upper or --tmpfs. The store must have the image, and
/// keep it as long as the bundle is used: `lowerdir unpack` puts it there. DIR must be absent or empty,
/// and stay where it is. A user is looked up in the image's own /etc/passwd; volumes become tmpfs
/// mounts.
///
/// The layers are mounted on DIR/rootfs, which every runtime takes. Take the mount down before you
/// remove DIR: else `rm -r` deletes what is in --upper, too. After a restart of the system the mount is
/// gone: make the bundle again, or with --overlay=systemd or fstab. With --rootless, DIR/with-rootfs is
/// a script that mounts them and runs what is named after it; that mount ends with the container.
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
    /// Who mounts the layers [default: mounted; script with --rootless]
    #[arg(long, value_enum, value_name = "HOW")]
    overlay: Option<OverlayArg>,
    #[command(flatten)]
    idmap: IdmapArgs,
    /// For a runtime that is not started by root: a user namespace with the caller alone, who is root
    /// there, the host's network, and no cgroup
    #[arg(long, conflicts_with = "idmap")]
    rootless: bool,
    /// Add an annotation to config.json. Of the image's labels, only org.opencontainers.image.* become
    /// annotations, since runtimes obey others. May be given many times
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
    /// This command, on DIR/rootfs
    Mounted,
    /// DIR/with-rootfs, a script that runs a runtime with them, in a mount namespace of its own
    Script,
    /// The runtime: as the first mount in config.json. Only runc before 1.3 and crun but for 1.21 take
    /// it
    Config,
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
    /// What mounts the layers, where another program does.
    mount: Option<String>,
    /// The script that mounts the layers and runs a runtime.
    script: Option<String>,
    left_out: Vec<String>,
    config: Value,
}

/// KEY=VALUE: the runtime-spec wants keys that are not empty.
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
    let image = verb.image.open()?;
    let store = global.open_store()?;
    // Until the mount is up, nobody removes what it is made of.
    let _hold = store.share(&Shown::start(&global.console, 0)?)?;
    let upper = verb.upper.upper();
    let namespace = verb.idmap.user_namespace()?;
    let wanted = Wanted {
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
    tell(&bundle, &verb.directory, &global.console);
    let script = bundle.path.join(SCRIPT);
    let script = (wanted.overlay == Overlay::Script).then_some(script);
    if global.console.json {
        output::json(&BundleJson {
            directory: output::text(&bundle.path),
            rootfs: output::text(&bundle.path.join(ROOTFS)),
            read_only: bundle.config["root"]["readonly"] == true,
            lowerdirs: bundle.stack.directories().len(),
            mount: bundle
                .words
                .map(|text| String::from_utf8_lossy(&text).into_owned()),
            script: script.as_deref().map(output::text),
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

/// What is not as the image has it, and what the user does next.
fn tell(bundle: &bundle::Bundle, directory: &Path, console: &ConsoleArgs) {
    if !bundle.left_out.is_empty() {
        let keys = bundle.left_out.iter();
        let keys: Vec<_> = keys
            .map(|key| display(key.as_bytes()).to_string())
            .collect();
        let keys = keys.join(", ");
        console.note(&format!("labels that do not become annotations: {keys}"));
    }
    // Where another program mounts the layers, that comes first.
    if bundle.words.is_none() {
        let command = bundle.run_command(directory);
        console.note(&format!("run it with: {command}"));
    }
    if let Some(command) = bundle.umount_command(directory) {
        console.note(&format!("unmount it before you remove it: {command}"));
    }
}
