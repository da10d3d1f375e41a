//! What others make of what `flatten` and `export` write.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::workshop::Workshop;
use crate::generate::Flavour;
use crate::listing::ls;
use crate::model::Listing;
use crate::oci::{Compression, write_layout};
use crate::property::{Image, for_each_stack, stacks};
use crate::scratch::{self, Run};
use crate::tarball::{Kind, LayerBuilder, Meta};
use crate::walk::Walk;
use support::program;

/// An image of two layers with all that a layer may hold, flattened into a directory and into an
/// image `flat` of one layer. Returns the directory's listing.
fn flattened(shop: &Workshop) -> Listing {
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(130));
    let capability =
        b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00";
    let low = LayerBuilder::new()
        .dir("", Meta::new(0o755).time(1_600_000_000, 0))
        .dir("bin", Meta::new(0o2755).owner(3, 4).time(1_600_000_000, 0))
        .file(
            "bin/ping",
            Meta::new(0o755).xattr("security.capability", capability),
            "ping",
        )
        .file("bin/su", 0o4755, "su")
        .file("etc/gone", 0o644, "")
        .file(&long, Meta::new(0o644).owner(2_200_000, 0), "long")
        .file("opt/old", 0o644, "");
    let high = LayerBuilder::new()
        .hardlink("bin/ping6", "bin/ping")
        .symlink("bin/sh", "/nowhere")
        .fifo("pipe", 0o600)
        .whiteout("etc/gone")
        .opaque("opt")
        .file(
            "opt/new",
            Meta::new(0o600).time(1_700_000_000, 123_456_789),
            "x".repeat(5000),
        );
    let layers = [low, high].map(|layer| (layer.finish(), Compression::Gzip));
    write_layout(&shop.path("image"), "it", &layers);
    let image = shop.reference("oci", "image:it");
    for target in [
        shop.path("flat").display().to_string(),
        shop.reference("oci", "layout:flat"),
    ] {
        lowerdir(&["flatten", &image, &target, "--sync=none"]);
    }
    walk(&shop.path("flat"))
}

fn lowerdir(arguments: &[&str]) -> String {
    let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    let text = scratch::lowerdir(&arguments, None).text();
    text.unwrap_or_else(|complaint| panic!("{complaint}"))
}

fn walk(directory: &Path) -> Listing {
    Walk::new(directory, &BTreeSet::new()).listing
}

/// The directories that a peer leaves with the time at which it wrote into them.
#[derive(Clone, Copy, PartialEq)]
enum Touches {
    None,
    Root,
    All,
}

/// Compares what a peer unpacked.
fn unpacked_as(peer: &str, directory: &Path, tree: &Listing, touches: Touches) {
    let mut theirs = Walk::new(directory, &BTreeSet::new());
    for (path, item) in &mut theirs.listing {
        let is_touched = match touches {
            Touches::None => false,
            Touches::Root => path.is_empty(),
            Touches::All => item.kind == Kind::Dir,
        };
        if let (true, Some(expected)) = (is_touched, tree.get(path)) {
            item.mtime = expected.mtime;
        }
    }
    let verdict = theirs.compare(peer, "flatten", tree);
    verdict.unwrap_or_else(|what| panic!("{what}"));
}

#[test]
fn skopeo_umoci_and_podman_take_a_flattened_image() {
    let Some(shop) = Workshop::open(&["skopeo", "umoci", "podman"]) else {
        return;
    };
    let tree = flattened(&shop);
    let flat = shop.reference("oci", "layout:flat");
    let told: Value = serde_json::from_str(&shop.run(&["skopeo", "inspect", &flat])).expect("JSON");
    assert_eq!(told["Layers"].as_array().map(Vec::len), Some(1));

    let archive = shop.reference("docker-archive", "copy.tar:localhost/it:latest");
    shop.run(&["skopeo", "copy", "--quiet", &flat, &archive]);
    let copy = shop.reference("docker-archive", "copy.tar");
    assert_eq!(lowerdir(&["diff", &flat, &copy]), "");

    let bundle = shop.path("bundle").display().to_string();
    let layout = format!("{}:flat", shop.path("layout").display());
    shop.run(&["umoci", "unpack", "--image", &layout, &bundle]);
    unpacked_as("umoci", &shop.path("bundle/rootfs"), &tree, Touches::All);

    let file = shop.path("copy.tar").display().to_string();
    shop.run(&["podman", "load", "--quiet", "--input", &file]);
    let mounted = shop.run(&["podman", "image", "mount", "localhost/it:latest"]);
    unpacked_as(
        "podman",
        &PathBuf::from(mounted.trim()),
        &tree,
        Touches::Root,
    );
}

#[test]
fn bsdtar_and_gnu_tar_take_a_flattened_archive() {
    let Some(shop) = Workshop::open(&["bsdtar", "tar"]) else {
        return;
    };
    let tree = flattened(&shop);
    let image = shop.reference("oci", "image:it");
    let file = shop.path("flat.tar");
    let mut flatten = program::lowerdir();
    flatten.args(["flatten", "--quiet", &image, "-"]);
    flatten.stdout(fs::File::create(&file).expect("a file"));
    assert!(flatten.status().expect("it runs").success());
    let options = [
        (
            "bsdtar",
            &["-x", "-p", "--xattrs", "--numeric-owner", "-f"][..],
        ),
        (
            "tar",
            &[
                "-x",
                "-p",
                "--xattrs",
                "--xattrs-include=*",
                "--numeric-owner",
                "-f",
            ],
        ),
    ];
    for (peer, options) in options {
        let directory = shop.path(&format!("by {peer}"));
        fs::create_dir(&directory).expect("a directory");
        let mut command = Command::new(peer);
        command.args(options).arg(&file).arg("-C").arg(&directory);
        Run::of(&mut command)
            .done()
            .unwrap_or_else(|complaint| panic!("{complaint}"));
        let touches = if peer == "tar" {
            Touches::None
        } else {
            Touches::Root
        };
        unpacked_as(peer, &directory, &tree, touches);
    }
}

