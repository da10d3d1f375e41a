//! What is killed while it works, the snapshotter or containerd, is started again, and all goes on.

use std::fs;
use std::process::Stdio;
use std::thread::{scope, sleep};
use std::time::Duration;

use lowerdir::internals::snapshotter::api::services::snapshots::v1::PrepareSnapshotRequest;
use prost::Message;

use crate::image::{LISTING, archive, changes};
use crate::node::{NAME, Node, text};
use crate::pulls::{content, push};
use crate::runs::{is_possible, run};
use crate::tarball::LayerBuilder;
use crate::{cri, oci};

#[test]
fn a_snapshotter_that_is_killed_during_an_import_is_followed_by_another() {
    let Some((node, mut snapshotter, _containerd)) = Node::started() else {
        return;
    };
    if !is_possible(&node) {
        return;
    }
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
    node.wait_for_snapshots();
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
    if !is_possible(&node) {
        return;
    }
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
    node.wait_for_snapshots();
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

#[test]
fn a_snapshotter_that_is_killed_while_it_unpacks_leaves_nothing_half() {
    let Some(node) = Node::new() else {
        return;
    };
    let (content, mut snapshotter) = content(&node);
    let (_containerd, _registry) = (node.containerd(), node.registry());
    let image = archive(
        &node,
        "unpacked",
        &[many_files("a", 6_000), many_files("b", 6_000)],
    );
    let (there, blobs) = push(&node, &image, "unpacked");
    node.fetch(&there);
    for round in 0..5 {
        scope(|scope| {
            let pull = scope.spawn(|| cri::pull(&node, &there));
            sleep(Duration::from_millis(60 + 130 * round));
            node.kill(snapshotter, "KILL");
            // Whatever it says: it was cut short, or was done before.
            let _ = pull.join().expect("curl ends");
        });
        snapshotter = node.snapshotter(&["--content-root", &content]);
        node.wait_for_snapshots();
        node.lowerdir(&["verify", "--all"]);
        assert_eq!(node.directories(), 0);
    }
    cri::pull(&node, &there).unwrap_or_else(|error| panic!("{error}{}", node.logs()));
    assert_eq!(node.pins(), blobs.len());
    node.lowerdir(&["verify", "--all"]);
    assert_eq!(
        fs::read_dir(node.path("store/staging"))
            .expect("it is there")
            .count(),
        0
    );
}

#[test]
fn a_request_is_answered_before_the_program_ends() {
    let Some(node) = Node::new() else {
        return;
    };
    let layer = many_files("a", 20_000).finish();
    let chain_id = format!("sha256:{}", oci::sha256(&layer));
    let (content, _) = (
        node.path("content"),
        fs::create_dir_all(node.path("content/blobs/sha256")),
    );
    fs::write(content.join("blobs/sha256").join(&chain_id[7..]), &layer).expect("a blob");
    let label = |name: &str| (format!("containerd.io/snapshot{name}"), chain_id.clone());
    let message = PrepareSnapshotRequest {
        key: "key".into(),
        labels: [label(".ref"), label("/cri.layer-digest")].into(),
        ..Default::default()
    };
    let method = "containerd.services.snapshots.v1.Snapshots/Prepare";
    let layer = node.path(&format!("store/layers/sha256/{}", &chain_id[7..]));
    // A second signal has it given up.
    for (signals, expected) in [(2, 14), (1, 6)] {
        let snapshotter = node.snapshotter(&["--content-root", text(&content), "--jobs=1"]);
        let mut call = cri::request(
            &node,
            "/run/snapshotter.sock",
            method,
            &message.encode_to_vec(),
        );
        let call = call.stdout(Stdio::piped()).spawn().expect("running curl");
        node.wait(
            &|| fs::read_dir(node.path("store/staging")).is_ok_and(|mut any| any.next().is_some()),
            "it to begin",
        );
        for _ in 1..signals {
            node.signal(&snapshotter, "TERM");
            sleep(Duration::from_millis(50));
        }
        node.kill(snapshotter, "TERM");
        let answer = call.wait_with_output().expect("curl ends");
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert_eq!(
            cri::status(&answer),
            Some(expected),
            "{answer}{}",
            node.logs()
        );
        assert_eq!(fs::exists(&layer).expect("looking"), signals == 1);
        assert_eq!(
            fs::read_dir(node.path("store/staging"))
                .expect("it is there")
                .count(),
            0
        );
    }
    assert_eq!((node.pins(), node.directories()), (1, 0));
}

/// A layer that takes a moment.
fn many_files(name: &str, count: usize) -> LayerBuilder {
    let add = |layer: LayerBuilder, number: usize| {
        layer.file(format!("{name}/{}/{number}", number % 50), 0o644, name)
    };
    (0..count).fold(LayerBuilder::new(), add)
}
