//! `lowerdir export IMAGE [DIR]`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::dialect::Namespace;
use crate::engines::export::containers_storage::{self, Adding, ImageName, Link};
use crate::engines::export::{Format, export, write_mstack};
use crate::image::Image;
use crate::progress::Silent;
use crate::store::{StoredLayer, Sync};
use crate::view::View;

use super::flatten::EditArgs;
use super::json::{Name, Names};
use super::limits::LimitsArgs;
use super::options::{SyncArgs, ViewArgs};
use super::progress::{self, Shown};
use super::registry_args::RegistryArgs;
use super::summary::{count, warn_of_view};
use super::target::refuse_archive_name;
use super::usage::{of_option, usage};
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir export --format composefs-dump alpine.tar | mkcomposefs --from-file - alpine.cfs
  lowerdir export --format mtree alpine.tar | mtree -p /mnt
  lowerdir export --format composefs-dump --root-meta usr alpine.tar | sha256sum
  lowerdir export --format containers-storage alpine.tar /srv/images --name alpine:3.20
  lowerdir export --format mstack alpine.tar /var/lib/machines/alpine.mstack

Podman, Buildah and CRI-O find /srv/images by this in /etc/containers/storage.conf:
  [storage.options]
  additionalimagestores = [\"/srv/images\"]";

/// Export an image to Podman, CRI-O or systemd, or as a list.
///
/// composefs-dump and mtree lists are printed, and read from the blobs, or from the layers of an image
/// in the store. They are sorted, and the same tree gives the same bytes. composefs-dump has the content of files of up to 64 bytes, the
/// fs-verity digests of larger ones, and 0 for times before 1970, which EROFS cannot store. mtree has
/// SHA-256 digests and no xattrs.
///
/// containers-storage and mstack go into DIR, and need the image in the store, whose layers they use.
/// containers-storage adds the image to an additional image store, which is created if needed. Podman,
/// Buildah and CRI-O run the image from there, read-only, and can push it if --tar-split was given.
/// mstack makes a mount stack for systemd 260, a directory of links to the layers. systemd mounts it with
/// userxattr, so the image must have been unpacked with --userxattr.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    image: ImageArgs,
    /// Where layers go: an additional image store, or an absent or empty NAME.mstack
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, value_name = "HOW")]
    format: FormatArg,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    edits: EditArgs,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Layers")]
