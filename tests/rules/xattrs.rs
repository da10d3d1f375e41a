//! X1 to X3: extended attributes.

use lowerdir::Kind;
use lowerdir::internals::is_foreign_xattr;
use lowerdir::options::{ForeignXattrs, OverlayXattrs};
use lowerdir::report::Warning;

use crate::place::Place;
use crate::tarball::{Entry, layer};

#[test]
fn x1_overlay_xattrs_of_a_layer_are_written_escaped() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(
            Entry::dir("d")
                .xattr("user.overlay.opaque", "y")
                .xattr("user.overlay.origin", ""),
        )
        .add(Entry::file("f", "").xattr("user.overlay.whiteout", "y"))]);
    assert_eq!(
        top.xattrs("d").into_keys().collect::<Vec<_>>(),
        ["user.overlay.overlay.opaque", "user.overlay.overlay.origin"]
    );
    assert_eq!(
        top.xattr("f", "user.overlay.overlay.whiteout").unwrap(),
        b"y"
    );
    assert_eq!(top.xattr("f", "user.overlay.whiteout"), None);
}

#[test]
fn x1_what_looks_escaped_already_is_escaped_once_more() {
    let place = Place::new();
    let top = place.stack([layer().add(Entry::dir("d").xattr("user.overlay.overlay.opaque", "y"))]);
    let names: Vec<String> = top.xattrs("d").into_keys().collect();
    assert_eq!(names, ["user.overlay.overlay.overlay.opaque"]);
}

#[test]
fn x1_names_that_only_begin_alike_are_left_alone() {
    let place = Place::new();
    let top = place.stack([layer().add(Entry::file("f", "").xattr("user.overlays", "y"))]);
    assert_eq!(top.xattr("f", "user.overlays").unwrap(), b"y");
}

#[test]
fn x1_an_escaped_mark_is_no_order_for_the_layers_above() {
    let place = Place::new();
    let top = place.stack([
        layer()
            .add(Entry::dir("d").mode(0o700))
            .file("d/f", 0o644, ""),
        layer().add(Entry::dir("d").xattr("user.overlay.opaque", "y")),
        layer().whiteout("d/f"),
    ]);
    assert!(top.is_whiteout("d/f"));
}

#[test]
fn x1_they_can_be_dropped_with_a_warning() {
    let place = Place::with(|options| options.overlay_xattrs = OverlayXattrs::Drop);
    let entry = Entry::dir("d").xattr("user.overlay.opaque", "y");
    let top = place.stack([layer().add(entry.xattr("user.a", "b"))]);
    assert_eq!(top.xattrs("d").into_keys().collect::<Vec<_>>(), ["user.a"]);
    assert_eq!(top.warnings(Warning::OverlayXattrDropped), 1);
}

#[test]
fn x1_they_can_be_refused() {
    let place = Place::with(|options| options.overlay_xattrs = OverlayXattrs::Refuse);
    let entry = Entry::dir("d").xattr("user.overlay.opaque", "y");
    let error = place.refused([layer().add(entry)]);
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.entry(), Some("d"));
    assert!(error.to_string().contains("user.overlay.opaque"));
}

#[test]
fn x2_binary_and_empty_values_are_kept_exactly() {
    let binary: Vec<u8> = (0..=255).collect();
    let forged = b"\n30 path=elsewhere\n";
    let place = Place::new();
    let file = Entry::file("f", "x").xattr("user.binary", &binary);
    let top = place.stack([layer()
        .add(file.xattr("user.empty", "").xattr("user.n", forged))
        .add(Entry::dir("d").xattr("user.binary", &binary))]);
    assert_eq!(top.xattr("f", "user.binary").unwrap(), binary);
    assert_eq!(top.xattr("f", "user.empty").unwrap(), b"");
    assert_eq!(top.xattr("f", "user.n").unwrap(), forged);
    assert_eq!(top.xattr("d", "user.binary").unwrap(), binary);
    assert_eq!(top.names("."), ["d", "f"]);
}

#[test]
fn x2_xattrs_get_onto_files_that_nobody_may_write() {
    let place = Place::new();
    let file = Entry::file("f", "x").mode(0o400).xattr("user.a", "b");
    let top = place.stack([layer().add(file)]);
    assert_eq!(top.xattr("f", "user.a").unwrap(), b"b");
    assert_eq!(top.mode("f"), 0o400);
}

