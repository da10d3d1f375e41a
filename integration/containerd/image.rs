//! Images that run: busybox, and what layers above it delete and add.

use std::fs;
use std::process::Command;

use crate::node::{Node, done, text};
use crate::oci::{chain_ids, diff_ids, docker_archive};
use crate::tarball::LayerBuilder;

/// An image as an archive.
pub struct Archive {
    pub path: String,
    pub name: String,
    /// The chain IDs of its layers, the lowest first.
    pub chain: Vec<String>,
}

/// A lowest layer with busybox and a directory that `layers` work on.
pub fn archive(node: &Node, name: &str, layers: &[LayerBuilder]) -> Archive {
    let busybox = done(Command::new("sh").args(["-c", "command -v busybox"]));
    let busybox = fs::read(busybox.trim()).expect("busybox");
    let mut base = LayerBuilder::new()
        .dir("bin", 0o755)
        .file("bin/busybox", 0o755, busybox);
    for directory in [
        "dev",
        "etc",
        "proc",
        "run",
        "srv",
        "srv/opaque",
        "sys",
        "tmp",
    ] {
        base = base.dir(directory, 0o755);
    }
    let base = base
        .file("etc/old", 0o644, "old")
        .file("srv/opaque/below", 0o644, "below")
        .file("srv/whose", 0o600, name);
    let all = [base].into_iter().chain(layers.iter().cloned());
    let tars: Vec<Vec<u8>> = all.map(LayerBuilder::finish).collect();
    let path = node.path(&format!("{name}.tar"));
    let name = format!("example.com/{name}:1");
    fs::write(&path, docker_archive(&name, &tars)).expect("an archive");
    Archive {
        path: text(&path).into(),
        name,
        chain: chain_ids(&diff_ids(&tars)),
    }
}

/// Deletes, empties and adds.
pub fn changes() -> Vec<LayerBuilder> {
    let above = LayerBuilder::new()
        .dir("etc", 0o755)
        .whiteout("etc/old")
        .file("etc/new", 0o644, "new")
        .opaque("srv/opaque")
        .dir("srv/opaque", 0o750)
        .file("srv/opaque/above", 0o644, "above");
    vec![
        above,
        LayerBuilder::new()
            .dir("srv", 0o711)
            .file("srv/top", 0o4755, "top"),
    ]
}

/// Lists all that the image has: types, modes, owners, names, and what is in `etc` and `srv`.
pub const LISTING: &str = "cd / && busybox find bin etc srv tmp | busybox sort | \
     busybox xargs busybox stat -c '%A %u:%g %n'; busybox grep -r . etc srv | busybox sort";
