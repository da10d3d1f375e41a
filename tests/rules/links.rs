//! H1 to H3: hard links, within a layer and to the layers below.

use std::os::unix::fs::MetadataExt;

use lowerdir::report::Warning;
use lowerdir::{Kind, Parents};

use crate::place::{Place, as_nobody};
use crate::tarball::{Entry, layer};

#[test]
fn h1_a_link_to_an_earlier_path_is_the_same_inode() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("a/f", 0o644, "x")
        .hardlink("b/g", "a/f")
        .hardlink("h", "/b//g")]);
    assert!(top.same_inode("a/f", "b/g") && top.same_inode("a/f", "h"));
    assert_eq!(top.get("h").nlink(), 3);
    assert_eq!(top.report.bytes, 1);
}

#[test]
fn h1_the_attributes_of_the_link_entry_are_not_applied() {
    let place = Place::new();
    let link = Entry::hardlink("g", "f").mode(0o600).mtime(1, 0);
    let top = place.stack([layer()
        .add(Entry::file("f", "x").mode(0o4755).mtime(77, 5))
        .add(link.xattr("user.a", "b"))]);
    assert_eq!((top.mode("f"), top.mtime("f")), (0o4755, (77, 5)));
    assert!(top.xattrs("f").is_empty());
}

#[test]
fn h1_a_link_to_a_symlink_links_the_symlink() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("f", 0o644, "x")
        .symlink("s", "f")
        .hardlink("t", "s")]);
    assert!(top.same_inode("s", "t") && !top.same_inode("s", "f"));
    assert_eq!(top.link("t"), b"f");
}

#[test]
fn h1_a_link_to_a_fifo_links_the_fifo() {
    let place = Place::new();
    let top = place.stack([layer().add(Entry::fifo("p")).hardlink("q", "p")]);
    assert!(top.same_inode("p", "q"));
}

#[test]
fn h1_both_names_of_a_link_may_lead_through_symlinks() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("usr/f", 0o644, "x")
        .symlink("u", "/usr")
        .hardlink("u/g", "u/f")]);
    assert!(top.same_inode("usr/f", "usr/g"));
}

#[test]
fn h1_a_link_replaces_what_had_its_name() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("f", 0o644, "x")
        .file("d/e/g", 0o644, "")
        .hardlink("d", "f")]);
    assert!(top.same_inode("d", "f"));
}

#[test]
fn h1_a_link_to_itself_changes_nothing() {
    let place = Place::new();
    let top = place.stack([layer().file("f", 0o644, "x").hardlink("./f", "f")]);
    assert_eq!(top.read("f"), b"x");
    assert_eq!(top.get("f").nlink(), 1);
}

#[test]
fn h1_a_replaced_name_leaves_the_other_names_of_its_inode() {
    let place = Place::new();
    let top = place.stack([layer()
        .file("f", 0o644, "old")
        .hardlink("g", "f")
        .file("f", 0o644, "new")]);
    assert_eq!(
        (top.read("f"), top.read("g")),
        (b"new".into(), b"old".into())
    );
}

#[test]
fn h2_a_link_to_a_lower_file_copies_it_up_with_its_attributes() {
    let place = Place::new();
    let below = Entry::file("d/f", "content").mode(0o4750).mtime(-3, 9);
    let top = place.stack([
        layer()
            .add(Entry::dir("d").mode(0o711))
            .add(below.xattr("user.a", "b")),
        layer().add(Entry::hardlink("g", "d/f").mode(0o600).mtime(1, 1)),
    ]);
    assert_eq!(top.read("g"), b"content");
    assert!(top.same_inode("g", "d/f"));
    assert_eq!((top.mode("g"), top.mtime("g")), (0o4750, (-3, 9)));
    assert_eq!(top.xattr("g", "user.a").unwrap(), b"b");
    assert_eq!(top.mode("d"), 0o711);
}

