//! `lowerdir translate [IN] [OUT]`

use std::io::BufReader;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::compress::codec::Opened;
use crate::dialect::{Dialect, Namespace, Whiteout};
use crate::repack::translate::{TranslateOptions, to_oci, to_overlay};

use super::Global;
use super::input::open_layer;
use super::json::ReportJson;
use super::limits::LimitsArgs;
use super::options::{ForeignXattrsArg, WhiteoutArg};
use super::outfile::{Inputs, OutFile, Stoppable, is_stdout};
use super::summary::{counts, warn};

const BUFFER: usize = 1 << 20;
/// What to type instead of writing the archive to a terminal.
const INSTEAD: &str = "redirect it, or name OUT after IN";

const EXAMPLES: &str = "\
Examples:
  lowerdir translate layer.tar.gz | tar x -C dir --xattrs --xattrs-include='*' \\
      --numeric-owner --delay-directory-restore         GNU tar, as root
  lowerdir translate layer.tar.gz | bsdtar -xp -C dir
  lowerdir translate layer.tar.gz layer.tar && mkfs.erofs --tar=f layer.erofs layer.tar
  tar c --xattrs --xattrs-include='*' -C upper . | lowerdir translate --to oci - layer.tar

Some questions need the layers below, and only `unpack-layer --lower` answers them: which
deletions are needed, the attributes of directories without an entry (here 0755 0:0), and where a
parent leads that is a symbolic link below. Hard links to files below, an opaque root, and a file
that replaces a directory with something in it are refused. With --to oci, the mount's records of
renamed directories (redirect) and of files with changed attributes (metacopy) are refused: `pack`
resolves them.";

/// Translate a layer archive for another tool to unpack.
///
/// Deletions become entries for 0:0 character devices, and opaque directories get the PAX xattr
/// trusted.overlay.opaque; --to oci does the reverse. Entries are passed on in order. Markers may
/// come anywhere in a layer, so their marks are written at the end: each directory concerned is
/// repeated, followed by its deletions.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Translate {
    /// The archive, plain or compressed by gzip, zstd or xz; `-` is standard input
    #[arg(value_name = "IN", default_value = "-")]
    input: PathBuf,
    /// Where the translated archive goes, uncompressed; `-` is standard output
    #[arg(value_name = "OUT", default_value = "-")]
    output: PathBuf,
    /// What to translate it to
    #[arg(long, value_enum, value_name = "FORM", default_value = "overlay")]
    to: Form,
    /// Read or write user.overlay.* xattrs in overlayfs's form
    #[arg(long)]
    userxattr: bool,
    /// How to write deletions; both forms are read
    #[arg(long, value_enum, value_name = "HOW", default_value = "device")]
    whiteout: WhiteoutArg,
    /// Keep SELinux labels (security.selinux xattrs)
    #[arg(long)]
    selinux: bool,
    /// What becomes of xattrs that belong to another system or file system
    #[arg(long, value_enum, value_name = "HOW", default_value = "lenient")]
    xattrs: ForeignXattrsArg,
    #[command(flatten)]
    limits: LimitsArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Overlayfs's form
    Overlay,
    /// An image layer, with `.wh.` markers
    Oci,
}

pub fn run(verb: &Translate, global: &Global) -> anyhow::Result<()> {
    let named = || verb.input.display().to_string();
    let file = open_layer(&verb.input)?;
    let options = TranslateOptions {
        dialect: Dialect {
            whiteout: match verb.whiteout {
                WhiteoutArg::Device => Whiteout::Device,
                WhiteoutArg::Xattr => Whiteout::Xattr,
            },
            namespace: match verb.userxattr {
                true => Namespace::User,
                false => Namespace::Trusted,
            },
        },
        selinux: verb.selinux,
        foreign_xattrs: verb.xattrs.into(),
        limits: verb.limits.limits(),
    };
    let input_file = file.try_clone()?;
    let input = Opened::new(file, options.limits).with_context(named)?;
    let input = BufReader::with_capacity(BUFFER, input);
    let inputs = Inputs {
        file: Some(&input_file),
        ..Inputs::default()
    };
    let out = Stoppable(OutFile::open(&verb.output, &inputs, INSTEAD)?);
    let done = match verb.to {
        Form::Overlay => to_overlay(input, &options, out),
        Form::Oci => to_oci(input, &options, out),
    };
    let (out, report) = done.with_context(named)?;
    out.0.keep()?;
    warn(&global.console, std::iter::once((String::new(), &report)));
    if global.console.json {
        global
            .console
            .result(&ReportJson::from(&report), is_stdout(&verb.output))?;
        return Ok(());
    }
    global.console.note(&counts(&report));
    Ok(())
}
