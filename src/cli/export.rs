//! `lowerdir export IMAGE [DIR]`

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::engines::export::containers_storage::{self, Adding, ImageName, Link};
use crate::engines::export::{Format, export, write_mstack};
use crate::image::Image;
use crate::overlay::dialect::Namespace;
use crate::progress::Silent;
use crate::store::pipeline::stored_layers;
use crate::store::{StoredLayer, Sync};
use crate::view::View;

use super::flatten::EditArgs;
use super::limits::LimitsArgs;
use super::options::{SyncArgs, ViewArgs};
use super::progress::Shown;
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

/// Give an image to other programs: as a list of its merged tree, or as layers that they mount.
///
/// composefs-dump and mtree are printed, from the blobs alone. The list is sorted, and the same tree
/// gives the same bytes. composefs-dump has the content of files of up to 64 bytes and the fs-verity
/// digests of the others, and 0 for times before 1970, which EROFS cannot have; mtree has SHA-256
/// digests and no xattrs.
///
/// containers-storage and mstack go into DIR, and are made of the layers in the store, which must have
/// the image. containers-storage adds the image to an additional image store, which is made if it is
/// not there; Podman, Buildah and CRI-O run it from there, read-only; they can push it with
/// --tar-split. mstack makes a mount stack of systemd 260, of links to the layers: systemd mounts it
/// with userxattr, so the image must have been unpacked with --userxattr.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    image: ImageArgs,
    /// Where layers go: an additional image store, or a NAME.mstack that is absent or empty
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The form
    #[arg(long, value_enum)]
    format: FormatArg,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    edits: EditArgs,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Layers")]
struct StorageArgs {
    /// What the image is called in containers-storage, as [HOST/]PATH[:TAG]; may be given many times
    /// [default: its own name]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// What the layers of containers-storage are
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    link: LinkArg,
    /// Write down what the archive of each layer was, so that the image can be pushed from
    /// containers-storage: this reads the blobs once more
    #[arg(long)]
    tar_split: bool,
    #[command(flatten)]
    sync: SyncArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// As composefs-dump(5) has it
    ComposefsDump,
    /// As mtree(5) has it
    Mtree,
    /// An additional image store of containers/storage
    ContainersStorage,
    /// A mount stack, as systemd.mstack(7) has it
    Mstack,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkArg {
    /// Hard links where DIR is on the file system of the store, else symbolic links
    Auto,
    /// Directories of hard links, on the file system of the store: one link(2) for each file; a change
    /// to such a file would change the store
    Hardlink,
    /// One symbolic link for each layer: the store must keep the image, and containers with user
    /// namespaces (--userns, --uidmap) do not start
    Symlink,
    /// Directories of files that share their blocks, on one xfs or btrfs with the store
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
    let image = verb.image.open()?;
    let how = global.how(Sync::None, verb.limits.limits(), &Silent);
    let view = View::read(&image, &verb.view.options(), how)?;
    warn_of_view(&global.console, &image, &view, None);
    let mut tree = view.tree;
    edits.apply(&mut tree)?;
    let mut out = BufWriter::new(io::stdout().lock());
    export(&image, &tree, format, how, &mut out)?;
    Ok(())
}

impl Export {
    /// Finds the layers of the image in the store, which keeps them meanwhile.
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
        let image = self.image.open()?;
        let store = global.open_store()?;
        let _hold = store.share(&Shown::start(&global.console, 0)?)?;
        write(&image, &stored_layers(&image, &store)?, target)
    }

    /// Those that were asked for, or else the image's own, if it is of any use there.
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
                    "{}: it goes without a name, unless --name gives it one",
                    error.reason()
                ));
                Ok(Vec::new())
            }
        }
    }
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
        let shown = Shown::start(&global.console, 0)?;
        let how = global.how(verb.storage.sync.sync(), verb.limits.limits(), &shown);
        containers_storage::add(image, layers, &adding, how)?
    };
    let is_user = |layer: &StoredLayer| layer.record.options.dialect.namespace == Namespace::User;
    if layers.last().is_some_and(is_user) {
        let text = "its layers were unpacked with --userxattr: only a rootless program mounts them";
        global.console.warning(text);
    }
    if added.symlinks > 0 && matches!(verb.storage.link, LinkArg::Auto) {
        let text = "hard links to the store cannot be made there, so its layers are symbolic links: \
                    containers with user namespaces do not start; with --link=copy they do";
        global.console.warning(text);
    }
    if global.console.json {
        output::json(&json!({
            "directory": output::text(target),
            "id": added.id,
            "digest": added.digest,
            "names": added.names,
            "layers": added.layers,
            "new_layers": added.new_layers,
        }))?;
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
        let layers = layers.iter().map(|layer| output::text(&layer.path));
        output::json(&json!({
            "directory": output::text(target),
            "layers": layers.collect::<Vec<_>>(),
        }))?;
    } else {
        let layers = count(layers.len() as u64, "layer", "layers");
        global.console.note(&layers);
    }
    Ok(())
}
