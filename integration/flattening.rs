//! `flatten` and `diff`, on random images: one tree that is what the mount shows, and what differs
//! between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::generate::{Flavour, Stack};
use crate::listing::path_of;
use crate::model::{Item, Listing};
use crate::oci::write_layout;
use crate::property::{Image, Verdict, for_each_stack, stacks};
use crate::scratch::{self, Mounted, Run};
use crate::tarball::Kind;
use crate::walk::Walk;
use support::program;

#[test]
fn a_flattened_directory_is_the_mount() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let flat = site.join("flat");
        let reference = image.reference("oci:");
        let flatten = [
            "flatten".as_ref(),
            reference.as_ref(),
            flat.as_os_str(),
            "--sync=none".as_ref(),
        ];
        let run = lowerdir(&with_options(&flatten, stack));
        if stack.expected().is_err() {
            return leaves_nothing(&run, site, &flat);
        }
        run.done()?;
        let layers = image.unpack("store", stack.jobs, &[]).done()?;
        let mounted = Mounted::stack(&layers, false, site).map_err(|error| error.to_string())?;
        walk(&flat).compare("flatten", "the mount", &walk(&mounted.0).listing)
    });
}

#[test]
fn a_flattened_archive_is_the_same_tree_and_the_same_bytes() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let Ok(tree) = stack.expected() else {
            return Ok(());
        };
        let options = stack.options();
        let archive =
            |reference: &str, more: &[&str]| archive(reference, &[options, more].concat());
        let first = archive(&image.reference("oci:"), &["-j1"])?;
        if first != archive(&image.reference("oci:"), &["-j4"])? {
            return Err("two runs give other bytes".to_owned());
        }
        // The same tree in one layer is the same archive.
        let layout = format!("oci:{}:flat", site.join("one").display());
        let flatten = ["flatten", &image.reference("oci:"), &layout, "--sync=none"];
        lowerdir(&with_options(&flatten.map(OsStr::new), stack)).done()?;
        if first != archive(&layout, &[])? {
            return Err("a flattened image flattens to other bytes".to_owned());
        }
        extracted_by_gnu_tar(site, &first, &tree)
    });
}

#[test]
fn diff_tells_what_differs_between_two_trees() {
    for_each_stack(stacks() / 4, Flavour::ALL.labelled(), |site, stack| {
        let image = Image::write(site, stack);
        let Ok(tree) = stack.expected() else {
            return Ok(());
        };
        let below = Stack {
            layers: stack.layers[..stack.layers.len() - 1].to_vec(),
            ..stack.clone()
        };
        let other = below.expected().map_err(|refused| refused.1.why)?;
        let expected = differences(&other, &tree);
        let reference = image.reference("oci:");
        let number = stack.layers.len().to_string();
        let diff = |arguments: &[&str]| diff(&[arguments, stack.options()].concat());
        let told = diff(&[&reference, "--layer", &number])?;
        same("diff --layer", &told, &expected)?;
        let directory = site.join("below");
        write_layout(&directory, "it", &below.tars());
        let below = format!("oci:{}:it", directory.display());
        same("diff", &diff(&[&below, &reference])?, &expected)?;
        same(
            "diff of one",
            &diff(&[&reference, &reference])?,
            &BTreeMap::new(),
        )
    });
}

fn with_options<'a>(arguments: &[&'a OsStr], stack: &Stack) -> Vec<&'a OsStr> {
    let options = stack.options().iter().map(OsStr::new);
    arguments.iter().copied().chain(options).collect()
}

fn lowerdir(arguments: &[&OsStr]) -> Run {
    scratch::lowerdir(arguments, None)
}

fn walk(directory: &Path) -> Walk {
    Walk::new(directory, &BTreeSet::new())
}

fn leaves_nothing(run: &Run, site: &Path, flat: &Path) -> Verdict {
    if !matches!(run.status, 3 | 4) {
        return Err(run.complaint("the model refuses it"));
    }
    let names = fs::read_dir(site).map_err(|error| error.to_string())?;
    let count = names.count();
    match !flat.exists() {
        // The layout and its blobs are the test's own.
        true if !has_staging(site) => Ok(()),
        _ => Err(run.complaint(&format!("something is left among {count} names"))),
    }
}

fn has_staging(site: &Path) -> bool {
    let mut names = fs::read_dir(site).expect("a directory").flatten();
    names.any(|entry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b".lowerdir-")
    })
}

