//! What `ls` says of random images without unpacking them is what the mount of the unpacked image
//! shows, and what each layer directory holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::generate::Flavour;
use crate::model::{Item, Listing};
use crate::property::{Image, Verdict, for_each_stack, stacks};
use crate::scratch::{self, Mounted};
use crate::tarball::Kind;
use crate::walk::Walk;

/// What is told of each path, in words that `ls` and a walk have in common.
pub type Told = BTreeMap<Vec<u8>, String>;

#[test]
fn ls_lists_what_the_mount_shows() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        if let Err((layer, _)) = stack.expected() {
            return refused(&image, layer);
        }
        let layers = image.unpack("store", stack.jobs, &[]).done()?;
        let mounted = Mounted::stack(&layers, false, site).map_err(|error| error.to_string())?;
        let walk = Walk::new(&mounted.0, &BTreeSet::new());
        same("ls", &ls(&image, &[])?, "the mount", &told(&walk.listing))
    });
}

#[test]
fn links_that_are_not_followed_are_masked_in_ls_as_in_the_mount() {
    for_each_stack(stacks() / 8, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let masks = "--keep-dirlinks=no";
        let run = image.unpack("store", stack.jobs, &[masks]);
        if run.status != 0 {
            let listed = ls(&image, &[masks]);
            return listed.map_or(Ok(()), |_| Err(run.complaint("ls takes it")));
        }
        let layers = run.done()?;
        let mounted = Mounted::stack(&layers, false, site).map_err(|error| error.to_string())?;
        let walk = Walk::new(&mounted.0, &BTreeSet::new());
        same(
            "ls",
            &ls(&image, &[masks])?,
            "the mount",
            &told(&walk.listing),
        )
    });
}

#[test]
fn ls_of_a_layer_lists_what_its_directory_holds() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let store = site.join("store");
        let read = counts(&image, &store)?;
        let mut layers = image.unpack("store", stack.jobs, &[]).done()?;
        let recorded = counts(&image, &store)?;
        if read != recorded {
            return Err(format!("inspect counts {read:?}, unpack {recorded:?}"));
        }
        layers.reverse();
        for (number, layer) in layers.iter().enumerate() {
            let walk = Walk::new(layer, &BTreeSet::new());
            let name = format!("layer {}", number + 1);
            let listed = ls(&image, &["--layer", &(number + 1).to_string()])?;
            same(
                &format!("ls of {name}"),
                &listed,
                "its directory",
                &told(&as_layer(&walk)),
            )?;
        }
        Ok(())
    });
}

/// Entries, deletions and opaque directories of each layer, from the store if it has them.
fn counts(image: &Image, store: &Path) -> Result<Vec<[u64; 3]>, String> {
    let reference = image.reference("oci:");
    let inspect = ["inspect", "--json", &reference, "--store"].map(OsStr::new);
    let options: Vec<&OsStr> = image.options().iter().map(OsStr::new).collect();
    let arguments = [&inspect[..], &[store.as_os_str()], &options].concat();
    let text = scratch::lowerdir(&arguments, None).text()?;
    let told: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let number = |layer: &Value, name: &str| layer[name].as_u64().expect("a number");
    let of = |layer: &Value| ["entries", "deletions", "opaque"].map(|name| number(layer, name));
    Ok(told["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(of)
        .collect())
}

fn refused(image: &Image, layer: usize) -> Verdict {
    let run = scratch::lowerdir(&["ls".as_ref(), image.reference("oci:").as_ref()], None);
    let named = run.stderr.contains(&format!("layer {} (", layer + 1));
    match (run.status, named) {
        (3 | 4, true) => Ok(()),
        _ => Err(run.complaint(&format!("the model refuses layer {}", layer + 1))),
    }
}

pub fn ls(image: &Image, options: &[&str]) -> Result<Told, String> {
    let reference = image.reference("oci:");
    let fixed = ["ls", &reference, "--json"];
    let arguments: Vec<&OsStr> = fixed
        .iter()
        .chain(image.options())
        .chain(options)
        .map(OsStr::new)
        .collect();
    let text = scratch::lowerdir(&arguments, None).text()?;
    let mut told = Told::new();
    let mut names: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let path = path_of(&row, "path");
        let first = match row.get("link") {
            Some(_) => path_of(&row, "link"),
            None => path.clone(),
        };
        names.entry(first).or_default().push(path.clone());
        if told.insert(path, line_of_row(&row)).is_some() {
            return Err(format!("ls prints a path twice: {line}"));
        }
    }
    for names in names.values().filter(|names| names.len() > 1) {
        let first = names.iter().min().expect("there are two");
        for name in names {
            told.entry(name.clone())
                .and_modify(|line| line.push_str(&same_inode(first)));
        }
    }
    Ok(told)
}