#[test]
fn h2_all_lower_names_of_the_inode_come_along() {
    let place = Place::new();
    let below = layer()
        .file("a", 0o644, "x")
        .hardlink("d/b", "a")
        .hardlink("c", "a");
    let top = place.stack([below, layer().hardlink("new", "d/b")]);
    for name in ["a", "d/b", "c"] {
        assert!(top.same_inode("new", name), "{name}");
    }
    assert_eq!(top.get("new").nlink(), 4);
}

#[test]
fn h2_lower_names_that_this_layer_replaces_or_deletes_do_not_come_along() {
    let place = Place::new();
    let below = layer()
        .file("a", 0o644, "x")
        .hardlink("replaced", "a")
        .hardlink("deleted", "a");
    let upper = layer()
        .file("replaced", 0o644, "own")
        .hardlink("new", "a")
        .whiteout("deleted");
    let top = place.stack([below, upper]);
    assert!(top.same_inode("new", "a"));
    assert_eq!(top.read("replaced"), b"own");
    assert!(top.is_whiteout("deleted"));
    assert_eq!(top.get("new").nlink(), 2);
}

#[test]
fn h2_a_lower_symlink_and_a_lower_fifo_are_copied_as_they_are() {
    let place = Place::new();
    let below = layer().symlink("s", "to/nothing").add(Entry::fifo("p"));
    let top = place.stack([below, layer().hardlink("t", "s").hardlink("q", "p")]);
    assert_eq!(top.link("t"), b"to/nothing");
    assert!(top.same_inode("s", "t") && top.same_inode("p", "q"));
}

#[test]
fn h2_the_target_may_lead_through_a_lower_symlink() {
    let place = Place::new();
    let below = layer().file("usr/f", 0o644, "x").symlink("u", "usr");
    let top = place.stack([below, layer().hardlink("g", "u/f")]);
    assert!(top.same_inode("g", "usr/f"));
    assert_eq!(top.names("."), ["g", "usr"]);
}

#[test]
fn h2_the_topmost_of_several_lower_files_is_meant() {
    let place = Place::new();
    let top = place.stack([
        layer().file("f", 0o644, "bottom"),
        layer().file("f", 0o644, "middle"),
        layer().hardlink("g", "f"),
    ]);
    assert_eq!(top.read("g"), b"middle");
}

#[test]
fn h2_the_files_of_the_layer_below_stay_as_they_were() {
    let place = Place::new();
    let below = layer().file("f", 0o644, "x").hardlink("e", "f");
    let done = place
        .try_stack(&[below, layer().hardlink("g", "f").file("f", 0o644, "new")])
        .unwrap();
    assert_eq!(done[0].read("f"), b"x");
    assert_eq!(done[0].get("f").nlink(), 2);
    assert_eq!(done[1].read("g"), b"x");
    assert_eq!(done[1].read("f"), b"new");
}

/// At that point of the archive the lower file is what the name means.
#[test]
fn h3_a_link_to_a_path_that_comes_later_means_the_lower_file() {
    let place = Place::new();
    let upper = layer().hardlink("g", "f").file("f", 0o644, "later");
    let top = place.stack([layer().file("f", 0o644, "below"), upper]);
    assert_eq!(top.read("g"), b"below");
    assert_eq!(top.read("f"), b"later");
}

#[test]
fn h3_a_link_to_a_later_path_or_to_nothing_is_refused_naming_both() {
    for upper in [
        layer().hardlink("d/g", "e/f").file("e/f", 0o644, ""),
        layer().hardlink("d/g", "e/f"),
    ] {
        let error = Place::new().refused([layer().file("x", 0o644, ""), upper]);
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(error.entry(), Some("d/g"));
        assert!(error.to_string().contains("e/f"), "{error}");
    }
}

