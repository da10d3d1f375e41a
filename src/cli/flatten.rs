//! `lowerdir flatten IMAGE TARGET`

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::compress::encoder::{Compression, LayerWriter};
use crate::image::Image;
use crate::meta::Time;
use crate::path::EntryPath;
use crate::repack::layout::{History, Layout};
use crate::unpack::{Options, Report};
use crate::view::flatten::{Edits, RootMeta, map_ids, write_archive, write_directory};
use crate::view::{ImageTree, View};
use crate::{Error, Run};

use super::json::Name;
use super::limits::LimitsArgs;
use super::options::{IdArgs, OwnersArgs, SyncArgs, ViewArgs};
use super::outfile::{Inputs, OutFile, Stoppable, refuse_terminal};
use super::progress::{self, Shown};
use super::registry_args::RegistryArgs;
use super::summary::{counts, warn_of_view};
use super::target::{self, compression_of, refuse_archive_name};
use super::usage::usage;
use super::{Global, ImageArgs};

const EXAMPLES: &str = "\
Examples:
  lowerdir flatten alpine.tar rootfs                    one directory
  lowerdir flatten alpine.tar - | tar -C rootfs -x      the same through a pipe
  lowerdir flatten alpine.tar oci:layout:flat           an image of one layer
  lowerdir flatten alpine.tar - --compression zstd > alpine.tar.zst
  lowerdir flatten alpine.tar rootfs --exclude 'usr/share/man/**' --symlink etc/mtab=/proc/mounts
  SOURCE_DATE_EPOCH=0 lowerdir flatten alpine.tar - --clamp-mtime --root-meta usr > alpine.tar";

/// What to type instead of writing the archive to a terminal.
const INSTEAD: &str = "redirect it, or name a directory";

/// Write an image as one directory, archive, or layer.
///
/// Works from the blobs alone, without a store and without a mount. Files that a later layer hides are
/// never written, and every file is written once. The same tree gives the same bytes, however it is
/// split into layers. A directory is built under a temporary name and renamed when it is complete.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Flatten {
    #[command(flatten)]
    image: ImageArgs,
    /// An absent or empty directory, `-` for a tar archive on standard output, or oci:DIR:TAG for an
    /// image of one layer in that layout, which is created if needed
    target: OsString,
    /// How to compress the archive [default: none on standard output, gzip in a layout]
    #[arg(long, alias = "compress", value_enum, value_name = "HOW")]
    compression: Option<CompressArg>,
    #[command(flatten)]
    edits: EditArgs,
    #[command(flatten)]
    owners: OwnersArgs,
    #[command(flatten)]
    ids: IdArgs,
    #[command(flatten)]
    sync: SyncArgs,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Changes to the image's tree.
