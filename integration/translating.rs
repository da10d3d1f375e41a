//! A layer that was translated and then unpacked by another tool is what `unpack-layer` makes of
//! it; and the way back is a layer that says the same.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::generate::{Flavour, Stack};
use crate::model::Listing;
use crate::property::{for_each_stack, stacks};
use crate::scratch::{self, Run};
use crate::tarball::{Entry, Kind};
use crate::walk::Walk;

/// One program's way to unpack a tar archive, with what it cannot do.
struct Peer {
    command: fn(archive: &Path, directory: &Path) -> Command,
    flavour: Flavour,
    /// Whether it takes `x:` for the name of a drive, and leaves that out.
    knows_drives: bool,
    /// Whether it refuses names of sparse files that are not UTF-8, in any locale (libarchive 3.6).
    reads_sparse_names_as_text: bool,
    /// bsdtar has none for the directory that it unpacks into, and for those whose entry comes
    /// after something in them.
    keeps_directory_times: bool,
}

const ACCEPTED: Flavour = Flavour {
    refused: 0,
    ..Flavour::ALL
};

#[test]
fn gnu_tar_unpacks_a_translated_layer_as_unpack_layer_does() {
    unpacks_alike(&Peer {
        command: |archive, directory| {
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--numeric-owner", "--same-permissions"]);
            tar.args(["--xattrs", "--xattrs-include=*", "--warning=no-timestamp"]);
            // Else a directory that it comes back to has the time at which it did.
            tar.arg("--delay-directory-restore");
            tar.arg("--file").arg(archive).arg("--directory");
            tar.arg(directory);
            tar
        },
        flavour: ACCEPTED.labelled(),
        knows_drives: false,
        reads_sparse_names_as_text: false,
        keeps_directory_times: true,
    });
}

#[test]
fn bsdtar_unpacks_a_translated_layer_as_unpack_layer_does() {
    unpacks_alike(&Peer {
        command: |archive, directory| {
            let mut bsdtar = Command::new("bsdtar");
            bsdtar.args(["-x", "-p", "--numeric-owner", "-f"]);
            bsdtar.arg(archive).arg("-C").arg(directory);
            bsdtar
        },
        flavour: Flavour {
            // It fails where the kernel takes no user.* xattr: on symlinks and devices.
            xattrs: false,
            // It takes half a second before 1970 for half a second after.
            odd_times: false,
            // It keeps a symlink where a directory comes in its place.
            symlinks: false,
            ..ACCEPTED
        },
        knows_drives: true,
        reads_sparse_names_as_text: true,
        keeps_directory_times: false,
    });
}

fn unpacks_alike(peer: &Peer) {
    let program = (peer.command)(Path::new(""), Path::new(""));
    if Command::new(program.get_program())
        .arg("--version")
        .output()
        .is_err()
    {
        return crate::skip(&format!("there is no {:?}", program.get_program()));
    }
    let (count, compared) = (stacks() / 4, AtomicU64::new(0));
    for_each_stack(count, peer.flavour, |site, stack| {
        let cannot = |name: &[u8]| {
            (peer.knows_drives && name.contains(&b':'))
                || (peer.reads_sparse_names_as_text && std::str::from_utf8(name).is_err())
        };
        let mut entries = stack.layers.iter().flatten();
        if entries.any(|entry| cannot(&entry.name)) {
            return Ok(());
        }
        for (number, blob) in blobs(site, stack).iter().enumerate() {
            let [own, theirs, archive] =
                ["own", "theirs", "archive"].map(|name| site.join(format!("{name} {number}")));
            let own_run = unpack_layer(stack, blob, &own);
            let run = translate(stack, &[], blob, &archive);
            if run.status != 0 || own_run.status != 0 {
                // What one layer alone cannot tell; then nothing is there.
                let refused = run.status == 0 || !archive.exists();
                refused
                    .then_some(())
                    .ok_or("a refused layer leaves an archive")?;
                continue;
            }
            compared.fetch_add(1, Ordering::Relaxed);
            fs::create_dir(&theirs).expect("a directory");
            let unpacked = Run::of(&mut (peer.command)(&archive, &theirs));
            unpacked.done()?;
            let own = Walk::new(&own, &BTreeSet::new());
            let mut theirs = Walk::new(&theirs, &BTreeSet::new());
            if !peer.keeps_directory_times {
                ignore_directory_times(&mut theirs.listing, &own.listing);
            }
            theirs.compare("the peer's directory", "unpack-layer's", &own.listing)?;
        }
        Ok(())
    });
    let compared = compared.into_inner();
    assert!(compared > count, "only {compared} layers compared");
}