#[test]
fn h3_a_link_to_what_this_layer_deletes_is_refused() {
    for upper in [
        layer().hardlink("g", "f").whiteout("f"),
        layer().opaque("").hardlink("g", "f"),
    ] {
        let error = Place::new().refused([layer().file("f", 0o644, ""), upper]);
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn h3_a_link_to_what_a_layer_between_deleted_is_refused() {
    let layers = [
        layer().file("f", 0o644, ""),
        layer().whiteout("f"),
        layer().hardlink("g", "f"),
    ];
    assert_eq!(Place::new().refused(layers).kind(), Kind::Refused);
}

#[test]
fn h3_a_link_to_a_directory_is_refused() {
    let own = layer().dir("d", 0o755).hardlink("g", "d");
    assert_eq!(Place::new().refused([own]).kind(), Kind::Refused);
    let error = Place::new().refused([layer().dir("d", 0o755), layer().hardlink("g", "d")]);
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn h3_a_link_to_the_root_is_refused() {
    for target in ["", "/", "./"] {
        let error = Place::new().refused([layer().hardlink("g", target)]);
        assert_eq!(error.kind(), Kind::Refused);
    }
}

#[test]
fn h3_a_link_whose_target_is_inside_what_it_replaces_is_refused() {
    let error = Place::new().refused([layer().file("d/f", 0o644, "").hardlink("d", "d/f")]);
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn h3_a_link_over_unknown_layers_is_refused() {
    let place = Place::new();
    let upper = layer().hardlink("g", "f");
    let error = place.try_unpack("alone", &upper, Parents::Unknown);
    assert_eq!(error.err().unwrap().kind(), Kind::Refused);
    assert!(place.names().is_empty());
}

#[test]
fn h3_a_link_with_dot_dot_is_refused() {
    for target in ["../f", "d/../f", ".."] {
        let error = Place::new().refused([layer().file("f", 0o644, "").hardlink("g", target)]);
        assert_eq!(error.kind(), Kind::Refused, "{target}");
    }
}

/// Only root may make device nodes.
#[test]
fn h3_a_link_to_a_device_that_was_left_out_is_left_out_with_it() {
    as_nobody(|| {
        let device = layer()
            .add(Entry::chardev("d/null", 1, 3))
            .hardlink("same", "d/null")
            .hardlink("d/third", "same")
            .file("f", 0o644, "");
        let place = Place::new();
        let top = place.stack([device]);
        assert_eq!(
            (top.names("."), top.names("d")),
            (vec!["d".into(), "f".into()], vec![])
        );
        assert_eq!(top.warnings(Warning::DeviceNotMade), 3);
    });
}

#[test]
fn h3_a_link_to_a_file_in_the_place_of_a_device_that_was_left_out_is_made() {
    as_nobody(|| {
        let device = layer().add(Entry::chardev("null", 1, 3));
        let place = Place::new();
        let top = place.stack([device.file("null", 0o644, "").hardlink("same", "null")]);
        assert_eq!(top.names("."), ["null", "same"]);
    });
}

/// `a` is a link below: `a/..` is where it leads to, and not where it stands.
#[test]
fn h2_a_target_through_dot_dot_behind_a_link_below_is_what_the_layers_below_show() {
    let place = Place::new();
    let below = layer()
        .dir("x/y", 0o755)
        .file("x/f", 0o644, "right")
        .symlink("a", "x/y");
    let above = layer()
        .symlink("s", "a/..")
        .file("f", 0o644, "wrong")
        .hardlink("l", "s/f");
    let top = place.stack([below, above]);
    assert_eq!(top.read("l"), b"right");
    assert!(top.same_inode("l", "x/f"));
}

/// Nothing is behind nothing, not even what is beside it.
#[test]
fn h3_a_target_through_dot_dot_behind_nothing_is_refused() {
    let place = Place::new();
    let above = layer()
        .symlink("s", "nothere/..")
        .file("f", 0o644, "")
        .hardlink("l", "s/f");
    let error = place.refused([layer().file("g", 0o644, ""), above]);
    assert_eq!(error.kind(), Kind::Refused);
}

/// Only root may make device nodes.
#[test]
fn h3_what_was_left_out_is_deleted_where_it_stands() {
    as_nobody(|| {
        let place = Place::new();
        let below = layer().file("c/x", 0o644, "stays").symlink("a", "c");
        // The file makes way, so the device is in a directory of this layer.
        let above = layer()
            .file("a", 0o644, "")
            .add(Entry::chardev("a/x", 1, 3));
        let top = place.stack([below, above]);
        assert_eq!(top.names("."), ["a"]);
        assert!(top.names("a").is_empty());
    });
}
