//! `ctr snapshots`: what people do by hand, and what containerd refuses.

use std::fs;

use crate::node::{NAME, Node};

#[test]
fn snapshots_are_made_and_removed_by_hand() {
    let Some((node, _snapshotter, _containerd)) = Node::started() else {
        return;
    };
    let ctr = |line: &[&str]| node.ctr(&[&["snapshots", "--snapshotter", NAME], line].concat());
    let refused = |line: &[&str]| {
        let tried = node.try_ctr(&[&["snapshots", "--snapshotter", NAME], line].concat());
        tried.expect_err("it is refused")
    };
    ctr(&["prepare", "key"]);
    let target = node.path("target");
    fs::create_dir(&target).expect("a mount point");
    let mount = |key: &str, doing: &str| {
        let line = ctr(&["mounts", crate::node::text(&target), key]);
        let script = format!(
            "{} && {doing}; status=$?; umount {}; exit $status",
            line.trim(),
            target.display()
        );
        crate::node::done(node.inside("sh").args(["-c", &script]))
    };
    mount("key", &format!("echo low > {}/file", target.display()));
    ctr(&["commit", "low", "key"]);
    ctr(&["prepare", "key", "low"]);
    mount(
        "key",
        &format!("rm {0}/file && mkdir {0}/new", target.display()),
    );
    ctr(&["commit", "high", "key"]);
    ctr(&["view", "look", "high"]);
    assert_eq!(mount("look", &format!("ls {}", target.display())), "new\n");
    assert!(mount("look", &format!("! touch {}/no 2>&1", target.display())).contains("ead-only"));
    let tree = ctr(&["tree"]);
    assert!(
        tree.contains("low") && tree.contains("high") && tree.contains("look"),
        "{tree}"
    );
    assert!(ctr(&["info", "high"]).contains("\"Committed\""));
    let usage = ctr(&["usage", "low"]);
    assert!(
        usage
            .lines()
            .last()
            .is_some_and(|line| line.contains("low") && line.trim().ends_with('2')),
        "{usage}"
    );
    ctr(&["label", "high", "colour=green"]);
    assert!(ctr(&["info", "high"]).contains("green"));

    for (line, why) in [
        (&["rm", "low"][..], "cannot remove"),
        (&["prepare", "look"], "already exists"),
        (&["prepare", "new", "no"], "not found"),
        (&["commit", "new", "look"], "not active"),
        (&["info", "no"], "not found"),
    ] {
        let said = refused(line);
        assert!(said.contains(why), "{line:?}: {said}");
    }
    for name in ["look", "high", "low"] {
        ctr(&["rm", name]);
    }
    node.collect();
    assert_eq!(node.directories(), 0);
}
