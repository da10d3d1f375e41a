//! N1 to N4: which path a name means, and what a second entry for it does.

use std::os::unix::fs::MetadataExt;

use lowerdir::{Kind, Parents};

use crate::place::Place;
use crate::tarball;
use crate::tarball::{Entry, layer};

#[test]
fn n1_leading_doubled_and_trailing_slashes_fall_away() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("/absolute", 0o644, "1")
        .file("./dotted", 0o644, "2")
        .file("a//b/./c", 0o644, "3")
        .dir("d///", 0o755)]);
    assert_eq!(top.read("absolute"), b"1");
    assert_eq!(top.read("dotted"), b"2");
    assert_eq!(top.read("a/b/c"), b"3");
    assert!(top.is_dir("d"));
    assert_eq!(top.names("."), ["a", "absolute", "d", "dotted"]);
}

#[test]
fn n1_a_name_is_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let name = b"\xff\x01 \\:,\n\xe2\x82";
    let place = Place::new();
    let top = place.stack([layer().add(Entry::file(name, "x"))]);
    assert_eq!(top.read(OsStr::from_bytes(name)), b"x");
}

#[test]
fn n1_dot_dot_is_refused_wherever_it_stands() {
    for name in ["..", "../x", "a/../x", "a/..", "/../x", "./.."] {
        let error = Place::new().refused([layer().file(name, 0o644, "x")]);
        assert_eq!(error.kind(), Kind::Refused, "{name}");
    }
}

#[test]
fn n1_a_directory_named_dot_dot_is_refused() {
    let error = Place::new().refused([layer().dir("a/../b", 0o755)]);
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn n1_a_nul_in_a_name_is_refused() {
    let record = tarball::pax_record("path", "a\0b");
    let archive = tarball::LayerBuilder::new()
        .raw(tarball::pax_header(&record))
        .file("ab", 0o644, "");
    let place = Place::new();
    let error = place.try_unpack_tar("0", &archive.finish(), Parents::Unknown);
    let error = error.err().expect("no file system has such a name");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.entry(), Some("a\\x00b"));
    assert!(place.names().is_empty());
}

#[test]
fn n1_a_component_has_at_most_255_bytes() {
    let longest = "n".repeat(255);
    let place = Place::new();
    let top = place.stack([layer().file(format!("a/{longest}"), 0o644, "x")]);
    assert_eq!(top.names("a"), [longest.as_str()]);

    let error = Place::new().refused([layer().file(format!("{longest}n/a"), 0o644, "x")]);
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn n1_a_path_has_at_most_4095_bytes() {
    let deep = vec!["d".repeat(99); 40].join("/");
    let longest = format!("{deep}/{}", "n".repeat(4094 - deep.len()));
    let place = Place::new();
    let top = place.stack([layer().file(&longest, 0o644, "x")]);
    assert_eq!(top.report.entries, 1);

    let error = Place::new().refused([layer().file(format!("{longest}n"), 0o644, "x")]);
    assert_eq!(error.kind(), Kind::Limit);
}

#[test]
fn n1_the_root_is_nothing_but_a_directory() {
    for entry in [
        Entry::file("./", "x"),
        Entry::file("", ""),
        Entry::symlink("/", "/etc"),
        Entry::fifo("."),
        Entry::hardlink("./", "a"),
    ] {
        let error = Place::new().refused([layer().file("a", 0o644, "").add(entry)]);
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn n2_the_root_entry_describes_the_layers_own_directory() {
    let place = Place::new();
    let root = Entry::dir("./").mode(0o1770).mtime(1000, 250_000_000);
    let top = place.stack([layer().add(root.xattr("user.a", "b")).file("f", 0o644, "")]);
    assert_eq!(top.mode("."), 0o1770);
    assert_eq!(top.mtime("."), (1000, 250_000_000));
    assert_eq!(top.xattr(".", "user.a").unwrap(), b"b");
}

#[test]
fn n2_the_root_entry_may_stand_anywhere() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("a/f", 0o644, "")
        .add(Entry::dir("/").mode(0o700))]);
    assert_eq!(top.mode("."), 0o700);
    assert!(top.has("a/f"));
}

#[test]
fn n2_the_root_may_be_read_only() {
    let place = Place::new();
    let top = place.stack([layer()
        .add(Entry::dir("./").mode(0o555))
        .file("f", 0o644, "")]);
    assert_eq!(top.mode("."), 0o555);
}

#[test]
fn n2_without_an_entry_the_root_inherits_from_below() {
    let place = Place::new();
    let root = Entry::dir("./")
        .mode(0o711)
        .mtime(-8, 500_000_000)
        .xattr("user.a", "b");
    let top = place.stack([layer().add(root), layer().file("f", 0o644, "")]);
    assert_eq!(top.mode("."), 0o711);
    assert_eq!(top.mtime("."), (-8, 500_000_000));
    assert_eq!(top.xattr(".", "user.a").unwrap(), b"b");
}