#[derive(Debug, Args)]
#[command(next_help_heading = "Changes")]
pub struct EditArgs {
    /// Leave out paths that match GLOB, and everything below them. `*` and `?` do not match a slash,
    /// `**` does. May be given many times, like all of these
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Replace the content of PATH with that of FILE on this machine; owner, mode and time stay
    #[arg(long, value_name = "PATH=FILE")]
    replace: Vec<OsString>,
    /// Put a symbolic link at PATH, replacing whatever is there
    #[arg(long, value_name = "PATH=TARGET")]
    symlink: Vec<OsString>,
    /// Make a directory at PATH, 0755 0:0, if there is none
    #[arg(long, value_name = "PATH")]
    ensure_dir: Vec<OsString>,
    /// Put the whole tree below PATH
    #[arg(long, value_name = "PATH")]
    prefix: Option<OsString>,
    /// Set later times to SECONDS since the epoch [default: SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    clamp_mtime: Option<Option<u64>>,
    /// Attributes of the root directory
    #[arg(long, value_enum, value_name = "OWNER", default_value = "image")]
    root_meta: RootMetaArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressArg {
    None,
    Gzip,
    Zstd,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RootMetaArg {
    /// Those of the image's root
    Image,
    /// Those of /usr
    Usr,
    /// 0755 0:0, dated at the epoch
    Default,
}

/// Where the tree goes.
enum Target<'a> {
    Directory(&'a Path),
    Stdout,
    Layout(PathBuf, String),
}

pub fn run(verb: &Flatten, global: &Global) -> anyhow::Result<()> {
    let target = Target::parse(&verb.target)?;
    match target {
        Target::Stdout => refuse_terminal(&io::stdout(), INSTEAD)?,
        Target::Directory(path) => verb.refuse_archive_name(path)?,
        Target::Layout(..) => {}
    }
    if matches!(target, Target::Directory(_)) && verb.compression.is_some() {
        return Err(usage("--compression is for archives, not for a directory"));
    }
    let edits = verb.edits.edits()?;
    let (image, _lock) = verb.image.open_to_read(&verb.registry, global)?;
    let ids = verb.ids.maps()?;
    let options = Options {
        owners: verb.owners.owners(&ids)?,
        ..verb.view.options()
    };
    let (view, report, told) = {
        let shown = Shown::start(&global.console, &progress::Expected::image(&image))?;
        let how = global.how(verb.sync.sync(), verb.limits.limits(), &shown);
        let mut view = View::read(&image, &options, how)?;
        edits.apply(&mut view.tree)?;
        map_ids(&mut view.tree, &ids)?;
        let (report, told) = verb.write(&image, &view.tree, &target, &options, how)?;
        (view, report, told)
    };
    warn_of_view(&global.console, &image, &view, Some(&report));
    let to_stdout = matches!(target, Target::Stdout);
    if global.console.json {
        global.console.result(&told, to_stdout)?;
        return Ok(());
    }
    if to_stdout {
        return Ok(());
    }
    let text = match &told.digest {
        Some(digest) => format!("{}; manifest {digest}", counts(&report)),
        None => counts(&report),
    };
    global.console.note(&text);
    Ok(())
}

/// The result as JSON.
#[derive(Serialize)]
struct Flattened {
    #[serde(flatten)]
    target: Name,
    entries: u64,
    bytes: u64,
    /// The digest of a new image's manifest.
    digest: Option<String>,
    diff_id: Option<String>,
}

impl Flatten {
    fn write(
        &self,
        image: &Image,
        tree: &ImageTree,
        target: &Target<'_>,
        options: &Options,
        how: Run<'_>,
    ) -> anyhow::Result<(Report, Flattened)> {
        let mut told = Flattened {
            target: Name::path("target", Path::new(&self.target)),
            entries: 0,
            bytes: 0,
            digest: None,
            diff_id: None,
        };
        let report = match target {
            Target::Directory(directory) => write_directory(image, tree, directory, options, how)?,
            Target::Stdout => {
                let out = OutFile::open(Path::new("-"), &Inputs::default(), INSTEAD)?;
                let compression = self.compression(Compression::None);
                let out = LayerWriter::new(Stoppable(out), compression)?;
                let (out, report) = write_archive(image, tree, out, how)?;
                let (out, _) = out.finish()?;
                out.0.keep()?;
                report
            }
            Target::Layout(path, tag) => {
                let layout = Layout::open_or_create(path)?;
                let layer = layout.layer(self.compression(Compression::Gzip))?;
                let (layer, report) = write_archive(image, tree, layer, how)?;
                let layer = layer.finish()?;
                told.diff_id = Some(layer.measured.diff_id.to_string());
                let config = image.documents.config_by_specification()?;
                let config: Value = serde_json::from_slice(&config)?;
                let history = history(image, &config)?;
                let config = with_platform(config, image);
                let digest =
                    layout.publish(tag, config.to_string().as_bytes(), &[(layer, history)])?;
                told.digest = Some(digest.to_string());
                report
            }
        };
        (told.entries, told.bytes) = (report.entries, report.bytes);
        Ok((report, told))
    }

    fn refuse_archive_name(&self, path: &Path) -> anyhow::Result<()> {
        let compress = compression_of(path).map(|how| format!(" --compression {how}"));
        let compress = compress.unwrap_or_default();
        let path_shown = path.display();
        let instead = format!("`lowerdir flatten IMAGE -{compress} > {path_shown}` writes it");
        refuse_archive_name(path, &instead)
    }

    fn compression(&self, usual: Compression) -> Compression {
        match self.compression {
            None => usual,
            Some(CompressArg::None) => Compression::None,
            Some(CompressArg::Gzip) => Compression::Gzip,
            Some(CompressArg::Zstd) => Compression::Zstd,
        }
    }
}

impl Target<'_> {
    fn parse(text: &OsStr) -> anyhow::Result<Target<'_>> {
        if text == "-" {
            return Ok(Target::Stdout);
        }
        Ok(match target::layout(text) {
            Some(layout) => {
                let (path, tag) = layout?;
                Target::Layout(path, tag)
            }
            None => Target::Directory(Path::new(text)),
        })
    }
}

