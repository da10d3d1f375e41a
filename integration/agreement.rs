//! All verbs agree: each shows the tree of the model, and what the model refuses each refuses with
//! the same status, for the same layer, and leaves nothing behind.
//!
//! What is changed and packed, converted and translated is compared in the tests of those verbs.

mod lists;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use lowerdir::view::View;
use lowerdir::view::flatten::write_archive;
use lowerdir::{Image as Opened, Options, Reference};

use crate::generate::{Flavour, Stack};
use crate::listing::{ls, same, told};
use crate::model::Listing;
use crate::property::{Image, Verdict, for_each_stack, stacks};
use crate::scratch::{self, Mounted, Run};
use crate::walk::Walk;

const REFUSED: Flavour = Flavour {
    refused: 100,
    ..Flavour::ALL
};

#[test]
fn every_verb_shows_the_same_tree() {
    for_each_stack(
        stacks() / 4,
        Flavour::ALL.labelled(),
        |site, stack| match stack.expected() {
            Ok(tree) => shows_everywhere(site, &Image::write(site, stack), stack.jobs, &tree),
            Err(_) => Ok(()),
        },
    );
}

#[test]
fn every_verb_refuses_what_the_model_refuses() {
    for_each_stack(
        stacks() / 4,
        REFUSED.labelled(),
        |site, stack| match stack.expected() {
            Ok(_) => Ok(()),
            Err((layer, _)) => refused_everywhere(site, stack, layer),
        },
    );
}

fn shows_everywhere(site: &Path, image: &Image, jobs: usize, tree: &Listing) -> Verdict {
    let reference = image.reference("oci:");
    let run = |arguments: &[&str]| run(&[arguments, image.options()].concat());
    image.unpack("store", jobs, &[]).done()?;
    image.mounted_is("store", tree)?;

    let flat = site.join("flat");
    run(&["flatten", &reference, &shown(&flat), "--sync=none"])?;
    is("flatten", &flat, tree)?;

    let bytes = archive(&reference, image)?;
    let layer = site.join("flat.tar");
    fs::write(&layer, &bytes).map_err(|error| error.to_string())?;
    let unpacked = site.join("flat.tar unpacked");
    let (from, to) = (shown(&layer), shown(&unpacked));
    run(&["unpack-layer", "--base", "--sync=none", &from, &to])?;
    // The directory has the image's own overlay xattrs escaped.
    let mounted = Mounted::stack(&[unpacked], false, site).map_err(|error| error.to_string())?;
    is("flatten -", &mounted.0, tree)?;

    let one = format!("oci:{}:flat", shown(&site.join("one")));
    run(&["flatten", &reference, &one, "--sync=none"])?;
    if archive(&one, image)? != bytes {
        return Err("an image of one layer is another archive".to_owned());
    }
    nothing("diff", &run(&["diff", &reference, &one])?)?;
    same("ls", &ls(image, &[])?, "the model", &told(tree))?;
    let lists = [
        ("mtree", lists::mtree(tree)),
        ("composefs-dump", lists::composefs_dump(tree)),
    ];
    for (format, expected) in &lists {
        let list = run(&["export", &format!("--format={format}"), &reference])?;
        lists::same(format, &list, expected)?;
    }
    containers_storage(site, image, &reference, tree)?;
    mstack(site, image, jobs, tree)?;
    ["store", "user"].iter().try_for_each(|store| {
        let read = read_back(site, image, store, &reference, &lists);
        read.map_err(|why| format!("read back from {store}: {why}"))
    })
}

/// The same tree from the layers of a store, without the blobs.
fn read_back(
    site: &Path,
    image: &Image,
    store: &str,
    reference: &str,
    lists: &[(&str, lists::Lines)],
) -> Verdict {
    let store = shown(&site.join(store));
    let run = |arguments: &[&str]| {
        let verb = [&["--store", &store], arguments, image.options()].concat();
        run(&verb)
    };
    let in_store = "store:image:it";
    for (format, expected) in lists {
        let list = run(&["export", &format!("--format={format}"), in_store])?;
        lists::same(format, &list, expected)?;
    }
    // With the content of files.
    nothing("diff", &run(&["diff", reference, in_store])?)?;
    nothing("diff", &run(&["diff", in_store, reference])?)
}

/// The library's way, without a process.
fn archive(reference: &str, read_as: &Image) -> Result<Vec<u8>, String> {
    let options = Options::default().selinux(read_as.options().contains(&"--selinux"));
    let write = || -> lowerdir::Result<Vec<u8>> {
        let image = Opened::open(&Reference::parse(reference)?)?;
        let run = lowerdir::Run::default();
        let view = View::read(&image, &options, run)?;
        let (archive, _) = write_archive(&image, &view.tree, Vec::new(), run)?;
        Ok(archive)
    };
    write().map_err(|error| format!("{reference} as an archive: {error}"))
}

