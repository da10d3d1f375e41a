//! `diff`: what differs between two images, or what a layer changes.

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::ls::{crfs, image};
use crate::tarball::{LayerBuilder, Meta};

pub fn lines(run: &Run) -> Vec<&str> {
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    run.stdout.lines().collect()
}

#[test]
fn an_opaque_directory_is_expanded() {
    let bench = Bench::new();
    crfs(&bench);
    let run = bench.run(&["diff", "oci:crfs", "--layer", "2"]);
    assert_eq!(
        lines(&run),
        [
            "D etc/localtime",
            "D etc/network/interfaces",
            "A etc/network/newfile"
        ]
    );
    let run = bench.run(&["diff", "oci:crfs", "--layer", "1"]);
    assert_eq!(
        lines(&run),
        [
            "A etc",
            "A etc/localtime",
            "A etc/network",
            "A etc/network/interfaces",
            "A etc/passwd"
        ]
    );
}

#[test]
fn each_part_that_may_differ_is_told() {
    let bench = Bench::new();
    let low = LayerBuilder::new()
        .file("content", 0o644, "one")
        .file("device", 0o644, "")
        .chardev("null", 0o666, (1, 3))
        .file("mode", 0o644, "")
        .file("owner", 0o644, "")
        .file("same", 0o644, "same")
        .file("size", 0o644, "x")
        .symlink("target", "here")
        .file("time", 0o644, "")
        .file("xattr", Meta::new(0o644).xattr("user.a", "1"), "");
    let high = LayerBuilder::new()
        .file("content", 0o644, "two")
        .fifo("device", 0o644)
        .chardev("null", 0o666, (1, 5))
        .file("mode", 0o755, "")
        .file("owner", Meta::new(0o644).owner(5, 6), "")
        .file("same", 0o644, "same")
        .file("size", 0o644, "xy")
        .symlink("target", "there")
        .file("time", Meta::new(0o644).time(1, 0), "")
        .file("xattr", Meta::new(0o644).xattr("user.a", "2"), "");
    image(&bench, "low", vec![low.clone()]);
    image(
        &bench,
        "both",
        vec![low, high.clone().hardlink("same2", "same")],
    );
    let run = bench.run(&["diff", "oci:low", "oci:both"]);
    let expected = [
        "C content (content)",
        "C device (type file -> fifo)",
        "C mode (mode 0644 -> 0755)",
        "C null (device 1,3 -> 1,5)",
        "C owner (owner 0:0 -> 5:6)",
        "C same (links)",
        "A same2",
        "C size (size 1 -> 2)",
        "C target (target here -> there)",
        "C time (time)",
        "C xattr (xattrs)",
    ];
    assert_eq!(lines(&run), expected);
    let run = bench.run(&["diff", "oci:low", "oci:both", "--ignore-times"]);
    assert!(!lines(&run).contains(&"C time (time)"), "{run:?}");
    let run = bench.run(&["diff", "oci:both", "--layer=2"]);
    assert_eq!(lines(&run), expected);
    // How an image is cut into layers is no difference.
    image(&bench, "one", vec![high.hardlink("same2", "same")]);
    let run = bench.run(&["diff", "oci:both", "oci:one"]);
    assert_eq!(lines(&run), [""; 0]);
}

#[test]
fn a_change_is_a_json_object() {
    let bench = Bench::new();
    let low = LayerBuilder::new().file("f", 0o644, "one");
    let high = LayerBuilder::new().file("f", 0o600, "two").whiteout("g");
    image(&bench, "it", vec![low, high]);
    let run = bench.run(&["diff", "oci:it", "--layer=2", "--json"]);
    let lines = lines(&run);
    let change: Value = serde_json::from_str(lines[0]).expect("an object");
    let row = |mode: &str| {
        json!({ "path": "f", "type": "file", "mode": mode, "uid": 0, "gid": 0, "size": 3,
                "mtime": "1613088000.000000000" })
    };
    let expected = json!({
        "path": "f", "change": "changed", "parts": ["mode", "content"],
        "before": row("0644"), "after": row("0600"),
    });
    assert_eq!(change, expected);
    let summary: Value = serde_json::from_str(lines[1]).expect("an object");
    let expected = json!({ "summary": { "created": 0, "changed": 1, "deleted": 0 } });
    assert_eq!((lines.len(), summary), (2, expected));
}

#[test]
fn diff_takes_two_images_or_a_layer() {
    let bench = Bench::new();
    crfs(&bench);
    assert_eq!(bench.run(&["diff", "oci:crfs"]).status, 2);
    assert_eq!(
        bench
            .run(&["diff", "oci:crfs", "oci:crfs", "--layer=1"])
            .status,
        2
    );
    bench
        .run(&["diff", "oci:crfs", "--layer=9"])
        .fails(1, &["there is no layer 9"]);
    bench
        .run(&["diff", "oci:crfs", "oci:nowhere"])
        .fails(1, &["nowhere"]);
}
