//! The same images through `umoci unpack`, an independent implementation that writes one tree.
//!
//! It cannot do all that images may hold, so these stacks hold less; each line of [`CAN_DO`] says
//! what umoci 0.4.7 makes of the rest.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::generate::{Flavour, Stack};
use crate::model::Model;
use crate::oci::Compression;
use crate::property::{Image, for_each_stack, stacks};
use crate::scratch::Run;
use crate::tarball::{Entry, Kind};
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
        let bundle = site.join("bundle");
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--keep-dirlinks", "--image"]);
        let run = Run::of(umoci.arg(image.reference("")).arg(&bundle));
        if run.code() != Some(0) {
            // It gives up where something that is no directory is in the way of one.
            return Ok(());
        }
        compared.fetch_add(1, Ordering::Relaxed);
        let mut theirs = Walk::new(&bundle.join("rootfs"), &BTreeSet::new()).listing;
        // It leaves directories with the time at which it last wrote into them.
        for (path, item) in &mut theirs {
            if let (Kind::Dir, Some(expected)) = (&item.kind, tree.get(path)) {
                item.mtime = expected.mtime;
            }
        }
        image.mounted_is("store", &theirs)
    });
    let compared = compared.into_inner();
    assert!(compared * 5 >= count, "umoci did {compared} of {count}");
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