struct StorageArgs {
    /// Name of the image in containers-storage, as [HOST/]PATH[:TAG]; may be given many times
    /// [default: its own name]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// How the layers get into containers-storage
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    link: LinkArg,
    /// Record how each layer's archive was built, so that the image can be pushed from
    /// containers-storage; reads the blobs once more
    #[arg(long)]
    tar_split: bool,
    #[command(flatten)]
    sync: SyncArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// A list for mkcomposefs: composefs-dump(5)
    ComposefsDump,
    /// A list for mtree(8): mtree(5)
    Mtree,
    /// An additional image store of containers/storage
    ContainersStorage,
    /// A mount stack for systemd: systemd.mstack(7)
    Mstack,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkArg {
    /// Hard links if DIR is on the file system of the store, otherwise symbolic links
    Auto,
    /// Directories of hard links, on the file system of the store; one link(2) per file. Changing such a
    /// file changes the store
    Hardlink,
    /// One symbolic link per layer. The store must keep the image, and containers with user namespaces
    /// (--userns, --uidmap) do not start
    Symlink,
    /// Directories of reflinked files, on the same xfs or btrfs as the store
    Reflink,
    /// Copies, on any file system
    Copy,
}

pub fn run(verb: &Export, global: &Global) -> anyhow::Result<()> {
    match verb.format {
        FormatArg::ComposefsDump => list(verb, Format::ComposefsDump, global),
        FormatArg::Mtree => list(verb, Format::Mtree, global),
        FormatArg::ContainersStorage => verb.layers(global, |image, layers, target| {
            containers_storage(verb, image, layers, target, global)
        }),
        FormatArg::Mstack => verb.layers(global, |_, layers, target| {
            mstack(verb, layers, target, global)
        }),
    }
}

fn list(verb: &Export, format: Format, global: &Global) -> anyhow::Result<()> {
    if verb.directory.is_some() {
        return Err(usage(
            "a list goes to standard output: DIR is for containers-storage and mstack",
        ));
    }
    let edits = verb.edits.edits()?;
    let (image, _lock) = verb.image.open_to_read(&verb.registry, global)?;
    let how = global.how(Sync::None, verb.limits.limits(), &Silent);
    let view = View::read(&image, &verb.view.options(), how)?;
    warn_of_view(&global.console, &image, &view, None);
    let mut tree = view.tree;
    edits.apply(&mut tree)?;
    let mut out = output::buffered();
    export(&image, &tree, format, how, &mut out)?;
    Ok(())
}

impl Export {
    /// Finds the layers of the image in the store, and keeps them there meanwhile.
    fn layers(
        &self,
        global: &Global,
        write: impl FnOnce(&Image, &[StoredLayer], &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let target = self.directory.as_deref();
        let target = target
            .ok_or_else(|| usage("this format goes into a directory: name DIR after IMAGE"))?;
        refuse_archive_name(target, "`lowerdir flatten IMAGE -` writes one")?;
        if !self.edits.is_empty() {
            return Err(usage(
                "changes are for lists: layers are exported as they are",
            ));
        }
        let (store, image) = self.image.open_with_store(global)?;
        let _lock = store.lock_shared(&Shown::start(
            &global.console,
            &progress::Expected::nothing(),
        )?)?;
        write(&image, &store.layers_of(&image)?, target)
    }

    /// The names given with --name, or else the image's own, if it is valid there.
    fn names(&self, image: &Image, global: &Global) -> anyhow::Result<Vec<ImageName>> {
        if !self.storage.name.is_empty() {
            let names = self.storage.name.iter();
            let parse =
                |name: &String| ImageName::parse(name).map_err(|error| of_option("--name", error));
            return names.map(parse).collect();
        }
        let Some(name) = &image.name else {
            return Ok(Vec::new());
        };
        match ImageName::parse(name) {
            Ok(name) => Ok(vec![name]),
            Err(error) => {
                global.console.warning(&format!(
                    "{}: the image gets no name; use --name to give it one",
                    error.reason()
                ));
                Ok(Vec::new())
            }
        }
    }
}

/// An image in an image store, as JSON.
#[derive(Serialize)]
struct StoredJson<'a> {
    #[serde(flatten)]
    directory: Name,
    id: &'a str,
    digest: String,
    names: &'a [String],
    layers: &'a [String],
    new_layers: usize,
}

/// A mount stack, as JSON.
#[derive(Serialize)]
struct MstackJson {
    #[serde(flatten)]
    directory: Name,
    /// The lowest first.
    #[serde(flatten)]
    layers: Names,
}

fn containers_storage(
    verb: &Export,
    image: &Image,
    layers: &[StoredLayer],
    target: &Path,
    global: &Global,
) -> anyhow::Result<()> {
    let adding = Adding {
        directory: target,
        link: match verb.storage.link {
            LinkArg::Auto => Link::Auto,
            LinkArg::Symlink => Link::Symlink,
            LinkArg::Hardlink => Link::Hard,
            LinkArg::Reflink => Link::Reflink,
            LinkArg::Copy => Link::Copy,
        },
        names: &verb.names(image, global)?,
        tar_split: verb.storage.tar_split,
    };
    let added = {
        let shown = Shown::start(&global.console, &progress::Expected::nothing())?;
        let how = global.how(verb.storage.sync.sync(), verb.limits.limits(), &shown);
        containers_storage::add(image, layers, &adding, how)?
    };
    let is_user = |layer: &StoredLayer| layer.record.options.dialect.namespace == Namespace::User;
    if layers.last().is_some_and(is_user) {
        let text =
            "its layers were unpacked with --userxattr: only rootless programs can mount them";
        global.console.warning(text);
    }
    if added.symlinks > 0 && matches!(verb.storage.link, LinkArg::Auto) {
        let text = "DIR cannot have hard links to the store, so its layers are symbolic links: \
                    containers with user namespaces do not start; with --link=copy they do";
        global.console.warning(text);
    }
    if global.console.json {
        output::json(&StoredJson {
            directory: Name::path("directory", target),
            id: &added.id,
            digest: added.digest.to_string(),
            names: &added.names,
            layers: &added.layers,
            new_layers: added.new_layers,
        })?;
        return Ok(());
    }
    let (layers, new) = (added.layers.len() as u64, added.new_layers);
    let layers = count(layers, "layer", "layers");
    let names = added.names.join(", ");
    global
        .console
        .note(format!("{layers}, {new} of them new; {names}").trim_end_matches("; "));
    output::lines(std::iter::once(added.id.as_bytes()))?;
    Ok(())
}

fn mstack(
    verb: &Export,
    layers: &[StoredLayer],
    target: &Path,
    global: &Global,
) -> anyhow::Result<()> {
    if !verb.storage.name.is_empty() || verb.storage.tar_split {
        return Err(usage(
            "a mount stack has links alone: --name and --tar-split are for containers-storage",
        ));
    }
    write_mstack(layers, target, verb.storage.sync.sync())?;
    if global.console.json {
        let layers = layers.iter().map(|layer| &*layer.path);
        output::json(&MstackJson {
            directory: Name::path("directory", target),
            layers: Names::paths("layers", layers),
        })?;
    } else {
        let layers = count(layers.len() as u64, "layer", "layers");
        global.console.note(&layers);
    }
    Ok(())
}
