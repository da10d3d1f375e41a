//! What is killed while it works, the snapshotter or containerd, is started again, and all goes on.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::image::{LISTING, archive, changes};
use crate::node::{NAME, Node};
use crate::runs::run;

#[test]
fn a_snapshotter_that_is_killed_during_an_import_is_followed_by_another() {
    let Some((node, mut snapshotter, _containerd)) = Node::started() else {
        return;
    };
    let image = archive(&node, "killed", &changes());
    node.lowerdir(&["unpack", &image.path]);
    for round in 0..6 {
        let import = [
            "--address",
            "/run/containerd.sock",
            "images",
            "import",
            "--snapshotter",
            NAME,
            &image.path,
        ];
        let mut import = node
            .inside("ctr")
            .args(import)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("running ctr");
        sleep(Duration::from_millis(40 + 25 * round));
        node.kill(snapshotter, "KILL");
        snapshotter = node.snapshotter(&[]);
        // It failed, or waited for the next.
        import.wait().expect("it ends");
    }
    node.ctr(&["images", "import", "--snapshotter", NAME, &image.path]);
    let listing = run(&node, NAME, &image.name, LISTING);
    assert!(listing.contains("srv/opaque/above"), "{listing}");
    node.ctr(&["images", "remove", "--sync", &image.name]);
    assert_eq!(node.directories(), 0);
    assert!(!node.logs().contains("has lost"), "{}", node.logs());
}

#[test]
fn containers_live_on_while_both_are_killed() {
    let Some((node, snapshotter, containerd)) = Node::started() else {
        return;
    };
    let image = archive(&node, "living", &changes());
    node.ctr(&["images", "import", "--snapshotter", NAME, &image.path]);
    let id = format!("lowerdir-{}-living", std::process::id());
    let start = ["run", "--detach", "--snapshotter", NAME, &image.name, &id];
    node.ctr(&[&start[..], &["/bin/busybox", "sleep", "1000"]].concat());
    let before = node.snapshots("default");
    node.kill(snapshotter, "KILL");
    node.kill(containerd, "KILL");
    let (snapshotter, _containerd) = (node.snapshotter(&[]), node.containerd());
    assert_eq!(node.snapshots("default"), before);
    let exec = |script: &str| {
        node.ctr(&[
            "tasks",
            "exec",
            "--exec-id",
            "exec",
            &id,
            "/bin/busybox",
            "sh",
            "-c",
            script,
        ])
    };
    assert_eq!(
        exec("echo written > /srv/new && busybox cat /srv/new /etc/new"),
        "written\nnew"
    );
    // One that is asked to stop waits for no container.
    node.kill(snapshotter, "TERM");
    let _snapshotter = node.snapshotter(&[]);
    node.ctr(&["tasks", "kill", "--signal", "KILL", &id]);
    node.wait(
        &|| node.ctr(&["tasks", "list"]).contains("STOPPED"),
        "the container to end",
    );
    node.ctr(&["tasks", "delete", &id]);
    node.ctr(&["containers", "delete", &id]);
    node.collect();
    assert_eq!(node.directories(), before.len() - 1);
}