#[test]
fn n2_without_an_entry_anywhere_the_root_is_0755_and_of_the_epoch() {
    let place = Place::new();
    let bottom = place.stack([layer().file("f", 0o644, "")]);
    assert_eq!(bottom.mode("."), 0o755);
    assert_eq!(bottom.mtime("."), (0, 0));
    assert!(bottom.xattrs(".").is_empty());

    let alone = place.alone(layer().file("f", 0o644, ""));
    assert_eq!((alone.mode("."), alone.mtime(".")), (0o755, (0, 0)));
}

#[test]
fn n3_the_last_of_two_files_stands() {
    let place = Place::new();
    let first = Entry::file("f", "first, and longer").mode(0o600);
    let top = place.stack([layer()
        .add(first.xattr("user.a", "b"))
        .file("f", 0o644, "second")]);
    assert_eq!(top.read("f"), b"second");
    assert_eq!(top.mode("f"), 0o644);
    assert!(top.xattrs("f").is_empty());
}

#[test]
fn n3_a_second_entry_for_a_directory_replaces_attributes_and_keeps_children() {
    let place = Place::new();
    let first = Entry::dir("d").mode(0o700).xattr("user.old", "1");
    let second = Entry::dir("d").mode(0o2750).xattr("user.new", "2");
    let top = place.stack([layer().add(first).file("d/f", 0o644, "x").add(second)]);
    assert_eq!(top.read("d/f"), b"x");
    assert_eq!(top.mode("d"), 0o2750);
    assert_eq!(top.xattr("d", "user.old"), None);
    assert_eq!(top.xattr("d", "user.new").unwrap(), b"2");
}

#[test]
fn n3_a_file_over_a_directory_takes_the_children_away() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("d/e/f", 0o644, "x")
        .dir("d/g", 0o755)
        .file("d", 0o644, "file")]);
    assert_eq!(top.read("d"), b"file");
    assert_eq!(top.names("."), ["d"]);
}

#[test]
fn n3_a_directory_over_a_file_replaces_it() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("d", 0o644, "x")
        .dir("d", 0o755)
        .file("d/f", 0o644, "y")]);
    assert_eq!(top.read("d/f"), b"y");
}

#[test]
fn n3_a_directory_over_a_symlink_does_not_follow_it() {
    let place = Place::new();
    let top = place.stack([layer()
        .dir("real", 0o755)
        .symlink("d", "real")
        .dir("d", 0o755)
        .file("d/f", 0o644, "")]);
    assert!(top.is_dir("d") && top.has("d/f"));
    assert!(top.names("real").is_empty());
}

#[test]
fn n3_a_file_over_a_symlink_replaces_the_link() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("target", 0o644, "t")
        .symlink("f", "target")
        .file("f", 0o644, "new")]);
    assert_eq!(top.read("f"), b"new");
    assert_eq!(top.read("target"), b"t");
    assert!(top.get("f").is_file());
}

/// What was there in between hid everything below, as in sequential application.
#[test]
fn n3_a_directory_that_replaced_a_file_of_its_layer_hides_what_is_below() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/old", 0o644, ""),
        layer()
            .file("d", 0o644, "")
            .dir("d", 0o755)
            .file("d/new", 0o644, ""),
    ]);
    assert!(top.is_opaque("d"));
    assert_eq!(top.names("d"), ["new"]);
}

#[test]
fn n3_an_entry_after_its_child_clears_what_was_implied() {
    let place = Place::new();
    let below = layer().add(Entry::dir("d").mode(0o711).xattr("user.a", "below"));
    let top = place.stack([
        below,
        layer()
            .file("d/f", 0o644, "")
            .add(Entry::dir("d").mode(0o750).mtime(99, 0)),
    ]);
    assert_eq!(top.mode("d"), 0o750);
    assert_eq!(top.mtime("d"), (99, 0));
    assert!(top.xattrs("d").is_empty());
}

#[test]
fn n4_a_parent_that_is_a_symlink_of_this_layer_is_followed() {
    let place = Place::new();
    let top = place.stack([layer()
        .dir("usr/lib", 0o755)
        .symlink("lib", "usr/lib")
        .file("lib/a.so", 0o644, "x")]);
    assert_eq!(top.read("usr/lib/a.so"), b"x");
    assert_eq!(top.link("lib"), b"usr/lib");
}

#[test]
fn n4_absolute_targets_start_at_the_layers_root() {
    let place = Place::new();
    let top = place.stack([layer()
        .symlink("a/lib", "/usr/lib")
        .file("a/lib/f", 0o644, "x")
        .symlink("b/up", "../../../../c")
        .file("b/up/f", 0o644, "y")]);
    assert_eq!(top.read("usr/lib/f"), b"x");
    assert_eq!(top.read("c/f"), b"y");
}