fn same_inode(first: &[u8]) -> String {
    format!(" same inode as {}", first.escape_ascii())
}

pub fn path_of(row: &Value, member: &str) -> Vec<u8> {
    match name_of(row, member) {
        root if root == b"." => Vec::new(),
        path => path,
    }
}

/// A member that holds a name: its text or, if that is not UTF-8, the bytes in base64 beside it.
fn name_of(object: &Value, member: &str) -> Vec<u8> {
    let text = object[member].as_str().expect("text");
    match object.get(format!("{member}_bytes")) {
        Some(bytes) => STANDARD
            .decode(bytes.as_str().expect("text"))
            .expect("base64"),
        None => text.as_bytes().to_vec(),
    }
}

fn line_of_row(row: &Value) -> String {
    let kind = row["type"].as_str().expect("a type");
    if kind == "deleted" {
        return format!("deleted {}", row["mtime"].as_str().expect("a time"));
    }
    let xattrs = row["xattrs"].as_array().cloned().unwrap_or_default();
    let xattrs: BTreeMap<Vec<u8>, Vec<u8>> = xattrs
        .iter()
        .map(|xattr| (name_of(xattr, "name"), name_of(xattr, "value")))
        .collect();
    let detail = match kind {
        "file" => row["size"].to_string(),
        "symlink" => name_of(row, "target").escape_ascii().to_string(),
        "char" | "block" => row["device"].as_str().expect("a number").to_owned(),
        _ => String::new(),
    };
    let opaque = if row["opaque"] == true { " opaque" } else { "" };
    let text = |name: &str| row[name].as_str().expect("text").to_owned();
    let attributes = (
        text("mode"),
        row["uid"].as_u64().expect("a number"),
        row["gid"].as_u64().expect("a number"),
        text("mtime"),
        xattrs,
    );
    format!("{kind} {detail} {attributes:?}{opaque}")
}

/// A layer directory, with its deletions and marks in the words of `ls`.
fn as_layer(walk: &Walk) -> Listing {
    let mut listing = walk.listing.clone();
    for item in listing.values_mut() {
        let escaped = std::mem::take(&mut item.xattrs);
        for (name, value) in escaped {
            let name = match name.strip_prefix(b"trusted.overlay.") {
                Some(b"opaque") => b"OPAQUE".to_vec(),
                Some(rest) => [b"trusted.", rest].concat(),
                None => name,
            };
            item.xattrs.insert(name, value);
        }
    }
    listing
}

pub fn told(listing: &Listing) -> Told {
    let line = |(path, item): (&Vec<u8>, &Item)| (path.clone(), line_of_item(item));
    listing.iter().map(line).collect()
}

fn line_of_item(item: &Item) -> String {
    let seconds = item.mtime.div_euclid(1_000_000_000);
    let mtime = format!("{seconds}.{:09}", item.mtime.rem_euclid(1_000_000_000));
    let (kind, detail) = match &item.kind {
        Kind::Char(0, 0) => return format!("deleted {mtime}"),
        Kind::Dir => ("directory", String::new()),
        Kind::File(content) => ("file", content.len().to_string()),
        Kind::Symlink(target) => ("symlink", target.escape_ascii().to_string()),
        Kind::Char(major, minor) => ("char", format!("{major}:{minor}")),
        Kind::Block(major, minor) => ("block", format!("{major}:{minor}")),
        Kind::Fifo => ("fifo", String::new()),
        Kind::Hardlink(_) => unreachable!("a walk finds none"),
    };
    let link = item.links.as_deref().map_or_else(String::new, same_inode);
    let mut xattrs = item.xattrs.clone();
    let opaque = xattrs.remove(&b"OPAQUE"[..]).map_or("", |_| " opaque");
    let mode = format!("{:04o}", item.mode);
    let attributes = (mode, item.uid, item.gid, mtime, xattrs);
    format!("{kind} {detail} {attributes:?}{opaque}{link}")
}

pub fn same(left: &str, these: &Told, right: &str, those: &Told) -> Verdict {
    let paths: BTreeSet<&Vec<u8>> = these.keys().chain(those.keys()).collect();
    let differ = paths
        .into_iter()
        .filter(|path| these.get(*path) != those.get(*path));
    let lines: Vec<String> = differ
        .map(|path| {
            let shown = path.escape_ascii();
            let (this, that) = (these.get(path), those.get(path));
            format!("./{shown}\n  {left}: {this:?}\n  {right}: {that:?}")
        })
        .collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(format!("{left} is not {right}:\n{}", lines.join("\n"))),
    }
}