fn archive(reference: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = program::lowerdir();
    command
        .args(["flatten", "--quiet", reference, "-"])
        .args(options);
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{command:?}: {}", output.stderr.escape_ascii())),
    }
}

fn extracted_by_gnu_tar(site: &Path, archive: &[u8], tree: &Listing) -> Verdict {
    let (file, directory) = (site.join("flat.tar"), site.join("extracted"));
    fs::write(&file, archive).map_err(|error| error.to_string())?;
    fs::create_dir(&directory).map_err(|error| error.to_string())?;
    let mut tar = Command::new("tar");
    tar.args([
        "--extract",
        "--same-owner",
        "--same-permissions",
        "--numeric-owner",
    ]);
    tar.args(["--xattrs", "--xattrs-include=*", "--file"]);
    tar.arg(&file).arg("--directory").arg(&directory);
    let run = Run::of(&mut tar);
    if run.status != 0 {
        return Err(run.complaint("GNU tar does not take it"));
    }
    walk(&directory).compare("what GNU tar makes of it", "the model", tree)
}

/// What differs, in words: of a changed path those of `diff`, in its order.
type Differences = BTreeMap<Vec<u8>, String>;

fn diff(arguments: &[&str]) -> Result<Differences, String> {
    let fixed = ["diff", "--json"];
    let all: Vec<&OsStr> = fixed.iter().chain(arguments).map(OsStr::new).collect();
    let text = lowerdir(&all).text()?;
    let line = |line: &str| {
        let change: Value = serde_json::from_str(line).expect("an object");
        let parts = change["parts"].as_array().expect("a list");
        let words = std::iter::once(&change["change"]).chain(parts);
        let words: Vec<&str> = words.map(|word| word.as_str().expect("text")).collect();
        (path_of(&change, "path"), words.join(" "))
    };
    // The last line is the summary.
    let changes = text
        .lines()
        .filter(|line| !line.starts_with(r#"{"summary":"#));
    Ok(changes.map(line).collect())
}

fn differences(before: &Listing, after: &Listing) -> Differences {
    let paths: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    let line = |path: &&Vec<u8>| match (before.get(*path), after.get(*path)) {
        (Some(was), Some(is)) => {
            let names = (names(before, path, was), names(after, path, is));
            parts(was, is, names.0 != names.1)
        }
        (Some(_), None) => Some("deleted".to_owned()),
        _ => Some("created".to_owned()),
    };
    let lines = paths
        .into_iter()
        .filter_map(|path| Some((path.clone(), line(&path)?)));
    lines.collect()
}

/// All names of an inode that has several.
fn names(listing: &Listing, path: &[u8], item: &Item) -> Vec<Vec<u8>> {
    let Some(first) = &item.links else {
        return vec![path.to_vec()];
    };
    let same = listing
        .iter()
        .filter(|(_, other)| other.links.as_ref() == Some(first));
    same.map(|(path, _)| path.clone()).collect()
}

fn parts(was: &Item, is: &Item, links_differ: bool) -> Option<String> {
    let mut parts = vec!["changed"];
    let type_of = |item: &Item| std::mem::discriminant(&item.kind);
    let mut content = false;
    match (&was.kind, &is.kind) {
        (Kind::File(one), Kind::File(other)) if one.len() != other.len() => parts.push("size"),
        (Kind::File(one), Kind::File(other)) => content = one != other,
        (Kind::Symlink(one), Kind::Symlink(other)) if one != other => parts.push("target"),
        _ if type_of(was) != type_of(is) => parts.push("type"),
        _ if was.kind != is.kind => parts.push("device"),
        _ => {}
    }
    let differs = [
        ("mode", was.mode != is.mode),
        ("owner", (was.uid, was.gid) != (is.uid, is.gid)),
        ("time", was.mtime != is.mtime),
        ("xattrs", was.xattrs != is.xattrs),
        ("content", content),
        ("links", links_differ),
    ];
    parts.extend(
        differs
            .into_iter()
            .filter_map(|(part, differs)| differs.then_some(part)),
    );
    (parts.len() > 1).then(|| parts.join(" "))
}

fn same(what: &str, told: &Differences, expected: &Differences) -> Verdict {
    match told == expected {
        true => Ok(()),
        false => Err(format!("{what} tells {told:?}, and not {expected:?}")),
    }
}
