//! Images that CRI pulls from a registry: what the store has, nobody fetches.

use std::fs;

use crate::image::{Archive, LISTING, archive, changes};
use crate::node::{NAME, Node, Service, done, text};
use crate::tarball::LayerBuilder;
use crate::{cri, runs};

/// Pushes an image; returns its name there, and the digests of its layers as they are there.
pub fn push(node: &Node, image: &Archive, name: &str) -> (String, Vec<String>) {
    let there = format!("127.0.0.1:{}/{name}:1", node.port);
    let (from, to) = (
        format!("docker-archive:{}", image.path),
        format!("docker://{there}"),
    );
    done(node.inside("skopeo").args([
        "copy",
        "--insecure-policy",
        "--quiet",
        "--dest-tls-verify=false",
        &from,
        &to,
    ]));
    let inspect = ["inspect", "--raw", "--tls-verify=false", &to];
    let manifest = done(node.inside("skopeo").args(inspect));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    let digests = layers
        .iter()
        .map(|layer| layer["digest"].as_str().expect("a digest").to_string());
    (there, digests.collect())
}

/// Starts a snapshotter that looks into containerd's content store, and says where that is.
pub fn content(node: &Node) -> (String, Service) {
    let content = node.path("containerd/io.containerd.content.v1.content");
    let content = text(&content).to_string();
    let snapshotter = node.snapshotter(&["--content-root", &content]);
    (content, snapshotter)
}

/// How many of these blobs were asked for since the registry was started.
fn fetched(node: &Node, blobs: &[String]) -> usize {
    let log = fs::read(node.path("registry.log")).expect("a log");
    let log = String::from_utf8_lossy(&log);
    let is_fetched = |blob: &&String| {
        let blob = format!("/blobs/{blob} ");
        log.lines()
            .any(|line| line.contains("\"GET /v2/") && line.contains(&blob))
    };
    blobs.iter().filter(is_fetched).count()
}

#[test]
fn a_pull_fetches_no_layer_that_the_store_has() {
    let Some((node, _snapshotter, _containerd)) = Node::started() else {
        return;
    };
    if !runs::is_possible(&node) {
        return;
    }
    let _registry = node.registry();
    let known = archive(&node, "known", &changes());
    let unknown = archive(&node, "unknown", &changes());
    let (known_there, known_blobs) = push(&node, &known, "known");
    let (unknown_there, unknown_blobs) = push(&node, &unknown, "unknown");
    node.lowerdir(&["unpack", &known.path]);

    cri::pull(&node, &known_there).unwrap_or_else(|error| panic!("{error}{}", node.logs()));
    assert_eq!(fetched(&node, &known_blobs), 0);
    assert_eq!((node.directories(), node.pins()), (0, 3));
    let blobs = node.path("containerd/io.containerd.content.v1.content/blobs/sha256");
    for blob in &known_blobs {
        assert!(
            !fs::exists(blobs.join(&blob[7..])).unwrap(),
            "{blob} was fetched"
        );
    }
    let run = |image: &str| run(&node, image, LISTING);
    let listing = run(&known_there);
    // ctr tells no chain ID: it fetches and unpacks what the store has.
    let pull = [
        "images",
        "pull",
        "--plain-http",
        "--snapshotter",
        NAME,
        &known_there,
    ];
    node.ctr(&[&["--namespace", "hand"][..], &pull].concat());
    node.collect();
    assert_eq!((node.directories(), fetched(&node, &known_blobs)), (3, 3));
    // The log tells of blobs that are fetched.
    cri::pull(&node, &unknown_there).unwrap_or_else(|error| panic!("{error}{}", node.logs()));
    assert_eq!(fetched(&node, &unknown_blobs), unknown_blobs.len());
    assert_eq!(run(&unknown_there).replace("unknown", "known"), listing);

    // Another namespace has the same snapshots.
    node.ctr(&["images", "import", "--snapshotter", NAME, &known.path]);
    assert_eq!(runs::run(&node, NAME, &known.name, LISTING), listing);

    // Nobody removes what the snapshots show; once they are gone, anybody may.
    let digest = node.lowerdir(&["images", "--json"]);
    assert!(digest.contains(&known.name), "{digest}");
    node.lowerdir(&["rm", &known.name]);
    assert_eq!(run(&known_there), listing);
    node.lowerdir(&["prune"]);
    assert_eq!(run(&known_there), listing);
    cri::remove(&node, &known_there);
    node.ctr(&["images", "remove", "--sync", &known.name]);
    node.collect();
    assert_eq!(node.pins(), 0);
    node.lowerdir(&["prune"]);
    let layers = fs::read_dir(node.path("store/layers/sha256")).expect("layers");
    assert_eq!(layers.count(), 0);
}

