//! Layer directories side by side: a row for each path, a column for each layer, and the merged
//! tree last.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A real image has thousands of paths: those that several layers have tell more.
const ROWS_MAX: usize = 60;
/// More columns do not fit a terminal.
const COLUMNS_MAX: usize = 8;

type Listing = BTreeMap<PathBuf, String>;

/// Prints the table.
pub fn print(merged: Option<&Path>, layers: &[&str]) -> anyhow::Result<()> {
    let layers: Vec<Listing> = layers
        .iter()
        .map(|layer| list(Path::new(layer)))
        .collect::<io::Result<_>>()?;
    let merged = merged.map(list).transpose()?;
    let first = layers.len().saturating_sub(COLUMNS_MAX);
    let mut header: Vec<String> = (1..=layers.len())
        .skip(first)
        .map(|number| format!("layer {number}"))
        .collect();
    header.extend(merged.iter().map(|_| "merged".to_string()));
    let mut all: BTreeMap<&PathBuf, usize> = BTreeMap::new();
    for path in layers.iter().chain(&merged).flat_map(BTreeMap::keys) {
        *all.entry(path).or_default() += 1;
    }
    let usual = 1 + usize::from(merged.is_some());
    let is_long = all.len() > ROWS_MAX;
    let telling = all.iter().filter(|(_, count)| !is_long || **count > usual);
    let rows: Vec<(&PathBuf, Vec<&str>)> = telling
        .take(ROWS_MAX)
        .map(|(path, _)| {
            // The layers are given topmost first, and read from the bottom.
            let columns = layers.iter().rev().skip(first).chain(&merged);
            (
                *path,
                columns
                    .map(|listing| listing.get(*path).map_or("", String::as_str))
                    .collect(),
            )
        })
        .collect();
    let mut out = io::stdout().lock();
    write_rows(&mut out, &header, &rows)?;
    if is_long {
        writeln!(
            out,
            "({} of {} paths: those that several layers have)",
            rows.len(),
            all.len()
        )?;
    }
    Ok(())
}

fn write_rows(
    out: &mut impl Write,
    header: &[String],
    rows: &[(&PathBuf, Vec<&str>)],
) -> io::Result<()> {
    let name = |path: &Path| path.display().to_string();
    let width = rows
        .iter()
        .map(|(path, _)| name(path).chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(at, title)| {
            rows.iter()
                .map(|(_, row)| row[at].len())
                .max()
                .unwrap_or(0)
                .max(title.len())
        })
        .collect();
    let mut line = |first: &str, cells: &mut dyn Iterator<Item = &str>| {
        let mut text = format!("  {first:width$}");
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("  {cell:width$}"));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line("", &mut header.iter().map(String::as_str))?;
    for (path, row) in rows {
        line(&name(path), &mut row.iter().copied())?;
    }
    Ok(())
}

fn list(top: &Path) -> io::Result<Listing> {
    let mut listing = Listing::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(top.join(&directory))? {
            let path = directory.join(entry?.file_name());
            let full = top.join(&path);
            let metadata = fs::symlink_metadata(&full)?;
            if metadata.is_dir() {
                todo.push(path.clone());
            }
            listing.insert(path, describe(&full, &metadata)?);
        }
    }
    Ok(listing)
}

fn describe(path: &Path, metadata: &fs::Metadata) -> io::Result<String> {
    let kind = metadata.file_type();
    let is_opaque = || -> io::Result<bool> {
        for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
            // The merged tree shows none of overlayfs's own, to nobody.
            if xattr::get(path, name).is_ok_and(|value| value.as_deref() == Some(b"y")) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mode = metadata.mode() & 0o7777;
    Ok(if kind.is_char_device() && metadata.rdev() == 0 {
        "deleted".to_string()
    } else if kind.is_dir() {
        let mark = if is_opaque()? { " opaque" } else { "" };
        format!("dir {mode:04o}{mark}")
    } else if kind.is_symlink() {
        "symlink".to_string()
    } else if kind.is_file() {
        format!("file {mode:04o}")
    } else {
        "special".to_string()
    })
}