/// Layers that another engine mounts.
fn containers_storage(site: &Path, image: &Image, reference: &str, tree: &Listing) -> Verdict {
    let (store, target) = (shown(&site.join("store")), site.join("images"));
    let run = |arguments: &[&str]| run(&[arguments, image.options()].concat());
    run(&[
        "--store",
        &store,
        "export",
        "--format=containers-storage",
        "--link=hardlink",
        "--sync=none",
        "--name=it:1",
        reference,
        &shown(&target),
    ])?;
    let list = fs::read(target.join("overlay-layers/layers.json")).map_err(|e| e.to_string())?;
    let list: serde_json::Value = serde_json::from_slice(&list).map_err(|e| e.to_string())?;
    let mut layers: Vec<PathBuf> = Vec::new();
    for layer in list.as_array().ok_or("no list of layers")? {
        let id = layer["id"].as_str().ok_or("a layer without ID")?;
        layers.insert(0, target.join("overlay").join(id).join("diff"));
    }
    let mounted = Mounted::stack(&layers, false, site).map_err(|error| error.to_string())?;
    image.shows(&mounted, tree)
}

/// As systemd 262 mounts it.
fn mstack(site: &Path, image: &Image, jobs: usize, tree: &Listing) -> Verdict {
    let (store, target) = (shown(&site.join("user")), site.join("it.mstack"));
    image.unpack("user", jobs, &["--userxattr"]).done()?;
    let (reference, target_text) = (image.reference("oci:"), shown(&target));
    let arguments = [
        "--store",
        &store,
        "export",
        "--format=mstack",
        "--sync=none",
        &reference,
        &target_text,
    ];
    run(&[&arguments[..], image.options()].concat())?;
    let names = fs::read_dir(&target).map_err(|error| error.to_string())?;
    // layer@1 is the lowest.
    let mut layers: Vec<(usize, PathBuf)> = Vec::new();
    for entry in names {
        let path = entry.map_err(|error| error.to_string())?.path();
        let number = path.to_str().and_then(|path| path.rsplit_once('@'));
        let number = number.and_then(|(_, number)| number.parse().ok());
        layers.push((number.ok_or("an entry that is no layer")?, path));
    }
    layers.sort();
    let layers: Vec<PathBuf> = layers.into_iter().rev().map(|(_, path)| path).collect();
    let mounted = Mounted::stack(&layers, true, site).map_err(|error| error.to_string())?;
    image.shows(&mounted, tree)
}

fn refused_everywhere(site: &Path, stack: &Stack, layer: usize) -> Verdict {
    let image = Image::write(site, stack);
    let (reference, status) = (image.reference("oci:"), {
        let run = image.unpack("store", stack.jobs, &[]);
        names_layer(&run, layer)?;
        run.status
    });
    let targets = ["flat", "one"].map(|name| site.join(name));
    let [flat, one] = targets.each_ref().map(|path| shown(path));
    let one = format!("oci:{one}:flat");
    for arguments in [
        &["ls", &reference][..],
        &["inspect", &reference],
        &["diff", &reference, &reference],
        &["flatten", &reference, "-"],
        &["flatten", &reference, &flat],
        &["flatten", &reference, &one],
        &["export", "--format=mtree", &reference],
        &["export", "--format=composefs-dump", &reference],
    ] {
        let run = lowerdir(&[arguments, image.options()].concat());
        names_layer(&run, layer)?;
        if run.status != status {
            return Err(run.complaint(&format!("unpack ends with {status}")));
        }
        if !run.stdout.is_empty() {
            return Err(run.complaint("something was printed"));
        }
        if targets.iter().any(|path| path.exists()) {
            return Err(run.complaint("something is left"));
        }
    }
    Ok(())
}

/// Counted from 1.
fn names_layer(run: &Run, layer: usize) -> Verdict {
    let named = run.stderr.contains(&format!("layer {} (", layer + 1));
    match (run.status, named) {
        (3 | 4, true) => Ok(()),
        _ => Err(run.complaint(&format!("the model refuses layer {}", layer + 1))),
    }
}

fn lowerdir(arguments: &[&str]) -> Run {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    scratch::lowerdir(&arguments, None)
}

fn run(arguments: &[&str]) -> Result<String, String> {
    lowerdir(arguments).text()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn is(verb: &str, directory: &Path, tree: &Listing) -> Verdict {
    Walk::new(directory, &BTreeSet::new()).compare(verb, "the model", tree)
}

fn nothing(verb: &str, text: &str) -> Verdict {
    match text {
        "" => Ok(()),
        text => Err(format!("{verb} tells of one tree: {text}")),
    }
}
