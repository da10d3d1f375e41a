//! I1 and I2: directories that no entry describes.

use lowerdir::report::Warning;

use crate::place::Place;
use crate::tarball::{Entry, layer};
use support::program;

/// A default ACL that gives user 1234 everything.
const ACL: &[u8] = &[
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xd2, 4, 0, 0, 4, 0, 5, 0, 255, 255,
    255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
];

#[test]
fn i1_an_implied_directory_takes_the_attributes_of_the_one_below() {
    let place = Place::new();
    let below = Entry::dir("d").mode(0o2711).mtime(-9, 7);
    let top = place.stack([
        layer().add(below.xattr("user.a", "b\n\0c")),
        layer().file("d/f", 0o644, ""),
    ]);
    assert_eq!((top.mode("d"), top.mtime("d")), (0o2711, (-9, 7)));
    assert_eq!(top.xattrs("d").len(), 1);
    assert_eq!(top.xattr("d", "user.a").unwrap(), b"b\n\0c");
}

#[test]
fn i1_so_does_one_that_only_a_whiteout_implies() {
    let place = Place::new();
    let below = layer()
        .add(Entry::dir("d").mode(0o700))
        .file("d/f", 0o644, "");
    let top = place.stack([below, layer().whiteout("d/f")]);
    assert_eq!(top.mode("d"), 0o700);
    assert_eq!(top.mtime("d"), (crate::tarball::TIME, 0));
}

#[test]
fn i1_acls_are_attributes_too() {
    let place = Place::new();
    let below = Entry::dir("d").mode(0o775);
    let below = below.xattr("system.posix_acl_default", ACL);
    let below = below.xattr("system.posix_acl_access", ACL);
    let top = place.stack([
        layer().add(below),
        layer().file("d/f", 0o644, "").file("d/e/g", 0o644, ""),
    ]);
    assert_eq!(top.xattr("d", "system.posix_acl_default").unwrap(), ACL);
    assert_eq!(top.xattr("d", "system.posix_acl_access").unwrap(), ACL);
    assert!(top.xattrs("d/f").is_empty() && top.xattrs("d/e").is_empty());
}

#[test]
fn i1_the_topmost_layer_that_has_the_directory_decides() {
    let place = Place::new();
    let top = place.stack([
        layer().add(Entry::dir("d").mode(0o700)),
        layer().add(Entry::dir("d").mode(0o711)),
        layer().file("other", 0o644, ""),
        layer().file("d/f", 0o644, ""),
    ]);
    assert_eq!(top.mode("d"), 0o711);
}

#[test]
fn i1_attributes_pass_through_layers_that_only_imply_the_directory() {
    let place = Place::new();
    let top = place.stack([
        layer().add(Entry::dir("d").mode(0o711)),
        layer().file("d/f", 0o644, ""),
        layer().file("d/g", 0o644, ""),
    ]);
    assert_eq!(top.mode("d"), 0o711);
}

#[test]
fn i1_the_search_stops_at_a_whiteout() {
    let place = Place::new();
    let top = place.stack([
        layer().add(Entry::dir("d").mode(0o700)),
        layer().whiteout("d"),
        layer().file("d/f", 0o644, ""),
    ]);
    assert_eq!((top.mode("d"), top.mtime("d")), (0o755, (0, 0)));
    assert!(!top.is_opaque("d"));
}

#[test]
fn i1_the_search_stops_at_an_opaque_directory() {
    let place = Place::new();
    let top = place.stack([
        layer().add(Entry::dir("d/e").mode(0o700)),
        layer().add(Entry::dir("d").mode(0o711)).opaque("d"),
        layer().file("d/e/f", 0o644, ""),
    ]);
    assert_eq!((top.mode("d"), top.mode("d/e")), (0o711, 0o755));
}

#[test]
fn i1_the_search_stops_at_what_is_no_directory() {
    let place = Place::new();
    let top = place.stack([
        layer().add(Entry::dir("d").mode(0o700)),
        layer().file("d", 0o644, ""),
        layer().file("d/f", 0o644, ""),
    ]);
    assert_eq!((top.mode("d"), top.mtime("d")), (0o755, (0, 0)));
}

#[test]
fn i1_what_this_layer_deletes_is_not_inherited() {
    let place = Place::new();
    let below = layer().add(Entry::dir("d").mode(0o700));
    let top = place.stack([below, layer().file("d/f", 0o644, "").whiteout("d")]);
    assert_eq!((top.mode("d"), top.mtime("d")), (0o755, (0, 0)));
}

#[test]
fn i1_marks_of_overlayfs_are_not_inherited() {
    let place = Place::new();
    let escaped = Entry::dir("d").xattr("user.overlay.mine", "data");
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().add(escaped).opaque("d"),
        layer().file("d/g", 0o644, ""),
    ]);
    assert!(!top.is_opaque("d"));
    let names: Vec<String> = top.xattrs("d").into_keys().collect();
    assert_eq!(names, ["user.overlay.overlay.mine"]);
}

#[test]
fn i1_nothing_is_inherited_from_unknown_layers_and_that_is_said() {
    let place = Place::new();
    let alone = place.alone(layer().file("d/f", 0o644, "").dir("e", 0o755));
    assert_eq!((alone.mode("d"), alone.mtime("d")), (0o755, (0, 0)));
    // The root and `d`.
    assert_eq!(alone.warnings(Warning::ParentNotKnown), 2);
}

#[test]
fn i2_with_nothing_below_it_is_0755_of_the_epoch_without_xattrs() {
    let place = Place::new();
    let bottom = place.stack([layer().file("a/b/f", 0o644, "")]);
    for name in ["a", "a/b"] {
        assert_eq!((bottom.mode(name), bottom.mtime(name)), (0o755, (0, 0)));
        assert!(bottom.xattrs(name).is_empty());
    }
}

#[test]
fn i2_the_umask_does_not_matter() {
    let place = Place::new();
    let file = Entry::file("a/f", "").mode(0o666);
    let tar = layer().add(file).add(Entry::fifo("p").mode(0o777)).finish();
    let blob = place.file("layer.tar", &tar);
    let umasks = ["000", "022", "077"];
    for umask in umasks {
        let target = place.path().join(umask);
        let run = program::shell(format!("umask {umask} && exec \"$0\" \"$@\""))
            .args(["-q", "unpack-layer", "--userxattr", "--owners=caller"])
            .args([&blob, &target])
            .status();
        assert!(run.unwrap().success(), "umask {umask}");
    }
    let trees =
        umasks.map(|umask| crate::layer_dir::describe(&place.path().join(umask)).join("\n"));
    assert!(trees[0].contains("./a 40755") && trees[0].contains("./a/f 100666"));
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}

/// The directory that holds the layers has an ACL that its children inherit.
#[test]
fn i2_acls_of_the_directory_around_the_layer_do_not_get_into_it() {
    let place = Place::new();
    let (path, acl) = (place.path(), "system.posix_acl_default");
    if let Err(error) = xattr::set(path, acl, ACL) {
        eprintln!("skipped: no ACLs in {}: {error}", path.display());
        return;
    }
    let top = place.stack([layer()
        .dir("d", 0o755)
        .file("d/e/f", 0o644, "")
        .file("g", 0o644, "")]);
    for name in [".", "d", "d/e", "d/e/f", "g"] {
        assert!(
            top.xattrs(name).is_empty(),
            "{name}: {:?}",
            top.xattrs(name)
        );
    }
    assert_eq!((top.mode("."), top.mode("g")), (0o755, 0o644));
}