#[test]
fn n4_a_symlink_to_nothing_makes_what_it_points_to() {
    let place = Place::new();
    let top = place.stack([layer().symlink("s", "deep/er").file("s/f", 0o644, "x")]);
    assert_eq!(top.read("deep/er/f"), b"x");
    assert_eq!(top.mode("deep"), 0o755);
    assert!(top.get("s").is_symlink());
}

#[test]
fn n4_a_parent_that_is_a_file_makes_way_for_a_directory() {
    let place = Place::new();
    let top = place.stack([layer().file("d", 0o644, "x").file("d/f", 0o644, "y")]);
    assert_eq!(top.read("d/f"), b"y");
    assert_eq!(top.mode("d"), 0o755);
}

#[test]
fn n4_a_parent_that_is_a_file_below_is_masked_by_a_directory() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d", 0o644, "x"),
        layer().file("d/f", 0o644, "y"),
    ]);
    assert_eq!(top.read("d/f"), b"y");
    assert_eq!((top.mode("d"), top.mtime("d")), (0o755, (0, 0)));
    assert!(!top.is_opaque("d"));
}

#[test]
fn n4_a_parent_that_is_a_symlink_below_is_followed() {
    let place = Place::new();
    let below = layer()
        .add(Entry::dir("usr/lib").mode(0o711))
        .symlink("lib", "usr/lib");
    let top = place.stack([below, layer().file("lib/a.so", 0o644, "x")]);
    assert_eq!(top.read("usr/lib/a.so"), b"x");
    assert_eq!(top.names("."), ["usr"]);
    assert_eq!(top.mode("usr/lib"), 0o711);
}

#[test]
fn n4_a_symlink_that_an_entry_behind_it_replaces_is_not_followed_again() {
    let place = Place::new();
    let below = layer().symlink("b", "..");
    let top = place.stack([below, layer().file("b/b", 0o644, "").add(Entry::dir("b/a"))]);
    assert_eq!(top.names("."), ["b"]);
    assert!(top.is_dir("b/a"));
}

#[test]
fn n4_a_chain_of_symlinks_through_several_layers_is_followed() {
    let place = Place::new();
    let top = place.stack([
        layer().dir("c", 0o755).symlink("b", "c"),
        layer().symlink("x/a", "/b"),
        layer().file("x/a/f", 0o644, "1"),
    ]);
    assert_eq!(top.read("c/f"), b"1");
    assert!(!top.has("b") && !top.has("x/a"));
}

#[test]
fn n4_keep_dirlinks_no_masks_the_symlink_below_with_a_directory() {
    let place = Place::with(|options| options.keep_dirlinks = false);
    let top = place.stack([
        layer().dir("usr/lib", 0o755).symlink("lib", "usr/lib"),
        layer().file("lib/a.so", 0o644, "x"),
    ]);
    assert_eq!(top.read("lib/a.so"), b"x");
    assert_eq!(top.names("."), ["lib"]);
    assert!(!top.is_opaque("lib"));
}

#[test]
fn n4_keep_dirlinks_no_still_follows_the_layers_own_symlinks() {
    let place = Place::with(|options| options.keep_dirlinks = false);
    let top = place.stack([layer().symlink("lib", "usr").file("lib/f", 0o644, "x")]);
    assert_eq!(top.read("usr/f"), b"x");
}

#[test]
fn n4_a_symlink_below_that_this_layer_deletes_is_not_followed() {
    let place = Place::new();
    let top = place.stack([
        layer().file("real/x", 0o644, "").symlink("s", "real"),
        layer().file("s/f", 0o644, "new").whiteout("s"),
    ]);
    assert_eq!(top.read("s/f"), b"new");
    assert_eq!(top.names("."), ["s"]);
}

#[test]
fn n4_a_loop_of_symlinks_is_refused() {
    let own = layer().symlink("a", "b").symlink("b", "a");
    let error = Place::new().refused([own.clone().file("a/f", 0o644, "")]);
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.entry(), Some("a/f"));

    let error = Place::new().refused([own, layer().file("a/f", 0o644, "")]);
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn n4_forty_symlinks_are_no_loop_and_forty_one_are() {
    let chain = |length: u32| {
        (0..length).fold(layer().dir("s0", 0o755), |layer, link| {
            layer.symlink(format!("s{}", link + 1), format!("s{link}"))
        })
    };
    let place = Place::new();
    let top = place.stack([chain(40).file("s40/f", 0o644, "x")]);
    assert_eq!(top.read("s0/f"), b"x");
    let error = Place::new().refused([chain(41).file("s41/f", 0o644, "x")]);
    assert_eq!(error.kind(), Kind::Refused);
}

/// One inode of the layer, not two that look alike.
#[test]
fn n4_two_ways_to_one_path_are_one_path() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("usr/f", 0o644, "first")
        .symlink("u", "usr")
        .file("u/f", 0o644, "second")]);
    assert_eq!(top.read("usr/f"), b"second");
    assert_eq!(top.get("usr/f").nlink(), 1);
}
