//! Images that `ctr` imports and runs: without the store, and as containerd's own snapshotter does.

use std::sync::OnceLock;

use crate::image::{LISTING, archive, changes};
use crate::node::{NAME, Node};

/// Runs a shell in a container, and gives what it prints.
pub fn run(node: &Node, snapshotter: &str, image: &str, script: &str) -> String {
    let id = format!("lowerdir-{}-{snapshotter}", std::process::id());
    let run = ["run", "--rm", "--snapshotter", snapshotter, image, &id];
    node.ctr(&[&run[..], &["/bin/busybox", "sh", "-c", script]].concat())
}

/// Whether containerd can run a container here without us; says why not. Tried once.
pub fn is_possible(node: &Node) -> bool {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| {
        let image = archive(node, "trial", &[]);
        node.ctr(&[
            "images",
            "import",
            "--snapshotter",
            "overlayfs",
            &image.path,
        ]);
        let id = format!("lowerdir-{}-trial", std::process::id());
        let run = [
            "run",
            "--rm",
            "--snapshotter",
            "overlayfs",
            &image.name,
            &id,
        ];
        let tried = node.try_ctr(&[&run[..], &["/bin/busybox", "true"]].concat());
        node.ctr(&["images", "remove", "--sync", &image.name]);
        tried
    });
    if let Err(why) = tried {
        crate::skip(&format!("containerd cannot run busybox here: {why}"));
    }
    tried.is_ok()
}

#[test]
fn an_imported_image_runs_as_with_containerds_own_snapshotter() {
    let Some((node, snapshotter, _containerd)) = Node::started() else {
        return;
    };
    if !is_possible(&node) {
        return;
    }
    let image = archive(&node, "imported", &changes());
    let mut listings = Vec::new();
    for name in ["overlayfs", NAME] {
        node.ctr(&["images", "import", "--snapshotter", name, &image.path]);
        listings.push(run(&node, name, &image.name, LISTING));
    }
    assert_eq!(listings[0], listings[1]);
    for (wanted, is_there) in [
        ("etc/new", true),
        ("srv/opaque/above", true),
        ("etc/old", false),
        ("below", false),
    ] {
        assert_eq!(
            listings[1].contains(wanted),
            is_there,
            "{wanted}: {}",
            listings[1]
        );
    }
    // ctr asks for no chain by its label: containerd unpacked the layers, into directories.
    let mut names = node.snapshots("default");
    names.sort();
    let mut chain = image.chain.clone();
    chain.sort();
    assert_eq!(names, chain);
    node.collect();
    assert_eq!((node.directories(), node.pins()), (3, 0));

    // What one container writes, another does not see.
    let script = "echo written > /srv/top; busybox rm /etc/new; busybox mkdir /srv/new; busybox ls /etc /srv";
    let listing = run(&node, NAME, &image.name, script);
    assert!(
        !listing.contains("\nnew\n\n") && listing.contains("opaque"),
        "{listing}"
    );
    assert_eq!(run(&node, NAME, &image.name, LISTING), listings[1]);

    // The image goes, and all of its snapshots with it.
    node.ctr(&["images", "remove", "--sync", &image.name]);
    node.wait(
        &|| node.snapshots("default").is_empty(),
        "garbage collection",
    );
    node.wait(&|| node.directories() == 0, "the directories to go");
    node.kill(snapshotter, "TERM");
    assert!(!node.logs().contains("lost"), "{}", node.logs());
}