#[test]
fn the_way_back_is_a_layer_that_says_the_same() {
    for_each_stack(stacks() / 4, ACCEPTED.labelled(), |site, stack| {
        for (number, blob) in blobs(site, stack).iter().enumerate() {
            let [there, back] = ["there", "back"].map(|name| site.join(format!("{name} {number}")));
            if translate(stack, &[], blob, &there).status != 0 {
                continue;
            }
            translate(stack, &["--to=oci"], &there, &back).done()?;
            let [before, after] =
                ["before", "after"].map(|name| site.join(format!("{name} {number}")));
            let before = unpacked(stack, blob, &before);
            let after = unpacked(stack, &back, &after);
            let Some((walk, expected)) = after.zip(before) else {
                continue;
            };
            walk.compare("after", "before", &expected.listing)?;
        }
        Ok(())
    });
}

fn ignore_directory_times(listing: &mut Listing, other: &Listing) {
    for (path, item) in listing {
        if let (Kind::Dir, Some(other)) = (&item.kind, other.get(path)) {
            item.mtime = other.mtime;
        }
    }
}

/// A layer alone, by the product; `None` if it needs the layers below.
fn unpacked(stack: &Stack, layer: &Path, directory: &Path) -> Option<Walk> {
    let run = unpack_layer(stack, layer, directory);
    (run.status == 0).then(|| Walk::new(directory, &BTreeSet::new()))
}

fn unpack_layer(stack: &Stack, layer: &Path, directory: &Path) -> Run {
    let fixed = [
        "unpack-layer".as_ref(),
        layer.as_os_str(),
        directory.as_os_str(),
        "--sync=none".as_ref(),
    ];
    lowerdir(stack, &fixed)
}

fn translate(stack: &Stack, options: &[&str], from: &Path, to: &Path) -> Run {
    let options: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    let fixed = ["translate".as_ref(), from.as_os_str(), to.as_os_str()];
    lowerdir(stack, &[&fixed[..], &options].concat())
}

fn lowerdir(stack: &Stack, arguments: &[&OsStr]) -> Run {
    let options: Vec<&OsStr> = stack.options().iter().map(OsStr::new).collect();
    scratch::lowerdir(&[arguments, &options].concat(), None)
}

/// The layers of a stack as files.
fn blobs(site: &Path, stack: &Stack) -> Vec<PathBuf> {
    let stack = Stack {
        layers: stack.layers.iter().map(|layer| once(layer)).collect(),
        ..stack.clone()
    };
    let tars = stack.tars();
    let write = |(number, (tar, compression)): (usize, &(Vec<u8>, crate::oci::Compression))| {
        let blob = site.join(format!("blob {number}"));
        fs::write(&blob, compression.compress(tar)).expect("a blob");
        blob
    };
    tars.iter().enumerate().map(write).collect()
}

/// A layer in which no name comes twice: readers of tar archives leave the xattrs that only the
/// first entry has, and GNU tar makes its symlinks last.
fn once(layer: &[Entry]) -> Vec<Entry> {
    let mut seen = BTreeSet::new();
    let is_new = |entry: &&Entry| {
        let components = entry.name.split(|&byte| byte == b'/');
        let components = components.filter(|name| !matches!(*name, b"" | b"."));
        seen.insert(components.collect::<Vec<_>>().join(&b'/'))
    };
    layer.iter().filter(is_new).cloned().collect()
}
