//! `lowerdir convert DIR`

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::dialect::{Dialect, Namespace, Whiteout};
use crate::path::EntryPath;
use crate::repack::convert::{Conversion, ConvertOptions, ConvertReport, Form, convert};
use crate::{Error, Progress};

use super::json::Name;
use super::summary::count;
use super::{Global, interrupt, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir convert rootfs --dry-run                  what would change
  lowerdir convert rootfs --lower below             `.wh.` files into whiteouts
  lowerdir convert layer --to oci                    and back; --from trusted is implied
  lowerdir convert layer --from trusted --to user    for a mount with `userxattr`
  lowerdir convert diff --from fuse-overlayfs        what a rootless container left

A mounted tree is refused, and nothing may change the tree meanwhile. Whatever is open in it, such
as a shell's current directory, stays in the old tree, which is removed. If every layer directory
below is given with --lower, deletions and opaque marks that hide nothing are dropped, and an
opaque root becomes deletions. The directories below must have overlayfs's form already.";

/// Convert a directory with `.wh.` files to a layer, or back.
///
/// The new tree is built beside the old one and renamed over it in one step: stopped or killed at any
/// moment, DIR is either unchanged or converted. Directories take a few inodes; files take no space,
/// because they are hard links, except that a file whose xattrs change is copied (reflinked on xfs and
/// btrfs). DIR cannot be a mount point, and its parent directory must be writable. What has no
/// counterpart is refused. Symbolic links are not followed, and other file systems are not entered.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Convert {
    /// The directory to convert
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Its present form [default: oci, or trusted with --to oci and --to fuse-overlayfs]
    #[arg(long, value_enum, value_name = "FORM")]
    from: Option<FormArg>,
    /// The form to convert it to
    #[arg(long, value_enum, value_name = "FORM", default_value = "trusted")]
    to: FormArg,
    /// A layer directory below, topmost first; may be given many times
    #[arg(
        long = "lower",
        alias = "parent",
        value_name = "DIR",
        conflicts_with = "base"
    )]
    parent: Vec<PathBuf>,
    /// There are no layers below
    #[arg(long)]
    base: bool,
    /// Print what would change, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormArg {
    /// As in images: .wh.NAME, .wh..wh..opq
    Oci,
    /// overlayfs: 0:0 devices, trusted.overlay.*
    Trusted,
    /// overlayfs with userxattr: 0:0 devices, user.overlay.*
    User,
    /// overlayfs without devices: trusted.overlay.whiteout (Linux 6.7)
    TrustedXattr,
    /// overlayfs with userxattr, without devices
    UserXattr,
    /// fuse-overlayfs without privilege: .wh.NAME, user.fuseoverlayfs.opaque
    FuseOverlayfs,
}

impl FormArg {
    fn form(self) -> Form {
        let overlay = |namespace, whiteout| {
            Form::Overlay(Dialect {
                whiteout,
                namespace,
            })
        };
        match self {
            FormArg::Oci => Form::Oci,
            FormArg::FuseOverlayfs => Form::FuseOverlayfs,
            FormArg::Trusted => overlay(Namespace::Trusted, Whiteout::Device),
            FormArg::User => overlay(Namespace::User, Whiteout::Device),
            FormArg::TrustedXattr => overlay(Namespace::Trusted, Whiteout::Xattr),
            FormArg::UserXattr => overlay(Namespace::User, Whiteout::Xattr),
        }
    }
}

pub fn run(verb: &Convert, global: &Global) -> anyhow::Result<()> {
    let from = verb.from.unwrap_or(match verb.to {
        FormArg::Oci | FormArg::FuseOverlayfs => FormArg::Trusted,
        _ => FormArg::Oci,
    });
    let options = ConvertOptions {
        from: from.form(),
        to: verb.to.form(),
        parents: (verb.base || !verb.parent.is_empty()).then(|| verb.parent.clone()),
        dry_run: verb.dry_run,
    };
    let shows = !global.console.json && (verb.dry_run || global.console.verbose);
    interrupt::listen()?;
    let mut on_change = |change, path: &EntryPath| {
        if shows { show(change, path) } else { Ok(()) }
    };
    let named = || verb.directory.display().to_string();
    if verb.from.is_none() {
        check_guess(verb, &options).with_context(named)?;
    }
    let report =
        convert(&verb.directory, &options, &mut on_change, &Interrupts).with_context(named)?;
    if global.console.json {
        output::json(&Converted {
            directory: Name::path("directory", &verb.directory),
            from: options.from.to_string(),
            to: options.to.to_string(),
            dry_run: verb.dry_run,
            report,
        })?;
        return Ok(());
    }
    global.console.note(&counts(&report));
    Ok(())
}

/// Without --from, the assumed form must match the marks in the directory.
fn check_guess(verb: &Convert, options: &ConvertOptions) -> crate::Result<()> {
    let look = ConvertOptions {
        dry_run: true,
        ..options.clone()
    };
    let report = convert(&verb.directory, &look, &mut |_, _| Ok(()), &Interrupts)?;
    match report.other_marks {
        0 => Ok(()),
        _ => Err(Error::conflict(
            "it has user.overlay.* marks, and --from does not say what it is",
        )
        .hint("--from user reads them; with --from trusted they are data of the image")),
    }
}

/// Ctrl-C stops the work and removes the unfinished tree.
struct Interrupts;

impl Progress for Interrupts {
    fn is_cancelled(&self) -> bool {
        interrupt::received().is_some()
    }
}

fn show(change: Conversion, path: &EntryPath) -> crate::Result<()> {
    let change = match change {
        Conversion::Deletion => "deletion",
        Conversion::Opaque => "opaque",
        Conversion::Needless => "needless",
        Conversion::Xattr => "xattr",
    };
    let line = format!("{change:<9} {path}");
    output::lines(std::iter::once(line.as_bytes()))
        .map_err(|error| Error::system("writing to standard output", error))
}

fn counts(report: &ConvertReport) -> String {
    let mut parts = vec![
        count(report.deletions, "deletion", "deletions"),
        count(report.opaque, "opaque directory", "opaque directories"),
    ];
    if report.needless > 0 {
        parts.push(count(report.needless, "needless mark", "needless marks"));
    }
    if report.xattrs > 0 {
        let (one, many) = ("inode with renamed xattrs", "inodes with renamed xattrs");
        parts.push(count(report.xattrs, one, many));
    }
    parts.join(", ")
}

/// The result as JSON.
#[derive(Serialize)]
struct Converted {
    #[serde(flatten)]
    directory: Name,
    from: String,
    to: String,
    dry_run: bool,
    #[serde(flatten)]
    report: ConvertReport,
}