#[test]
fn what_containerd_has_fetched_is_unpacked_by_our_engine() {
    let Some(node) = Node::new() else {
        return;
    };
    let (_content, _snapshotter) = content(&node);
    let (_containerd, _registry) = (node.containerd(), node.registry());
    if !runs::is_possible(&node) {
        return;
    }
    let image = archive(&node, "content", &changes());
    let (there, blobs) = push(&node, &image, "content");
    node.fetch(&there);
    assert_eq!(fetched(&node, &blobs), blobs.len());
    assert_eq!(node.pins(), 0);

    cri::pull(&node, &there).unwrap_or_else(|error| panic!("{error}{}", node.logs()));
    assert_eq!(
        (node.directories(), node.pins()),
        (0, blobs.len()),
        "{}",
        node.logs()
    );
    node.lowerdir(&["verify", "--all"]);
    for (chain_id, blob) in image.chain.iter().zip(&blobs) {
        let record = format!("store/layers/sha256/{}/layer.json", &chain_id[7..]);
        let record = fs::read_to_string(node.path(&record)).expect("a layer");
        assert!(record.contains(blob), "{record}");
    }
    let listing = run(&node, &there, LISTING);
    assert!(
        listing.contains("srv/opaque/above") && !listing.contains("etc/old"),
        "{listing}"
    );
}

#[test]
fn containers_stand_on_more_layers_than_long_names_fit() {
    let Some(node) = Node::new() else {
        return;
    };
    let _snapshotter = node.snapshotter(&["--sync=none"]);
    let (_containerd, _registry) = (node.containerd(), node.registry());
    if !runs::is_possible(&node) {
        return;
    }
    let layer = |number: usize| {
        let layer = LayerBuilder::new().file(format!("srv/file-{number}"), 0o644, "");
        match number {
            0 => layer,
            _ => layer.whiteout(format!("srv/file-{}", number - 1)),
        }
    };
    let layers: Vec<_> = (0..70).map(layer).collect();
    let image = archive(&node, "many", &layers);
    let script = "busybox ls /srv && echo > /srv/new && busybox ls /srv | busybox wc -l";
    let expected = "file-69\nopaque\nwhose\n4\n";
    // In directories of their own, in containerd's way and ours.
    node.ctr(&["images", "import", "--snapshotter", NAME, &image.path]);
    assert_eq!(runs::run(&node, NAME, &image.name, script), expected);
    assert_eq!(node.pins(), 0);
    // In the store.
    let (there, blobs) = push(&node, &image, "many");
    node.lowerdir(&["unpack", "--sync=none", &image.path]);
    cri::pull(&node, &there).unwrap_or_else(|error| panic!("{error}{}", node.logs()));
    assert_eq!((node.pins(), fetched(&node, &blobs)), (71, 0));
    assert_eq!(run(&node, &there, script), expected);
}

/// Runs a shell in a container of Kubernetes's namespace, and gives what it prints.
fn run(node: &Node, image: &str, script: &str) -> String {
    let id = format!("lowerdir-{}-pull", std::process::id());
    let run = [
        "--namespace",
        "k8s.io",
        "run",
        "--rm",
        "--snapshotter",
        NAME,
        image,
        &id,
    ];
    node.ctr(&[&run[..], &["/bin/busybox", "sh", "-c", script]].concat())
}