/// Adds the variant, OS version and OS features, which may be in the index alone.
fn with_platform(mut config: Value, image: &Image) -> Value {
    let (Some(platform), Some(members)) = (&image.platform, config.as_object_mut()) else {
        return config;
    };
    let mut said = |name: &str, value: Value| {
        let known = members.get(name);
        if known.is_none_or(|known| known.is_null() || known == "") {
            members.insert(name.into(), value);
        }
    };
    if !platform.variant().is_empty() {
        said("variant", platform.variant().into());
    }
    if !platform.os_version().is_empty() {
        said("os.version", platform.os_version().into());
    }
    if !platform.os_features().is_empty() {
        said("os.features", platform.os_features().into());
    }
    config
}

/// One step, dated reproducibly: `SOURCE_DATE_EPOCH`, or else the time of the image.
fn history(image: &Image, config: &Value) -> anyhow::Result<History> {
    let created = match source_date()? {
        Some(seconds) => seconds,
        None => {
            let text = config["created"].as_str().unwrap_or_default();
            let moment = humantime::parse_rfc3339(text).ok();
            let since = moment.and_then(|moment| moment.duration_since(std::time::UNIX_EPOCH).ok());
            since.map_or(0, |since| since.as_secs())
        }
    };
    Ok(History {
        created,
        created_by: "lowerdir flatten".into(),
        comment: format!("of {} layers of {}", image.layers.len(), image.digest),
    })
}

/// Source: <https://reproducible-builds.org/specs/source-date-epoch/>.
fn source_date() -> anyhow::Result<Option<u64>> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .context("SOURCE_DATE_EPOCH is not a number of seconds")
}

impl EditArgs {
    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.replace, &self.symlink, &self.ensure_dir];
        self.exclude.is_empty()
            && lists.iter().all(|list| list.is_empty())
            && self.prefix.is_none()
            && self.clamp_mtime.is_none()
            && matches!(self.root_meta, RootMetaArg::Image)
    }

    pub fn edits(&self) -> anyhow::Result<Edits> {
        let clamp = match self.clamp_mtime {
            None => None,
            Some(Some(seconds)) => Some(seconds),
            Some(None) => Some(source_date()?.context(
                "--clamp-mtime without SECONDS takes them from SOURCE_DATE_EPOCH, which is not set",
            )?),
        };
        let replace = pairs("--replace PATH=FILE", &self.replace)?;
        Ok(Edits {
            exclude: self.exclude.clone(),
            replace: replace
                .into_iter()
                .map(|(path, file)| (path, PathBuf::from(file)))
                .collect(),
            symlinks: pairs("--symlink PATH=TARGET", &self.symlink)?
                .into_iter()
                .map(|(path, target)| (path, target.as_bytes().to_vec()))
                .collect(),
            directories: self
                .ensure_dir
                .iter()
                .map(|text| path(text))
                .collect::<anyhow::Result<_>>()?,
            clamp: clamp.map(|seconds| Time {
                seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
                nanoseconds: 0,
            }),
            root: match self.root_meta {
                RootMetaArg::Image => RootMeta::Image,
                RootMetaArg::Usr => RootMeta::Usr,
                RootMetaArg::Default => RootMeta::Default,
            },
            prefix: self.prefix.as_deref().map_or(Ok(EntryPath::root()), path)?,
        })
    }
}

fn pairs<'a>(option: &str, texts: &'a [OsString]) -> anyhow::Result<Vec<(EntryPath, &'a OsStr)>> {
    texts.iter().map(|text| pair(option, text)).collect()
}

/// Splits at the first `=`: a path in the image, and the value.
fn pair<'a>(option: &str, text: &'a OsStr) -> anyhow::Result<(EntryPath, &'a OsStr)> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) if at > 0 && at + 1 < bytes.len() => {
            let (before, after) = (&bytes[..at], &bytes[at + 1..]);
            Ok((path(OsStr::from_bytes(before))?, OsStr::from_bytes(after)))
        }
        _ => Err(usage(format!("{text:?} should look like {option}"))),
    }
}

/// A path in the image, as the user typed it. An error is one of usage: the image is not at fault.
fn path(text: &OsStr) -> anyhow::Result<EntryPath> {
    let path = EntryPath::parse(text.as_bytes());
    path.map_err(|error| Error::usage(error.to_string()).into())
}
