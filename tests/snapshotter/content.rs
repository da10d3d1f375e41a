//! Blobs that containerd has become layers of the store, where it says which blob a layer is.

use std::fs;

use lowerdir::options::ForeignXattrs;
use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::Snapshotter;

use crate::oci::{Compression, chain_ids, diff_ids};
use crate::place::{BLOB, Place, TARGET, labels, two_layers};
use crate::tarball::{LayerBuilder, Meta};

fn prepare(
    snapshotter: &Snapshotter,
    (chain_id, blob): (&str, &str),
    parent: Option<&str>,
) -> Option<Code> {
    let asked = labels([(TARGET, chain_id), (BLOB, blob)]);
    let key = format!("extract-1 {chain_id}");
    snapshotter
        .prepare(&key, parent, asked)
        .err()
        .map(|failure| failure.code)
}

#[test]
fn a_blob_becomes_a_layer_with_all_rules() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    let blobs = [
        place.add_blob(&Compression::Gzip.compress(&layers[0])),
        place.add_blob(&Compression::Zstd.compress(&layers[1])),
    ];
    let snapshotter = place.open();
    assert_eq!(
        prepare(&snapshotter, (&chain[0], &blobs[0]), None),
        Some(Code::AlreadyExists)
    );
    let made = prepare(&snapshotter, (&chain[1], &blobs[1]), Some(&chain[0]));
    assert_eq!(made, Some(Code::AlreadyExists));

    let store = place.store();
    assert_eq!(store.layers().unwrap().len(), 2);
    let top = lowerdir::Digest::parse(&chain[1]).unwrap();
    let top = store.layer(&top).unwrap().unwrap();
    assert_eq!(
        (top.record.report.deletions, top.record.parent.as_ref()),
        (1, Some(&chain[0]))
    );
    assert_eq!(top.record.blob, blobs[1]);
    // No image needs them, but snapshots do.
    assert_eq!((store.images().unwrap().len(), place.pins()), (0, 2));
    assert!(place.directories().is_empty());
    assert!(place.told.lock().unwrap().is_empty());
}

#[test]
fn what_is_below_is_made_too() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    let snapshotter = place.open();
    let blobs = [0, 1].map(|number| format!("sha256:{}", crate::oci::sha256(&layers[number])));
    // The lowest blob came after it was asked for, and containerd unpacked it.
    assert_eq!(prepare(&snapshotter, (&chain[0], &blobs[0]), None), None);
    let parent = format!("default/4/{}", chain[0]);
    let key = format!("extract-1 {}", chain[0]);
    snapshotter
        .commit(&parent, &key, labels([(BLOB, &blobs[0])]))
        .unwrap();
    place.add_blob(&layers[1]);
    // Without the blob below, nothing is begun.
    assert_eq!(
        prepare(&snapshotter, (&chain[1], &blobs[1]), Some(&parent)),
        None
    );
    assert!(place.store().layers().unwrap().is_empty());
    snapshotter
        .remove(&format!("extract-1 {}", chain[1]))
        .unwrap();
    place.add_blob(&layers[0]);
    let made = prepare(&snapshotter, (&chain[1], &blobs[1]), Some(&parent));
    assert_eq!(made, Some(Code::AlreadyExists));
    assert_eq!(place.store().layers().unwrap().len(), 2);
    assert_eq!(snapshotter.stat(&chain[1]).unwrap().parent, Some(parent));
}

#[test]
fn a_blob_that_is_not_what_was_said_is_an_error_and_leaves_nothing() {
    let (place, (layers, chain)) = (Place::new(), two_layers());
    let snapshotter = place.open();
    // Another blob than its name says.
    let blob = place.add_blob(&layers[0]);
    let path = place.path().join("content/blobs/sha256").join(&blob[7..]);
    fs::write(&path, &layers[1]).unwrap();
    assert_eq!(
        prepare(&snapshotter, (&chain[0], &blob), None),
        Some(Code::DataLoss)
    );
    // The blob of another chain.
    fs::write(&path, &layers[0]).unwrap();
    assert_eq!(
        prepare(&snapshotter, (&chain[1], &blob), None),
        Some(Code::DataLoss)
    );
    assert!(place.store().layers().unwrap().is_empty());
    assert!(snapshotter.list(&[]).unwrap().is_empty());
    assert_eq!((place.pins(), place.directories().len()), (0, 0));
    assert_eq!(
        fs::read_dir(place.config.store.join("staging"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_blob_that_is_refused_is_left_to_containerd() {
    let place = Place::new();
    let layers = [
        b"an encrypted layer, say".repeat(100),
        // Zeros, as an empty archive has them, before an EROFS superblock.
        [&[0; 1024][..], b"\xe2\xe1\xf5\xe0", &[0; 3068]].concat(),
        LayerBuilder::new().file("../x", 0o644, "").finish(),
    ];
    let snapshotter = place.open();
    for layer in &layers {
        let chain = chain_ids(&diff_ids([layer]));
        let blob = place.add_blob(layer);
        assert_eq!(prepare(&snapshotter, (&chain[0], &blob), None), None);
    }
    assert_eq!(place.told.lock().unwrap().len(), 3);
    assert!(place.store().layers().unwrap().is_empty());
    assert_eq!(place.directories().len(), 3);
}

#[test]
fn xattrs_of_other_systems_are_left_out_or_left_to_containerd() {
    let meta = Meta::new(0o644).xattr("com.apple.provenance", "x");
    let layer = LayerBuilder::new().file("f", meta, "").finish();
    let chain = chain_ids(&diff_ids([&layer]));
    for (how, made) in [
        (ForeignXattrs::Lenient, Some(Code::AlreadyExists)),
        (ForeignXattrs::Strict, None),
    ] {
        let mut place = Place::new();
        place.config.options.foreign_xattrs = how;
        let blob = place.add_blob(&layer);
        let snapshotter = place.open();
        assert_eq!(prepare(&snapshotter, (&chain[0], &blob), None), made);
        let count = usize::from(made.is_some());
        assert_eq!(place.store().layers().unwrap().len(), count);
    }
}

#[test]
fn without_a_content_root_no_blob_is_read() {
    let (mut place, (layers, chain)) = (Place::new(), two_layers());
    let blob = place.add_blob(&layers[0]);
    place.config.content_root = None;
    let snapshotter = place.open();
    assert_eq!(prepare(&snapshotter, (&chain[0], &blob), None), None);
}
