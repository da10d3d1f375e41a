//! `lowerdir mount IMAGE TARGET`

use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::ids::Range;
use crate::mount::{
    self, Method, MountBuilder, MountOption, MountOptions, Upper, UserNamespace, Words,
};

use super::json::Name;
use super::options::id_maps;
use super::progress::{self, Shown};
use super::target::refuse_file;
use super::usage::of_option;
use super::{Global, ImageArgs, hold_user_namespace, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir mount alpine.tar /mnt                             read-only
  lowerdir mount alpine.tar /mnt --upper changes --work work
  lowerdir mount alpine.tar /mnt --tmpfs=512m                changes go to memory
  lowerdir mount alpine.tar /mnt --idmap --uid-map 0:100000:65536 --gid-map 0:100000:65536
  lowerdir mount alpine.tar /mnt --tmpfs -o nosuid,nodev,volatile
  lowerdir mount alpine.tar /mnt --print=cmd                 the same as a mount(8) command
  lowerdir mount alpine.tar /mnt --print=fstab >> /etc/fstab
  lowerdir mount alpine.tar /mnt --print=systemd > /etc/systemd/system/mnt.mount
  lowerdir mount alpine.tar /data --print=json               for `mounts` in an OCI config.json";

/// Mount an unpacked image.
///
/// The mount is read-only, or its changes go to --upper or --tmpfs. The image must be in the store: see
/// `lowerdir unpack`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Mount {
    #[command(flatten)]
    image: ImageArgs,
    /// An existing directory to mount on
    target: PathBuf,
    #[command(flatten)]
    upper: UpperArgs,
    /// Mount options, separated by commas; may be given many times, and the last one counts. Generic:
    /// ro, nosuid, nodev, noexec, noatime, relatime, strictatime, nodiratime, nosymfollow. Overlayfs:
    /// volatile, index, metacopy, redirect_dir, nfs_export, uuid, xino, verity
    #[arg(short, long, value_name = "OPTIONS", value_delimiter = ',')]
    options: Vec<MountOption>,
    #[command(flatten)]
    idmap: IdmapArgs,
    /// Mount nothing, and print how to mount it instead
    #[arg(long, value_enum, value_name = "FORM", conflicts_with = "idmap")]
    print: Option<Form>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// A shell command for mount(8)
    Cmd,
    /// An entry for `mounts` in an OCI runtime's config.json
    Json,
    /// A line for /etc/fstab
    Fstab,
    /// A systemd mount unit
    Systemd,
}

/// Where changes go.
#[derive(Debug, Args)]
pub struct UpperArgs {
    /// Write changes to this directory, which is created if needed; an empty one gets the owner, mode
    /// and time of the image's root
    #[arg(long, value_name = "DIR", requires = "work")]
    upper: Option<PathBuf>,
    /// An empty or absent directory on the file system of --upper
    #[arg(long, value_name = "DIR", requires = "upper")]
    work: Option<PathBuf>,
    /// Keep changes in memory, at most SIZE (such as 512m or 10%) [default: half of the memory]
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true)]
    #[arg(conflicts_with_all = ["upper", "work"])]
    tmpfs: Option<Option<String>>,
}

impl UpperArgs {
    pub fn upper(&self) -> Upper {
        match (&self.upper, &self.work, &self.tmpfs) {
            (Some(upperdir), Some(workdir), _) => Upper::Directories {
                upperdir: upperdir.clone(),
                workdir: workdir.clone(),
            },
            (_, _, Some(size)) => Upper::Tmpfs { size: size.clone() },
            _ => Upper::None,
        }
    }
}

/// Id-mapped mounts.
#[derive(Debug, Args)]
pub struct IdmapArgs {
    /// Map owners with --uid-map and --gid-map, for a user namespace, and leave the layers on disk as
    /// they are: one copy serves any number of maps
    #[arg(long, requires = "uid_map")]
    pub idmap: bool,
    /// With --idmap: SIZE users, from CONTAINER on in the image, appear as those from HOST on; others
    /// appear as nobody. May be given many times
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", requires = "idmap")]
    uid_map: Vec<Range>,
    /// The same for groups [default: they stay]
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", requires = "idmap")]
    gid_map: Vec<Range>,
}

impl IdmapArgs {
    /// The user namespace with the maps, for --idmap.
    pub fn user_namespace(&self) -> crate::Result<Option<UserNamespace>> {
        if !self.idmap {
            return Ok(None);
        }
        let ids = id_maps(&self.uid_map, &self.gid_map)?;
        let mut holder = Command::new("/proc/self/exe");
        holder.arg(hold_user_namespace::NAME);
        UserNamespace::new(&ids, holder).map(Some)
    }
}

/// The result as JSON.
#[derive(Serialize)]
struct MountJson {
    #[serde(flatten)]
    target: Name,
    lowerdirs: usize,
    read_only: bool,
    idmapped: bool,
    method: &'static str,
}

pub fn run(verb: &Mount, global: &Global) -> anyhow::Result<()> {
    refuse_file(&verb.target)?;
    let (store, image) = verb.image.open_with_store_for(&verb.target, global)?;
    verb.image.note_platform(&image, global);
    // Keeps its layers in the store until the mount is up.
    let _lock = store.lock_shared(&Shown::start(
        &global.console,
        &progress::Expected::nothing(),
    )?)?;
    let stack = store.stack(&image)?;
    let upper = verb.upper.upper();
    let options = MountOptions::new(verb.options.iter().cloned());
    let options = options.map_err(|error| of_option("--options", error))?;
    let checked = options.check(&stack, &upper);
    checked.map_err(|error| of_option("--options", error))?;
    if let Some(form) = verb.print {
        mount::check_places(&verb.target, &upper)?;
        let words = Words {
            stack: &stack,
            target: std::path::absolute(&verb.target)?,
            upper: &upper,
            options: &options,
            store: &store,
        };
        match form {
            Form::Cmd => output::bytes(&words.command()?)?,
            Form::Json => output::json(&words.entry()?)?,
            Form::Fstab => output::bytes(&words.fstab()?)?,
            Form::Systemd => output::bytes(&words.systemd()?)?,
        }
        return Ok(());
    }
    let namespace = verb.idmap.user_namespace()?;
    let mut builder = MountBuilder::new(&stack)
        .upper(upper.clone())
        .options(options.clone());
    if let Some(namespace) = &namespace {
        builder = builder.user_namespace(namespace);
    }
    let method = builder.mount(&verb.target)?;
    let method = match method {
        Method::Configured => "fsopen",
        Method::Classic => "mount",
    };
    if global.console.json {
        output::json(&MountJson {
            target: Name::path("target", &verb.target),
            lowerdirs: stack.directories().len(),
            read_only: options.is_read_only(&upper),
            idmapped: verb.idmap.idmap,
            method,
        })?;
    }
    let count = stack.directories().len();
    let target = verb.target.display();
    global.console.detail(&format!(
        "mounted {count} directories on {target} through {method}(2)"
    ));
    Ok(())
}
