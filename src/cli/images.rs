//! `lowerdir images`

use std::collections::BTreeMap;

use clap::Args;
use globset::{Glob, GlobSet, GlobSetBuilder};
use indicatif::HumanBytes;
use serde::Serialize;

use crate::digest::Digest;
use crate::escape::{controls, display};
use crate::store::Store;
use crate::{Error, Result};

use super::advice;
use super::json::Name;
use super::progress::{self, Shown};
use super::{Global, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir images
  lowerdir images 'alpine*' '*/app:*'      by name
  lowerdir images 8d5b                     by the first digits of a digest
  lowerdir images --json | jq -r 'select(.complete | not) | .digest'";

/// List the images in the store.
///
/// An image has a line for each of its names. SIZE is the total size of the files in its layers; shared
/// layers count for each image.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Images {
    /// List only images with such a name, in which `*` stands for any characters, or whose digest begins
    /// with these digits
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
}

/// An image as JSON: one line each.
#[derive(Serialize)]
struct ImageJson {
    digest: Digest,
    names: Vec<String>,
    platform: Option<String>,
    created: Option<String>,
    /// Chain IDs, the lowest first.
    layers: Vec<Digest>,
    bytes: u64,
    /// Whether all its layers are there, in any of the stores.
    complete: bool,
    /// The store that it is listed in.
    #[serde(flatten)]
    store: Name,
}

pub fn run(verb: &Images, global: &Global) -> anyhow::Result<()> {
    let wanted = Wanted::parse(&verb.patterns)?;
    let store = global.open_existing_store()?;
    let (mut images, mut damaged) = (Vec::new(), Vec::new());
    {
        let _lock = store.lock_shared(&Shown::start(
            &global.console,
            &progress::Expected::nothing(),
        )?)?;
        for one in store.each() {
            let names = names(one, global)?;
            for digest in one.image_digests()? {
                let names = names.get(&digest).cloned().unwrap_or_default();
                let Some(names) = wanted.of(&digest, names) else {
                    continue;
                };
                match measure(&digest, names, one, &store) {
                    Ok(image) => images.push(image),
                    Err(error) if error.is_system_fault() => return Err(error.into()),
                    Err(error) => damaged.push((digest, error)),
                }
            }
        }
    }
    for (digest, error) in &damaged {
        let (short, reason) = (digest.short(), error.reason());
        let hint = advice::hint(error).unwrap_or_default();
        let text = format!("image {short} is not listed: {reason}: {hint}");
        global.console.warning(&text);
    }
    if global.console.json {
        for image in &images {
            output::json(image)?;
        }
        return Ok(());
    }
    if images.is_empty() && damaged.is_empty() {
        global.console.note(match verb.patterns.is_empty() {
            true => "there are no images in the store",
            false => "no image in the store has such a name",
        });
        return Ok(());
    }
    let is_one = store.each().count() == 1;
    let mut rows: Vec<[String; 7]> = images.iter().flat_map(ImageJson::rows).collect();
    rows.sort();
    print(&rows, is_one)
}

/// The names of each image of a store. Damaged names are a warning: the images are listed without them.
fn names(store: &Store, global: &Global) -> Result<BTreeMap<Digest, Vec<String>>> {
    let names = match store.names() {
        Err(error) if error.is_system_fault() => return Err(error),
        Err(error) => {
            let hint = advice::hint(&error).unwrap_or_default();
            let text = format!(
                "the names of the images are lost: {}: {hint}",
                error.reason()
            );
            global.console.warning(&text);
            BTreeMap::new()
        }
        Ok(names) => names,
    };
    let mut of: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for (name, digest) in names {
        of.entry(digest).or_default().push(name);
    }
    Ok(of)
}

/// The images that the patterns name; all, if there are none.
struct Wanted<'a> {
    patterns: &'a [String],
    globs: GlobSet,
}

impl Wanted<'_> {
    fn parse(patterns: &[String]) -> Result<Wanted<'_>> {
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns {
            let refuse = |error: globset::Error| {
                let pattern = display(pattern.as_bytes());
                Error::usage(format!("{pattern} is not a pattern: {}", error.kind()))
            };
            globs.add(Glob::new(pattern).map_err(refuse)?);
            globs.add(Glob::new(&format!("{pattern}:*")).map_err(refuse)?);
        }
        let globs = globs
            .build()
            .map_err(|error| Error::usage(error.to_string()))?;
        Ok(Wanted { patterns, globs })
    }

    /// The names to list an image with; `None` if it is not wanted.
    fn of(&self, digest: &Digest, names: Vec<String>) -> Option<Vec<String>> {
        let begins = |pattern: &String| {
            digest.hex().starts_with(&**pattern) || digest.to_string().starts_with(&**pattern)
        };
        if self.patterns.is_empty() || self.patterns.iter().any(begins) {
            return Some(names);
        }
        let names = names.into_iter().filter(|name| self.globs.is_match(name));
        let names: Vec<String> = names.collect();
        (!names.is_empty()).then_some(names)
    }
}

/// Measures an image of one store, whose layers may be in any of them.
fn measure(digest: &Digest, names: Vec<String>, one: &Store, all: &Store) -> Result<ImageJson> {
    let image = one.image(digest)?;
    let (mut bytes, mut complete) = (0, true);
    for layer in &image.layers {
        // A damaged layer counts as missing.
        match all.layer(layer) {
            Ok(Some(stored)) => bytes += stored.record.report.bytes,
            Err(error) if error.is_system_fault() => return Err(error),
            _ => complete = false,
        }
    }
    Ok(ImageJson {
        digest: image.digest,
        names,
        platform: image.platform,
        created: image.created,
        layers: image.layers,
        bytes,
        complete,
        store: Name::path("store", one.path()),
    })
}

impl ImageJson {
    /// A row for each name.
    fn rows(&self) -> Vec<[String; 7]> {
        let (algorithm, hex) = (self.digest.algorithm().name(), self.digest.hex());
        let shown = |text: &str| display(text.as_bytes()).to_string();
        let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".into(), shown);
        let note = match self.complete {
            true => "",
            false => " (incomplete)",
        };
        let store = self.store.text().unwrap_or_default();
        let row = |name: &str| {
            [
                shown(name),
                // `rm` and `verify` accept this form.
                format!("{algorithm}:{}", &hex[..12]),
                or_dash(&self.platform),
                // The day is enough to tell builds apart at a glance.
                or_dash(&self.created)
                    .chars()
                    .take("2020-01-01".len())
                    .collect(),
                self.layers.len().to_string(),
                HumanBytes(self.bytes).to_string(),
                format!("{}{note}", controls(&store)),
            ]
        };
        match self.names.is_empty() {
            true => vec![row("-")],
            false => self.names.iter().map(|name| row(name)).collect(),
        }
    }
}

/// Prints a table. The last column is the store, which is only of use with several stores.
fn print(rows: &[[String; 7]], is_one: bool) -> anyhow::Result<()> {
    let head = [
        "NAME", "DIGEST", "PLATFORM", "CREATED", "LAYERS", "SIZE", "STORE",
    ];
    let head = head.map(String::from);
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([&head])
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            // Numbers.
            4 | 5 => format!("{cell:>width$}"),
            6 if is_one => cell
                .split_once(" (")
                .map_or_else(String::new, |(_, note)| format!("({note}")),
            _ => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    let mut lines = vec![line(&head)];
    lines.extend(rows.iter().map(line));
    output::lines(lines.iter().map(|line| line.trim_end().as_bytes()))?;
    Ok(())
}