#[test]
fn mtree_and_bsdtar_take_an_exported_list() {
    let Some(shop) = Workshop::open(&["bsdtar"]) else {
        return;
    };
    let tree = flattened(&shop);
    let image = shop.reference("oci", "image:it");
    let file = shop.path("list");
    let list = lowerdir(&["export", "--format=mtree", &image]);
    fs::write(&file, list).expect("a file");
    let mtree = |file: &Path| {
        let mut mtree = Command::new("mtree");
        mtree.arg("-p").arg(shop.path("flat"));
        mtree.stdin(fs::File::open(file).expect("a file")).output()
    };
    let Ok(output) = mtree(&file) else {
        return crate::skip("there is no mtree: see install-peers.sh");
    };
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    fs::write(shop.path("flat/opt/new"), "y".repeat(5000)).expect("a file");
    assert!(!mtree(&file).expect("it is there").status.success());

    let mut bsdtar = Command::new("bsdtar");
    let names = Run::of(bsdtar.arg("-tf").arg(&file)).text();
    let names = names.unwrap_or_else(|complaint| panic!("{complaint}"));
    assert_eq!(names.lines().count(), tree.len());
}

#[test]
fn digests_of_an_exported_list_are_those_of_fsverity() {
    let Some(shop) = Workshop::open(&["fsverity"]) else {
        return;
    };
    let sizes = [
        65,
        4095,
        4096,
        4097,
        128 * 4096,
        128 * 4096 + 1,
        130 * 4096 + 5,
    ];
    let file = |layer: LayerBuilder, size: &usize| {
        let content: Vec<u8> = (0..*size).map(|at| (at / 7) as u8).collect();
        layer.file(size.to_string(), 0o644, content)
    };
    let layer = sizes.iter().fold(LayerBuilder::new(), file);
    write_layout(
        &shop.path("image"),
        "it",
        &[(layer.finish(), Compression::Zstd)],
    );
    let image = shop.reference("oci", "image:it");
    let flat = shop.path("flat").display().to_string();
    lowerdir(&["flatten", &image, &flat, "--sync=none"]);
    let list = lowerdir(&["export", "--format=composefs-dump", &image]);
    for size in sizes {
        let file = format!("{flat}/{size}");
        let told = shop.run(&["fsverity", "digest", "--compact", &file]);
        let told = told.trim().trim_start_matches("sha256:");
        let line = list
            .lines()
            .find(|line| line.starts_with(&format!("/{size} ")));
        let line = line.expect("a line");
        assert!(
            line.ends_with(&format!(" - {told}")),
            "{told} is not in {line}"
        );
    }
}

/// Prints for each member of an archive on standard input what `ls` has in its first columns.
const MEMBERS: &str = r#"
import json, sys, tarfile
types = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink",
         tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo",
         tarfile.LNKTYPE: "link"}
for member in tarfile.open(fileobj=sys.stdin.buffer, mode="r|"):
    name = member.name.encode("utf-8", "surrogateescape").hex()
    print(json.dumps([name, types[member.type], "%04o" % member.mode, member.uid, member.gid]))
"#;

#[test]
fn python_finds_in_a_flattened_archive_what_ls_lists() {
    for_each_stack(stacks() / 50, Flavour::ALL, |site, stack| {
        let image = Image::write(site, stack);
        if stack.expected().is_err() {
            return Ok(());
        }
        let mut flatten = program::lowerdir();
        let reference = image.reference("oci:");
        flatten.args(["flatten", "--quiet", &reference, "-"]);
        let mut flatten = flatten.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut python = Command::new("python3");
        python
            .args(["-c", MEMBERS])
            .stdin(flatten.stdout.take().expect("a pipe"));
        let members = Run::of(&mut python).text();
        // Its end of the pipe, so that flatten ends too.
        drop(python);
        let done = flatten.wait().map_err(|error| error.to_string())?;
        let members = members?;
        if !done.success() {
            return Err(format!("flatten: {done}"));
        }
        let listed = ls(&image, &[])?;
        let members: BTreeMap<Vec<u8>, Value> = members.lines().map(member).collect();
        if !members.keys().eq(listed.keys()) {
            return Err(format!(
                "python finds {:?}, ls {:?}",
                members.keys(),
                listed.keys()
            ));
        }
        for (path, member) in &members {
            let line = &listed[path];
            let text = |at: usize| member[at].as_str().expect("text");
            let attributes = format!("(\"{}\", {}, {}, ", text(2), member[3], member[4]);
            let kind_is_told = text(1) == "link" || line.starts_with(text(1));
            if !kind_is_told || !line.contains(&attributes) {
                return Err(format!("python finds {member}, ls {line}"));
            }
        }
        Ok(())
    });
}

/// A line of [`MEMBERS`], with the name as bytes.
fn member(line: &str) -> (Vec<u8>, Value) {
    let member: Value = serde_json::from_str(line).expect("a list");
    let hex = member[0].as_str().expect("digits");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    let name: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let name = if name == b"." { Vec::new() } else { name };
    (name, member)
}
