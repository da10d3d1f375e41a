//! `lowerdir diff A B`

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::path::display;
use crate::progress::Silent;
use crate::store::Sync;
use crate::view::{Body, Change, ImageInode, Part, Side, View, What, compare};
use crate::{Error, Run};

use super::json::{Name, SummaryJson};
use super::limits::LimitsArgs;
use super::options::ViewArgs;
use super::registry_args::RegistryArgs;
use super::row::{self, Row};
use super::summary::warn_of_view;
use super::{Global, ImageArgs, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir diff alpine-3.19.tar alpine-3.20.tar     from the first to the second
  lowerdir diff oci:layout:old oci:layout:new
  lowerdir diff alpine.tar --layer 2                what layer 2 changes in the layers below it
  lowerdir diff alpine.tar --layer 2 --json | jq -r 'select(.change == \"deleted\") | .path'";

/// Show what differs between two images, or what one layer changes.
///
/// Each line is `A` (added), `C` (changed) or `D` (deleted) and a path; after a changed path comes
/// what differs. An opaque or deleted directory has a line for every path that it hides. Files of the same
/// size are compared byte by byte.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Diff {
    #[command(flatten)]
    image: ImageArgs,
    /// The IMAGE to compare the first one with
    #[arg(required_unless_present = "layer", conflicts_with = "layer")]
    other: Option<OsString>,
    /// Compare the layers below layer N, counted from 1 at the bottom, with the layers up to N
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Ignore paths that differ only in their times
    #[arg(long)]
    ignore_times: bool,
    #[command(flatten)]
    view: ViewArgs,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub fn run(verb: &Diff, global: &Global) -> anyhow::Result<()> {
    let (image, _lock) = verb.image.open_to_read(&verb.registry, global)?;
    let options = verb.view.options();
    let how = global.how(Sync::None, verb.limits.limits(), &Silent);
    let mut lines = Lines {
        out: output::buffered(),
        json: global.console.json,
        ignore_times: verb.ignore_times,
        summary: Summary::default(),
    };
    match (verb.layer, &verb.other) {
        (Some(number), _) => {
            let (before, after) = View::before_and_after(&image, number, &options, how)?;
            warn_of_view(&global.console, &image, &after, None);
            lines.all((&image, &before.tree), (&image, &after.tree), how)?;
        }
        (None, other) => {
            let (other, _lock_of_other) = ImageArgs {
                reference: other.clone().expect("clap sees to it"),
                platform: verb.image.platform.clone(),
                blobs: verb.image.blobs.clone(),
            }
            .open_to_read(&verb.registry, global)?;
            let before = View::read(&image, &options, how)?;
            let after = View::read(&other, &options, how)?;
            warn_of_view(&global.console, &image, &before, None);
            warn_of_view(&global.console, &other, &after, None);
            lines.all((&image, &before.tree), (&other, &after.tree), how)?;
        }
    }
    if lines.json {
        let summary = lines.summary;
        output::json_line(&mut lines.out, &SummaryJson { summary })?;
    }
    lines.out.flush()?;
    Ok(())
}

/// A path that differs, as JSON.
#[derive(Serialize)]
struct ChangeJson {
    #[serde(flatten)]
    path: Name,
    change: &'static str,
    /// What differs, for a path that both images have.
    parts: Vec<&'static str>,
    before: Option<Row>,
    after: Option<Row>,
}

/// Where the lines go, and how they look.
struct Lines<W> {
    out: W,
    json: bool,
    ignore_times: bool,
    summary: Summary,
}

/// How much differs: the last line of JSON.
#[derive(Default, Serialize)]
struct Summary {
    created: u64,
    changed: u64,
    deleted: u64,
}

impl<W: Write> Lines<W> {
    fn all(&mut self, before: Side<'_>, after: Side<'_>, how: Run<'_>) -> anyhow::Result<()> {
        let mut failed = None;
        let told = compare(before, after, how, |change| {
            self.print(change).map_err(|error| {
                failed = Some(error);
                // Never printed: the caller keeps the real error.
                Error::cancelled()
            })
        });
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(told?),
        }
    }

    fn print(&mut self, mut change: Change<'_>) -> io::Result<()> {
        if let What::Changed(parts) = &mut change.what {
            parts.retain(|part| !self.ignore_times || *part != Part::Time);
            if parts.is_empty() {
                return Ok(());
            }
        }
        match self.json {
            true => self.object(&change),
            false => self.text(&change),
        }
    }

    fn object(&mut self, change: &Change<'_>) -> io::Result<()> {
        let Summary {
            created,
            changed,
            deleted,
        } = &mut self.summary;
        let (word, number, parts) = match &change.what {
            What::Created => ("created", created, None),
            What::Deleted => ("deleted", deleted, None),
            What::Changed(parts) => ("changed", changed, Some(parts)),
        };
        *number += 1;
        let side = |inode: Option<&ImageInode>| inode.map(|inode| Row::of(&change.path, inode));
        let parts = parts.map(|parts| parts.iter().map(|part| name(*part)).collect::<Vec<_>>());
        let object = ChangeJson {
            path: Name::entry("path", &change.path),
            change: word,
            parts: parts.unwrap_or_default(),
            before: side(change.before),
            after: side(change.after),
        };
        output::json_line(&mut self.out, &object)
    }

    fn text(&mut self, change: &Change<'_>) -> io::Result<()> {
        let path = &change.path;
        match (&change.what, change.before, change.after) {
            (What::Changed(parts), Some(before), Some(after)) => {
                let told = parts.iter().map(|part| explain(*part, before, after));
                let told = told.collect::<Vec<_>>().join(", ");
                writeln!(self.out, "C {path} ({told})")
            }
            (What::Deleted, ..) => writeln!(self.out, "D {path}"),
            _ => writeln!(self.out, "A {path}"),
        }
    }
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Type => "type",
        Part::Mode => "mode",
        Part::Owner => "owner",
        Part::Time => "time",
        Part::Size => "size",
        Part::Content => "content",
        Part::Target => "target",
        Part::Device => "device",
        Part::Xattrs => "xattrs",
        Part::Links => "links",
    }
}

/// `mode 0644 -> 0755`, or just the name if there is no short value to show.
fn explain(part: Part, before: &ImageInode, after: &ImageInode) -> String {
    let value = |inode: &ImageInode| match (part, &inode.body) {
        (Part::Type, body) => Some(row::kind(body).to_string()),
        (Part::Mode, _) => Some(format!("{:04o}", inode.meta.mode)),
        (Part::Owner, _) => Some(format!("{}:{}", inode.meta.uid, inode.meta.gid)),
        (Part::Size, Body::File(stored)) => Some(stored.shape.size.to_string()),
        (Part::Target, Body::Symlink(target)) => Some(display(target).to_string()),
        (Part::Device, body) => {
            row::device(body).map(|device| format!("{},{}", device.major, device.minor))
        }
        _ => None,
    };
    match (value(before), value(after)) {
        (Some(before), Some(after)) => format!("{} {before} -> {after}", name(part)),
        _ => name(part).to_string(),
    }
}
