//! The same images through `umoci unpack`, an independent implementation that writes one tree.
//!
//! It cannot do all that images may hold, so these stacks hold less; each line of [`CAN_DO`] says
//! what umoci 0.4.7 makes of the rest.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::generate::{Flavour, Stack};
use crate::model::{Listing, Model};
use crate::oci::Compression;
use crate::property::{Image, for_each_stack, stacks};
use crate::scratch::{Run, Scratch};
use crate::tarball::{Entry, Kind, Meta, Spelling};
use crate::walk::Walk;

const CAN_DO: Flavour = Flavour {
    // What is refused, and how, is each tool's own.
    refused: 0,
    // Overlayfs's own are set as they stand; an unset POSIX ACL is one more difference.
    xattrs: false,
    // Names that are no UTF-8 do not survive its JSON.
    odd_names: false,
    // It deletes when the marker comes, also what this layer has put there before.
    scattered_markers: false,
    // Only regular files count as markers.
    odd_markers: false,
    odd_times: false,
    // It resolves a marker's parents through symbolic links of the same layer.
    symlinks: false,
    labels: 0,
};

#[test]
fn mounted_stack_equals_what_umoci_unpacks() {
    if Command::new("umoci").arg("--version").output().is_err() {
        return crate::skip("there is no umoci: the Debian package has that name");
    }
    let (count, compared) = (stacks() * 3 / 5, AtomicU64::new(0));
    for_each_stack(count, CAN_DO, |site, stack| {
        let stack = Stack {
            // It knows no zstd.
            compression: vec![Compression::Gzip; stack.layers.len()],
            layers: what_it_can_do(&stack.layers),
            ..*stack
        };
        let Ok(tree) = stack.expected() else {
            return Ok(());
        };
        let image = Image::write(site, &stack);
        image.unpack("store", stack.jobs, &[]).done()?;
        let Some(theirs) = unpacked(site, &image, &["--keep-dirlinks"], &tree) else {
            // It gives up where something that is no directory is in the way of one.
            return Ok(());
        };
        compared.fetch_add(1, Ordering::Relaxed);
        image.mounted_is("store", &theirs)
    });
    let compared = compared.into_inner();
    assert!(compared * 5 >= count, "umoci did {compared} of {count}");
}

/// A directory entry replaces a symbolic link there too, unless `--keep-dirlinks` is given; so the
/// markers beside it leave alone what the link points to.
#[test]
fn markers_reach_through_no_replaced_symlink_as_in_umoci() {
    if Command::new("umoci").arg("--version").output().is_err() {
        return crate::skip("there is no umoci: the Debian package has that name");
    }
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let entry = |name: &str, kind: Kind| Entry {
        name: name.into(),
        meta: Meta::new(if kind == Kind::Dir { 0o755 } else { 0o644 }),
        kind,
    };
    let file = |name: &str| entry(name, Kind::File(Vec::new()));
    let link = |name: &str, target: &str| entry(name, Kind::Symlink(target.into()));
    for marker in ["lib/.wh..wh..opq", "lib/.wh.x", "lib64/.wh.x"] {
        let below = vec![
            entry("usr", Kind::Dir),
            entry("usr/lib", Kind::Dir),
            file("usr/lib/x"),
            link("lib", "usr/lib"),
            link("lib64", "lib"),
        ];
        let above = vec![entry("lib", Kind::Dir), file(marker), file("lib/y")];
        let stack = Stack {
            layers: vec![below, above],
            compression: vec![Compression::Gzip; 2],
            jobs: 1,
            spelling: Spelling::Pax,
            has_ends: true,
            keeps_labels: false,
        };
        let site = scratch.site();
        let (site, tree) = (site.path(), stack.expected().expect("nothing refuses it"));
        let image = Image::write(site, &stack);
        image.unpack("store", 1, &[]).done().expect("it is good");
        let theirs = unpacked(site, &image, &[], &tree).expect("umoci can do it");
        assert!(theirs.contains_key(&b"usr/lib/x"[..]), "{marker}");
        let verdict = image.mounted_is("store", &theirs);
        verdict.unwrap_or_else(|what| panic!("{marker}: {what}"));
    }
}

/// What umoci makes of an image; `None` if it gives up.
fn unpacked(site: &Path, image: &Image, options: &[&str], tree: &Listing) -> Option<Listing> {
    let bundle = site.join("bundle");
    let mut umoci = Command::new("umoci");
    umoci.arg("unpack").args(options).arg("--image");
    let run = Run::of(umoci.arg(image.reference("")).arg(&bundle));
    if run.status != 0 {
        return None;
    }
    let mut theirs = Walk::new(&bundle.join("rootfs"), &BTreeSet::new()).listing;
    // It leaves directories with the time at which it last wrote into them.
    for (path, item) in &mut theirs {
        if let (Kind::Dir, Some(expected)) = (&item.kind, tree.get(path)) {
            item.mtime = expected.mtime;
        }
    }
    Some(theirs)
}

/// Leaves out the markers whose directory is not there, which umoci does not make (rule W5), and
/// what aufs kept for itself (rule W6); and the setgid bits of directories, which go on to the
/// directories that it implies (rule I2).
fn what_it_can_do(layers: &[Vec<Entry>]) -> Vec<Vec<Entry>> {
    let mut below = Model::new();
    let mut kept = Vec::new();
    for layer in layers {
        let tree = below.listing();
        let has_directory = |entry: &Entry| {
            let parts: Vec<&[u8]> = entry.name.split(|&byte| byte == b'/').collect();
            let parts: Vec<&[u8]> = parts
                .into_iter()
                .filter(|part| !matches!(*part, b"" | b"."))
                .collect();
            let Some((name, parents)) = parts.split_last() else {
                return true;
            };
            // It unpacks what aufs kept for itself.
            if parents.iter().any(|part| part.starts_with(b".wh.")) {
                return false;
            }
            let parent = tree.get(&parents.join(&b'/'));
            !name.starts_with(b".wh.") || parent.is_some_and(|item| item.kind == Kind::Dir)
        };
        let mut layer = layer.clone();
        layer.retain(has_directory);
        for entry in layer.iter_mut().filter(|entry| entry.kind == Kind::Dir) {
            entry.meta.mode &= !0o2000;
        }
        // What refuses a layer now fails in umoci as well.
        let _ = below.apply(&layer);
        kept.push(layer);
    }
    kept
}
