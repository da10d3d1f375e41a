//! `lowerdir pack UPPERDIR`

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::Reference;
use crate::compress::codec::Measured;
use crate::compress::encoder::{Compression, LayerWriter};
use crate::dialect::Namespace;
use crate::digest::Digest;
use crate::fs::atomic_file::check_not_within;
use crate::ids::Range;
use crate::image::{Choice, Transport};
use crate::layer::report::Report;
use crate::repack::layout::{History, Layout};
use crate::repack::pack::{self, Ids, PackOptions};

use super::json::ReportJson;
use super::options::id_maps;
use super::outfile::{Inputs, OutFile, Stoppable, is_stdout};
use super::summary::{counts, warn};
use super::usage::usage;
use super::{Global, interrupt, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir mount oci:app:1.0 /mnt --upper changes --work work
  rm /mnt/etc/motd; lowerdir umount /mnt
  lowerdir unpack oci:app:1.0 | sed 's/^/--lower=/' | xargs -d '\\n' \\
      lowerdir pack changes --append oci:app:1.0 --tag 1.1
  lowerdir pack changes -o layer.tar.gz             when the layers below are not known
  lowerdir pack changes -o - --compression none | tar tv
  SOURCE_DATE_EPOCH=0 lowerdir pack changes -o layer.tar.zst --compression zstd

It prints the digest, the diff ID and the size of the blob. A mounted upperdir is refused, unless
it is mounted read-only or --live is given. `lowerdir mount` records id maps in the upperdir, and
`pack` turns the ids back into the image's. Without --lower, an opaque directory becomes
`.wh..wh..opq`, every deletion is written, and what the upperdir holds only in part is refused:
renamed directories (redirect_dir) and files with changed attributes alone (metacopy).";

/// Turn the changes of a mount, its upperdir, into an image layer.
///
/// Applied to the layers below, the layer gives the tree that the mount showed. Deletions become
/// `.wh.NAME`; hard links, sparse files, xattrs and ACLs are kept; overlayfs's own xattrs are not. If
/// every layer directory below is given with --lower, opaque directories become deletions of what is in
/// them, needless deletions are left out, and renamed directories are written in full. The same
/// directory gives the same bytes on every run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["output", "append"]))]
pub struct Pack {
    /// The upperdir, or any directory in overlayfs's form
    #[arg(value_name = "UPPERDIR")]
    upper: PathBuf,
    /// A directory below, topmost first; may be given many times
    #[arg(long, value_name = "DIR", conflicts_with = "base")]
    lower: Vec<PathBuf>,
    /// There are no layers below
    #[arg(long)]
    base: bool,
    /// Write the layer into this file; `-` is standard output
    #[arg(short, long, value_name = "LAYER")]
    output: Option<PathBuf>,
    /// Put the layer onto this image, oci:DIR[:TAG]
    #[arg(long, value_name = "IMAGE")]
    append: Option<OsString>,
    /// Give the new image this tag, and leave the old one its own
    #[arg(long, requires = "append")]
    tag: Option<String>,
    /// Who made the layer (created_by), for the history of the new image
    #[arg(
        long,
        value_name = "TEXT",
        requires = "append",
        default_value = "lowerdir pack"
    )]
    created_by: String,
    /// How to compress the layer
    #[arg(long, value_enum, value_name = "HOW", default_value = "gzip")]
    compression: CompressionArg,
    /// Read user.overlay.* xattrs, from a mount with `userxattr`
    #[arg(long)]
    userxattr: bool,
    /// Set times after this one to it, in seconds since the epoch
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        hide_env_values = true
    )]
    clamp_mtime: Option<u64>,
    /// Write holes as zeros, for tools that cannot read sparse files
    #[arg(long)]
    fill_holes: bool,
    /// Keep SELinux labels (security.selinux xattrs)
    #[arg(long)]
    selinux: bool,
    /// SIZE users, from HOST on in the upperdir, become those from CONTAINER on; others are refused. May
    /// be given many times [default: as `lowerdir mount` recorded in the upperdir, else no change]
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    uid_map: Vec<Range>,
    /// The same for groups
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    gid_map: Vec<Range>,
    /// The --lower directories have the image's own ids, which the mount mapped
    #[arg(long, requires = "uid_map")]
    idmap: bool,
    /// Pack an upperdir that is mounted read-write; first pause whatever writes to it
    #[arg(long)]
    live: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CompressionArg {
    Gzip,
    Zstd,
    None,
}

impl From<CompressionArg> for Compression {
    fn from(argument: CompressionArg) -> Compression {
        match argument {
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Zstd => Compression::Zstd,
            CompressionArg::None => Compression::None,
        }
    }
}

pub fn run(verb: &Pack, global: &Global) -> anyhow::Result<()> {
    match (&verb.output, &verb.append) {
        (Some(path), _) => to_file(verb, path, global),
        (None, Some(image)) => to_image(verb, image, global),
        (None, None) => unreachable!("one of them is required"),
    }
}

