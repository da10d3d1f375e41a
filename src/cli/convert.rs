//! `lowerdir convert DIR`

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::overlay::dialect::{Dialect, Namespace, Whiteout};
use crate::path::EntryPath;
use crate::repack::convert::{Change, Form, Options, Report, convert};
use crate::{Error, Progress};

use super::summary::count;
use super::{Global, interrupt, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir convert rootfs --dry-run                  what would be done
  lowerdir convert rootfs --parent below             `.wh.` files into what a mount obeys
  lowerdir convert layer --to oci                    and back; --from trusted is implied
  lowerdir convert layer --from trusted --to user    for a mount with `userxattr`
  lowerdir convert diff --from fuse-overlayfs        what a rootless container left

A tree that is mounted is refused, and it must not be changed meanwhile. Whatever was open in it
before, such as the current directory of a shell, stays in the old tree, which is removed. With each
layer directory below given by --parent, deletions and opaque marks that hide nothing go, and an
opaque root becomes deletions; the directories below have overlayfs's form already.";

/// Convert a directory: `.wh.` files to overlayfs's form, back, or between dialects.
///
/// The new tree is made beside the old one, and takes its name in one step: whenever it is stopped or
/// killed, DIR is as it was, or converted. That needs a few inodes for directories, and no room for
/// files, which are hard links; a file whose xattrs change is copied (reflinked on xfs and btrfs). DIR
/// cannot be a mount point, and the directory that it is in must be writable. What has no counterpart
/// is refused. No link is followed, and no other file system entered.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Convert {
    /// The tree
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The form that it has [default: oci, or trusted with --to oci and --to fuse-overlayfs]
    #[arg(long, value_enum, value_name = "FORM")]
    from: Option<FormArg>,
    /// The form that it is to have
    #[arg(long, value_enum, value_name = "FORM", default_value = "trusted")]
    to: FormArg,
    /// A layer directory below, topmost first; may be given many times
    #[arg(long, value_name = "DIR", conflicts_with = "base")]
    parent: Vec<PathBuf>,
    /// There are no layers below
    #[arg(long)]
    base: bool,
    /// Say what would be done, and do nothing
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
    let options = Options {
        from: from.form(),
        to: verb.to.form(),
        parents: (verb.base || !verb.parent.is_empty()).then(|| verb.parent.clone()),
        dry_run: verb.dry_run,
    };
    let shows = !global.console.json && (verb.dry_run || global.console.verbose);
    interrupt::listen()?;
    let mut tell = |change, path: &EntryPath| match shows {
        true => show(change, path),
        false => Ok(()),
    };
    let named = || verb.directory.display().to_string();
    if verb.from.is_none() {
        check_guess(verb, &options).with_context(named)?;
    }
    let report = convert(&verb.directory, &options, &mut tell, &Interrupts).with_context(named)?;
    if global.console.json {
        output::json(&Converted {
            directory: output::text(&verb.directory),
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

/// The form that is assumed where none is given must be that of the marks that are there.
fn check_guess(verb: &Convert, options: &Options) -> crate::Result<()> {
    let look = Options {
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

/// Ctrl-C ends the work, and what was made so far is removed.
struct Interrupts;

impl Progress for Interrupts {
    fn is_cancelled(&self) -> bool {
        interrupt::received().is_some()
    }
}

fn show(change: Change, path: &EntryPath) -> crate::Result<()> {
    let change = match change {
        Change::Deletion => "deletion",
        Change::Opaque => "opaque",
        Change::Needless => "needless",
        Change::Xattr => "xattr",
    };
    let line = format!("{change:<9} {path}");
    output::lines(std::iter::once(line.as_bytes()))
        .map_err(|error| Error::system("writing to standard output", error))
}

fn counts(report: &Report) -> String {
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
    directory: String,
    from: String,
    to: String,
    dry_run: bool,
    #[serde(flatten)]
    report: Report,
}
