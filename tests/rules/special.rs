//! S1 to S3: devices, fifos, symbolic links, bookkeeping of other formats.

use std::os::unix::fs::FileTypeExt;

use lowerdir::Kind;
use lowerdir::report::Warning;

use crate::place::Place;
use crate::tarball;
use crate::tarball::{Entry, layer};

#[test]
fn s1_a_character_device_0_0_in_a_layer_is_refused() {
    let error = Place::new().refused([layer().add(Entry::chardev("d/zero", 0, 0))]);
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.entry(), Some("d/zero"));
    assert_eq!(error.advice(), Some((lowerdir::Advice::SkipDeviceZero, "")));
}

#[test]
fn s1_a_character_device_0_0_can_be_skipped_with_a_warning() {
    let place = Place::with(|options| {
        options.device_zero = lowerdir::options::DeviceZero::Skip;
    });
    let entries = layer()
        .dir("d", 0o755)
        .add(Entry::chardev("d/zero", 0, 0))
        .file("d/f", 0o644, "");
    let top = place.stack([layer().file("d/zero", 0o644, "below"), entries]);
    assert_eq!(top.names("d"), ["f"]);
    assert_eq!(top.warnings(Warning::DeviceZeroSkipped), 1);
}

/// Whoever may not make device nodes gets the rest, and is told.
#[test]
fn s1_other_devices_are_made_or_left_out_with_a_warning() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::chardev("null", 1, 3).mode(0o666))
        .add(Entry::new(tarball::Kind::Block(7, 0), "loop", 0o660))
        .file("f", 0o644, "")]);
    let left_out = top.warnings(Warning::DeviceNotMade);
    match left_out {
        0 => assert_eq!(top.names("."), ["f", "loop", "null"]),
        _ => assert_eq!((left_out, top.names(".")), (2, vec!["f".to_string()])),
    }
}

/// It is no character device, so overlayfs takes no order from it.
#[test]
fn s1_a_block_device_0_0_is_no_deletion() {
    let place = Place::new();
    let entry = Entry::new(tarball::Kind::Block(0, 0), "b", 0o600);
    let top = place.stack([layer().add(entry)]);
    let made = top.find("b");
    assert!(made.is_none_or(|found| found.file_type().is_block_device()));
}

#[test]
fn s1_fifos_are_made_as_they_are() {
    let place = Place::new();
    let entry = Entry::fifo("p").mode(0o4622).mtime(5, 6);
    let top = place.stack([layer().add(entry)]);
    assert!(top.get("p").file_type().is_fifo());
    assert_eq!((top.mode("p"), top.mtime("p")), (0o4622, (5, 6)));
}

#[test]
fn s2_targets_of_symlinks_are_stored_verbatim() {
    let targets: [&[u8]; 7] = [
        b"/etc/passwd",
        b"../../../..",
        b"a//b/./c/",
        b"\xff\n\\",
        b".",
        b"/",
        &[b't'; 4095],
    ];
    let place = Place::new();
    let entries = targets.iter().enumerate();
    let all = entries.fold(layer(), |layer, (number, target)| {
        layer.add(Entry::symlink(number.to_string(), target))
    });
    let top = place.stack([all]);
    for (number, target) in targets.iter().enumerate() {
        assert_eq!(&top.link(number.to_string()), target);
    }
}

#[test]
fn s2_targets_that_linux_cannot_hold_are_refused() {
    for target in ["".to_string(), "t".repeat(4096)] {
        let error = Place::new().refused([layer().symlink("s", &target)]);
        assert_eq!(error.kind(), Kind::Refused);
    }
}

const ESTARGZ: [&str; 3] = [
    "stargz.index.json",
    ".prefetch.landmark",
    ".no.prefetch.landmark",
];

#[test]
fn s3_bookkeeping_of_estargz_stays() {
    let place = Place::new();
    let entries = ESTARGZ.iter();
    let top = place.stack([entries.fold(layer(), |layer, name| layer.file(name, 0o644, "{}"))]);
    assert!(ESTARGZ.iter().all(|name| top.has(name)));
}

#[test]
fn s3_bookkeeping_of_estargz_can_be_left_out_of_the_root_only() {
    let place = Place::with(|options| options.drop_estargz = true);
    let own = layer()
        .file("d/stargz.index.json", 0o644, "mine")
        .file("f", 0o644, "");
    let entries = ESTARGZ.iter();
    let top = place.stack([entries.fold(own, |layer, name| layer.file(name, 0o644, "{}"))]);
    assert_eq!(top.names("."), ["d", "f"]);
    assert!(top.has("d/stargz.index.json"));
}
