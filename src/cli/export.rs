//! `lowerdir export IMAGE`

use std::io::{self, BufWriter};

use clap::{Args, ValueEnum};

use lowerdir::export::{Format, export};
use lowerdir::progress::Silent;
use lowerdir::store::Sync;
use lowerdir::view::View;

use super::flatten::EditArgs;
use super::limits::LimitsArgs;
use super::options::ViewArgs;
use super::{Global, ImageArgs};

const EXAMPLES: &str = "\
Examples:
  lowerdir export --format composefs-dump alpine.tar | mkcomposefs --from-file - alpine.cfs
  lowerdir export --format mtree alpine.tar | mtree -p /mnt
  lowerdir export --format composefs-dump --root-meta usr alpine.tar | sha256sum";

/// Print an image as a list of its merged tree, for programs that make or check trees.
///
/// The list is sorted, and the same tree gives the same bytes. composefs-dump has the content of
/// files of up to 64 bytes and the fs-verity digests of the others, and 0 for times before 1970, which
/// EROFS cannot have; mtree has SHA-256 digests and no xattrs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    #[command(flatten)]
    image: ImageArgs,
    /// The form of the list
    #[arg(long, value_enum)]
    format: FormatArg,
    #[command(flatten)]
    edits: EditArgs,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// As composefs-dump(5) has it
    ComposefsDump,
    /// As mtree(5) has it
    Mtree,
}

pub fn run(verb: &Export, global: &Global) -> anyhow::Result<()> {
    let edits = verb.edits.edits()?;
    let image = verb.image.open()?;
    let how = global.how(Sync::None, verb.limits.limits(), &Silent);
    let mut tree = View::read(&image, &verb.view.options(), how)?.tree;
    edits.apply(&mut tree)?;
    let format = match verb.format {
        FormatArg::ComposefsDump => Format::ComposefsDump,
        FormatArg::Mtree => Format::Mtree,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    export(&image, &tree, format, how, &mut out)?;
    Ok(())
}