#[test]
fn x2_an_acl_and_a_mode_agree() {
    // Version 2; user::rw- user:1234:r-- group::r-- mask::r-- other::---
    let acl: &[u8] = &[
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xd2, 4, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    let place = Place::new();
    let name = "system.posix_acl_access";
    let file = Entry::file("f", "x").mode(0o4640).xattr(name, acl);
    let top = place.stack([layer().add(file)]);
    assert_eq!(top.xattr("f", name).unwrap(), acl);
    assert_eq!(top.mode("f"), 0o4640);
}

#[test]
fn x2_a_label_is_dropped_without_a_word() {
    let place = Place::new();
    let label = "system_u:object_r:bin_t:s0";
    let top = place.stack([layer()
        .add(Entry::file("f", "").xattr("security.selinux", label))
        .add(Entry::dir("d").xattr("security.selinux", label))]);
    let found = xattr::get(top.path().join("f"), "security.selinux").unwrap_or_default();
    assert_ne!(found.as_deref(), Some(label.as_bytes()));
    assert!(top.report.warnings.is_empty());
}

#[test]
fn x2_user_xattrs_of_what_may_not_carry_them_are_left_out_with_a_warning() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::symlink("s", "nowhere").xattr("user.a", "b"))
        .add(Entry::fifo("p").xattr("user.a", "b"))]);
    assert!(top.xattrs("s").is_empty() && top.xattrs("p").is_empty());
    assert_eq!(top.warnings(Warning::XattrNotKept), 2);
    assert_eq!(top.report.warnings[&Warning::XattrNotKept].first, "s");
}

#[test]
fn x2_an_xattr_that_linux_cannot_hold_is_a_limit() {
    for (name, value) in [
        ("user.".to_string() + &"n".repeat(251), vec![]),
        ("user.a".to_string(), vec![0; (1 << 16) + 1]),
    ] {
        let entry = Entry::file("f", "").xattr(&name, value);
        let error = Place::new().refused([layer().add(entry)]);
        assert_eq!(error.kind(), Kind::Limit);
    }
}

/// Of other systems, and of one file system alone.
const FOREIGN: [&str; 8] = [
    "nonsense",
    "com.apple.provenance",
    "com.docker.grpcfuse.ownership",
    "btrfs.compression",
    "lustre.lov",
    "system.nfs4_acl",
    "system.cifs_acl",
    "trusted.SGI_ACL_FILE",
];

#[test]
fn x2_xattrs_of_other_systems_are_left_out_with_a_warning() {
    for name in FOREIGN {
        let place = Place::new();
        let top = place.stack([layer()
            .add(Entry::dir("d").xattr(name, "1").xattr("user.a", "b"))
            .add(Entry::file("f", "").xattr(name, "1"))
            .add(Entry::symlink("s", "f").xattr(name, "1"))
            .add(Entry::dir("./").xattr(name, "1"))]);
        assert_eq!(top.xattrs("d").into_keys().collect::<Vec<_>>(), ["user.a"]);
        assert!(top.xattrs("f").is_empty() && top.xattrs(".").is_empty());
        assert_eq!(top.warnings(Warning::ForeignXattrDropped), 4, "{name}");
        let first = &top.report.warnings[&Warning::ForeignXattrDropped].first;
        assert_eq!(first, "d");
    }
}

#[test]
fn x2_strict_makes_them_an_error() {
    for name in FOREIGN {
        let place = Place::with(|options| options.foreign_xattrs = ForeignXattrs::Strict);
        let error = place.refused([layer().add(Entry::file("f", "").xattr(name, "1"))]);
        assert_eq!((error.kind(), error.entry()), (Kind::Refused, Some("f")));
        let text = error.to_string();
        assert!(text.contains(&format!("xattr {name} ")), "{text}");
        assert_eq!(error.advice(), Some((lowerdir::Advice::LenientXattrs, "")));
    }
}

#[test]
fn x2_strict_takes_what_linux_has_names_for() {
    let place = Place::with(|options| options.foreign_xattrs = ForeignXattrs::Strict);
    let entry = Entry::file("f", "").xattr("user.com.apple.x", "1");
    let entry = entry
        .xattr("trusted.x", "1")
        .xattr("security.capability", "");
    let (top, name) = (place.try_stack(&[layer().add(entry)]), "user.com.apple.x");
    // Without privilege the others are left out, and an empty capability is none.
    match top {
        Ok(top) => assert_eq!(top[0].xattr("f", name).unwrap(), b"1"),
        Err(error) => assert!(error.to_string().contains("security.capability"), "{error}"),
    }
}

/// Whoever has a label unpacked wants it, whatever the file system; it is no other system's.
#[test]
fn x2_names_decide_and_not_what_the_file_system_takes() {
    for (name, is_foreign) in [
        ("user.", false),
        ("user.x", false),
        ("trusted.x", false),
        ("trusted.overlay.opaque", false),
        ("trusted.glusterfs.dht", false),
        ("trusted.SGI_ACL_DEFAULT", true),
        ("security.capability", false),
        ("security.ima", false),
        ("system.posix_acl_access", false),
        ("system.posix_acl_default", false),
        ("system.posix_acl_other", true),
        ("system.advise", true),
        ("user", true),
        ("", true),
    ] {
        assert_eq!(is_foreign_xattr(name.as_bytes()), is_foreign, "{name}");
    }
}

#[test]
fn x3_the_entrys_own_xattrs_never_stand_for_our_mark() {
    for value in ["n", "x", "y", ""] {
        let place = Place::new();
        let entry = Entry::dir("d").xattr("user.overlay.opaque", value);
        let top = place.stack([
            layer().file("d/f", 0o644, ""),
            layer().add(entry).opaque("d"),
        ]);
        assert!(top.is_opaque("d"));
        let own = top.xattr("d", "user.overlay.overlay.opaque").unwrap();
        assert_eq!(own, value.as_bytes());
    }
}