impl Pack {
    /// The directories to read.
    fn trees(&self) -> impl Iterator<Item = &Path> {
        let lower = self.lower.iter().map(PathBuf::as_path);
        std::iter::once(&*self.upper).chain(lower)
    }
}

fn to_file(verb: &Pack, path: &Path, global: &Global) -> anyhow::Result<()> {
    let inputs = Inputs {
        trees: verb.trees().collect(),
        ..Inputs::default()
    };
    let out = OutFile::open(path, &inputs, "redirect it, or name a file with -o")?;
    let out = LayerWriter::new(out, verb.compression.into())?;
    let (out, report) = pack(verb, out, global)?;
    let (out, measured) = out.finish()?;
    out.keep()?;
    let to_stdout = is_stdout(path);
    print(global, &report, &measured, None, to_stdout)
}

fn to_image(verb: &Pack, image: &OsString, global: &Global) -> anyhow::Result<()> {
    interrupt::listen()?;
    let reference = Reference::parse(image)?;
    let tag = match (&reference.transport, &reference.choice) {
        (Transport::Oci | Transport::Any, Some(Choice::Name(name))) => Some(name.as_str()),
        (Transport::Oci | Transport::Any, None) => None,
        _ => {
            return Err(usage(
                "--append takes an OCI layout in a directory: oci:DIR[:TAG]",
            ));
        }
    };
    let named = || crate::path::display(image.as_encoded_bytes()).to_string();
    for tree in verb.trees() {
        check_not_within(&reference.path, "the layout", tree)?;
    }
    let layout = Layout::open(&reference.path).with_context(named)?;
    let (out, report) = pack(verb, layout.layer(verb.compression.into())?, global)?;
    let layer = out.finish()?;
    let history = History {
        created: verb.clamp_mtime.unwrap_or_else(now),
        created_by: verb.created_by.clone(),
        comment: String::new(),
    };
    let manifest = layout
        .append(tag, verb.tag.as_deref(), &layer, &history)
        .with_context(named)?;
    print(global, &report, &layer.measured, Some(&manifest), false)
}

fn pack<W: Write>(verb: &Pack, out: W, global: &Global) -> anyhow::Result<(W, Report)> {
    let lowers = (verb.base || !verb.lower.is_empty()).then_some(&verb.lower[..]);
    let options = PackOptions {
        namespace: match verb.userxattr {
            true => Namespace::User,
            false => Namespace::Trusted,
        },
        selinux: verb.selinux,
        clamp: verb.clamp_mtime.map(u64::cast_signed),
        fill_holes: verb.fill_holes,
        ids: id_maps(&verb.uid_map, &verb.gid_map)?,
        is_idmapped: verb.idmap,
        live: verb.live,
    };
    note_ids(verb, &options, global)?;
    let (out, report) = pack::pack(&verb.upper, lowers, &options, Stoppable(out))
        .with_context(|| verb.upper.display().to_string())?;
    Ok((out.0, report))
}

/// Notes the id maps recorded in the upperdir, unless the command line gives them.
fn note_ids(verb: &Pack, options: &PackOptions, global: &Global) -> anyhow::Result<()> {
    let ids = Ids::of(&verb.upper, options).with_context(|| verb.upper.display().to_string())?;
    if ids.is_recorded && !ids.upper.is_empty() && options.ids.is_empty() {
        let text = format!("reversing the id maps of the mount: {}", ids.upper);
        global.console.note(&text);
    }
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Prints the result on standard output, unless the layer itself goes there.
fn print(
    global: &Global,
    report: &Report,
    measured: &Measured,
    manifest: Option<&Digest>,
    to_stdout: bool,
) -> anyhow::Result<()> {
    warn(&global.console, std::iter::once((String::new(), report)));
    let result = Packed {
        digest: measured.blob.to_string(),
        diff_id: measured.diff_id.to_string(),
        size: measured.size,
        manifest: manifest.map(Digest::to_string),
        report: ReportJson::from(report),
    };
    let mut lines = vec![
        format!("digest   {}", result.digest),
        format!("diff ID  {}", result.diff_id),
        format!("size     {}", result.size),
    ];
    lines.extend(
        result
            .manifest
            .iter()
            .map(|digest| format!("image    {digest}")),
    );
    match (global.console.json, to_stdout) {
        (true, _) => global.console.result(&result, to_stdout)?,
        (false, false) => output::lines(lines.iter().map(String::as_bytes))?,
        (false, true) => lines.iter().for_each(|line| global.console.note(line)),
    }
    global.console.note(&counts(report));
    Ok(())
}

/// The result as JSON.
#[derive(Serialize)]
struct Packed {
    digest: String,
    diff_id: String,
    size: u64,
    manifest: Option<String>,
    #[serde(flatten)]
    report: ReportJson,
}
