//! The same images through `umoci unpack`, an independent implementation that writes one tree.
//!
//! It cannot do all that images may hold, so these stacks hold less; each line of [`CAN_DO`] says
//! what umoci 0.4.7 makes of the rest.

use std::collections::BTreeSet;
use std::process::Command;

use crate::generate::{Flavour, Stack};
use crate::oci::Compression;
use crate::property::{Image, for_each_stack, stacks};
use crate::scratch::Run;
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
    for_each_stack(stacks() * 3 / 20, CAN_DO, |site, stack| {
        let stack = Stack {
            // It knows neither zstd nor a plain layer with a name of its own.
            compression: vec![Compression::Gzip; stack.layers.len()],
            ..stack.clone()
        };
        let image = Image::write(site, &stack);
        image.unpack("store", stack.jobs, &[]).done()?;
        let bundle = site.join("bundle");
        let mut umoci = Command::new("umoci");
        umoci.args(["unpack", "--keep-dirlinks", "--image"]);
        Run::of(umoci.arg(image.reference("")).arg(&bundle)).done()?;
        let theirs = Walk::new(&bundle.join("rootfs"), &BTreeSet::new());
        image.mounted_is("store", &theirs.listing)
    });
}
