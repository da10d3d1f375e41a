//! `--rootless`: one switch for who is not root. What it makes of a user namespace is tried in
//! `integration/rootless.rs`.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use serde_json::Value;

use crate::bench::Bench;
use crate::layout::Layout;
use crate::tarball::LayerBuilder;

fn layers() -> [Vec<u8>; 2] {
    let low = LayerBuilder::new()
        .file("gone", 0o644, "")
        .dir("d", 0o755)
        .file("d/old", 0o644, "");
    let high = LayerBuilder::new().whiteout("gone").opaque("d");
    [low.finish(), high.finish()]
}

#[test]
fn anybody_unpacks_a_layer_for_a_mount_in_a_user_namespace() {
    let bench = Bench::new();
    for (name, layer) in ["low.tar", "high.tar"].into_iter().zip(layers()) {
        bench.write(name, layer);
    }
    let unpack = |arguments: &[&str]| {
        let options = ["--rootless", "--owners=caller", "--sync=none"];
        let run = bench.run(&[&["unpack-layer"], arguments, &options].concat());
        assert_eq!(run.status, 0, "{run:?}");
    };
    unpack(&["low.tar", "low", "--base"]);
    unpack(&["high.tar", "high", "--lower=low"]);
    let whiteout = fs::symlink_metadata(bench.path("high/gone"))
        .expect("a whiteout")
        .file_type();
    let by_xattr = xattr::get(bench.path("high/gone"), "user.overlay.whiteout");
    let is_whiteout = whiteout.is_char_device() || by_xattr.expect("it can be read").is_some();
    assert!(is_whiteout, "{whiteout:?}");
    let opaque = xattr::get(bench.path("high/d"), "user.overlay.opaque").expect("it can be read");
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
    assert_eq!(
        bench.names(&bench.path("")),
        ["high", "high.tar", "low", "low.tar"]
    );
}

/// What was chosen is in the record of each layer: mounts obey it, a second run finds it.
#[test]
fn the_store_remembers_what_was_chosen() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers()));
    let unpack = |options: &[&str]| {
        let fixed = [
            "unpack",
            "oci:image",
            "--rootless",
            "--owners=caller",
            "--sync=none",
        ];
        bench.on_store(&[&fixed[..], options].concat())
    };
    let first = unpack(&[]).stdout;
    assert_eq!(
        unpack(&["--json"])
            .stdout
            .matches("\"was_there\":true")
            .count(),
        2
    );
    assert_eq!(unpack(&[]).stdout, first);
    let stack = bench.on_store(&["stack", "oci:image", "--json"]);
    let stack: Value = serde_json::from_str(stack.lines()[0]).expect("JSON");
    assert_eq!(stack["userxattr"], true);
    assert_eq!(bench.layers_in_store(), 2);
    bench
        .on_store(&["unpack", "oci:image", "--owners=caller"])
        .fails(1, &["other options"]);
}
