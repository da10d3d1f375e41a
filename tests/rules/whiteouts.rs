//! W1 to W8: what a `.wh.NAME` becomes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use lowerdir::options::Whiteout;

use crate::place::Place;
use crate::tarball::{Entry, Kind, LayerBuilder, layer};

#[test]
fn w1_a_whiteout_hides_the_name_below() {
    let place = Place::new();
    let top = place.stack([layer().file("d/f", 0o644, ""), layer().whiteout("d/f")]);
    assert!(top.is_whiteout("d/f"));
    assert_eq!(top.report.deletions, 1);
}

#[test]
fn w1_a_whiteout_of_a_directory_hides_all_of_it_by_one_device() {
    let place = Place::new();
    let top = place.stack([layer().file("d/e/f", 0o644, ""), layer().whiteout("d")]);
    assert!(top.is_whiteout("d"));
    assert_eq!(top.report.deletions, 1);
}

#[test]
fn w1_a_whiteout_never_hides_its_own_layer_whichever_is_first() {
    for upper in [
        layer().file("f", 0o644, "new").whiteout("f"),
        layer().whiteout("f").file("f", 0o644, "new"),
    ] {
        let place = Place::new();
        let top = place.stack([layer().file("f", 0o644, "old"), upper]);
        assert_eq!(top.read("f"), b"new");
        assert_eq!(top.report.deletions, 0);
    }
}

#[test]
fn w1_a_whiteout_removes_a_symlink_not_its_target() {
    let place = Place::new();
    let below = layer().file("target/f", 0o644, "").symlink("s", "target");
    let top = place.stack([below, layer().whiteout("s")]);
    assert!(top.is_whiteout("s"));
    assert_eq!(top.names("."), ["s"]);
}

#[test]
fn w1_a_whiteout_below_a_symlinked_directory_removes_in_the_real_one() {
    let place = Place::new();
    let below = layer()
        .file("usr/lib/f", 0o644, "")
        .symlink("lib", "usr/lib");
    let top = place.stack([below, layer().whiteout("lib/f")]);
    assert!(top.is_whiteout("usr/lib/f"));
    assert_eq!(top.names("."), ["usr"]);
}

/// The marker's parent is what the layers below have, not what this layer makes of it.
#[test]
fn w1_a_whiteout_is_resolved_before_anything_of_its_layer_is_added() {
    let place = Place::new();
    let below = layer().file("real/f", 0o644, "").symlink("s", "real");
    let upper = layer().symlink("s", "other").file("other/f", 0o644, "");
    let top = place.stack([below, upper.whiteout("s/f")]);
    assert_eq!(top.link("s"), b"other");
    assert!(top.is_whiteout("real/f") && top.has("other/f"));
}

/// The upper layer is to delete nothing in `usr/lib`, in whichever order its entries come.
fn w1_leaves_usr_lib_alone(below: &LayerBuilder, upper: LayerBuilder) {
    let reversed = upper.clone().reversed();
    for upper in [upper, reversed] {
        let place = Place::new();
        let top = place.stack([below.clone(), upper]);
        assert_eq!((top.report.deletions, top.report.opaque), (0, 0));
        assert!(!top.has("usr/lib") && top.is_dir("lib"));
    }
}

fn w1_usr_lib() -> LayerBuilder {
    layer()
        .file("usr/lib/f", 0o644, "")
        .symlink("lib", "usr/lib")
}

#[test]
fn w1_no_marker_reaches_through_a_symlink_that_its_layer_replaces_by_a_directory() {
    let upper = || layer().dir("lib", 0o755);
    w1_leaves_usr_lib_alone(&w1_usr_lib(), upper().whiteout("lib/f"));
    w1_leaves_usr_lib_alone(&w1_usr_lib(), upper().opaque("lib"));
    w1_leaves_usr_lib_alone(&w1_usr_lib(), upper().whiteout("lib/g/h"));
    w1_leaves_usr_lib_alone(&w1_usr_lib(), upper().opaque("lib/g"));
}

#[test]
fn w1_no_marker_reaches_through_a_replaced_symlink_by_way_of_another() {
    let below = w1_usr_lib().symlink("lib64", "lib").symlink("root", "/");
    let upper = || layer().dir("lib", 0o755);
    w1_leaves_usr_lib_alone(&below, upper().whiteout("lib64/f"));
    w1_leaves_usr_lib_alone(&below, upper().opaque("root/lib"));
}

/// `a` is followed, for it is only implied; what it leads to, is not.
#[test]
fn w1_a_replaced_symlink_counts_by_the_path_in_the_archive_too() {
    let below = layer()
        .file("real/f", 0o644, "")
        .symlink("usr/lib", "../real");
    let below = below.symlink("a", "usr");
    for upper in [
        layer().dir("a/lib", 0o755).whiteout("a/lib/f"),
        layer().opaque("a/lib").dir("a/lib", 0o755),
        layer().whiteout("a/lib/f").dir("usr/lib", 0o755),
    ] {
        let place = Place::new();
        let top = place.stack([below.clone(), upper]);
        assert!(top.is_dir("usr/lib") && top.names("usr/lib").is_empty());
        assert_eq!(top.names("."), ["usr"]);
    }
}

#[test]
fn w1_an_implied_directory_replaces_no_symlink() {
    let place = Place::new();
    let upper = layer()
        .dir("lib/g", 0o755)
        .whiteout("lib/f")
        .file("lib/h", 0o644, "");
    let top = place.stack([w1_usr_lib(), upper]);
    assert!(top.is_whiteout("usr/lib/f"));
    assert_eq!(top.names("usr/lib"), ["f", "g", "h"]);
    assert_eq!(top.names("."), ["usr"]);
}

#[test]
fn w1_a_directory_that_its_own_layer_replaces_is_none() {
    for replaced in [
        layer().dir("lib", 0o755).symlink("lib", "x"),
        layer().dir("lib", 0o755).file("lib", 0o644, ""),
        layer()
            .dir("lib", 0o755)
            .file("f", 0o644, "")
            .hardlink("lib", "f"),
    ] {
        let place = Place::new();
        let top = place.stack([w1_usr_lib(), replaced.whiteout("lib/f")]);
        assert!(top.is_whiteout("usr/lib/f"));
        assert!(!top.is_dir("lib"));
    }
    let place = Place::new();
    let back = layer()
        .dir("lib", 0o755)
        .file("lib", 0o644, "")
        .dir("lib", 0o755);
    let top = place.stack([w1_usr_lib(), back.whiteout("lib/f")]);
    assert_eq!(top.report.deletions, 0);
}

#[test]
fn w1_a_replaced_directory_takes_those_below_it_along() {
    let below = layer().file("real/f", 0o644, "").symlink("d/lib", "/real");
    let place = Place::new();
    let upper = layer()
        .dir("d", 0o755)
        .dir("d/lib", 0o755)
        .file("d", 0o644, "");
    let top = place.stack([below, upper.whiteout("d/lib/f")]);
    assert!(top.is_whiteout("real/f"));
}

/// The hard link to the layer below is what takes a second pass.
#[test]
fn w1_a_replaced_symlink_is_none_in_the_second_pass_either() {
    let place = Place::new();
    let upper = layer().whiteout("lib/f").hardlink("lib/g", "usr/lib/f");
    let top = place.stack([
        w1_usr_lib(),
        upper.dir("lib", 0o755).file("lib/new", 0o644, ""),
    ]);
    assert_eq!(top.report.deletions, 0);
    assert_eq!(top.names("lib"), ["new"]);
    assert_eq!(top.names("usr/lib"), ["f", "g"]);
}

#[test]
fn w1_with_keep_dirlinks_no_a_whiteout_through_a_symlink_has_no_effect() {
    let place = Place::with(|options| options.keep_dirlinks = false);
    let below = layer()
        .file("usr/lib/f", 0o644, "")
        .symlink("lib", "usr/lib");
    let top = place.stack([below, layer().whiteout("lib/f")]);
    assert_eq!(top.report.deletions, 0);
    assert!(!top.has("usr"));
}

fn w2_recreated(place: &Place, upper: LayerBuilder) {
    let below = layer()
        .file("d/old", 0o644, "")
        .file("d/both", 0o644, "old");
    let top = place.stack([below, upper]);
    assert!(top.is_opaque("d"));
    assert!(!top.has("d/old"));
    assert_eq!(top.report.deletions, 0);
}

#[test]
fn w2_a_new_directory_in_place_of_a_deleted_one_is_opaque_in_either_order() {
    w2_recreated(
        &Place::new(),
        layer()
            .whiteout("d")
            .dir("d", 0o755)
            .file("d/both", 0o644, ""),
    );
    w2_recreated(
        &Place::new(),
        layer()
            .dir("d", 0o755)
            .file("d/both", 0o644, "")
            .whiteout("d"),
    );
}

#[test]
fn w2_an_implied_directory_in_place_of_a_deleted_one_is_opaque() {
    w2_recreated(
        &Place::new(),
        layer().whiteout("d").file("d/new", 0o644, ""),
    );
    w2_recreated(
        &Place::new(),
        layer().file("d/e/new", 0o644, "").whiteout("d"),
    );
}

#[test]
fn w2_a_new_directory_is_not_opaque_where_nothing_was_below() {
    let place = Place::new();
    let top = place.stack([
        layer().dir("x", 0o755),
        layer().whiteout("d").dir("d", 0o755),
    ]);
    assert!(top.is_dir("d") && !top.is_opaque("d"));
    assert_eq!((top.report.deletions, top.report.opaque), (0, 0));
}

#[test]
fn w2_a_new_directory_in_place_of_a_deleted_file_hides_it_by_itself() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d", 0o644, ""),
        layer().whiteout("d").dir("d", 0o755),
    ]);
    assert!(top.is_dir("d") && !top.is_opaque("d"));
}

#[test]
fn w2_over_unknown_layers_a_new_directory_in_place_of_a_deleted_name_is_opaque() {
    let place = Place::new();
    let alone = place.alone(
        layer()
            .whiteout("d")
            .dir("d", 0o755)
            .whiteout("f")
            .file("f", 0o644, "new"),
    );
    assert!(alone.is_opaque("d"));
    assert_eq!(alone.read("f"), b"new");
    assert_eq!(alone.report.deletions, 0);
}

#[test]
fn w3_a_deletion_is_written_only_if_the_name_is_visible_below() {
    let place = Place::new();
    let upper = layer().whiteout("d/f").whiteout("d/none").whiteout("none");
    let top = place.stack([layer().file("d/f", 0o644, ""), upper]);
    assert_eq!(top.names("d"), ["f"]);
    assert_eq!(top.names("."), ["d"]);
    assert_eq!(top.report.deletions, 1);
}

#[test]
fn w3_a_name_that_a_layer_between_deleted_needs_no_deletion() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().whiteout("d/f"),
        layer().dir("d", 0o755).whiteout("d/f"),
    ]);
    assert!(top.names("d").is_empty());
}

#[test]
fn w3_a_name_that_an_opaque_directory_between_hides_needs_no_deletion() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().dir("d", 0o755).opaque("d"),
        layer().dir("d", 0o755).whiteout("d/f"),
    ]);
    assert!(top.names("d").is_empty());
}

#[test]
fn w3_a_name_that_came_back_is_deleted_again() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().whiteout("d/f"),
        layer().file("d/f", 0o644, "back"),
        layer().whiteout("d/f"),
    ]);
    assert!(top.is_whiteout("d/f"));
}

#[test]
fn w3_a_name_below_a_file_is_not_visible() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().file("d", 0o644, "file"),
        layer().whiteout("d/f"),
    ]);
    assert!(top.names(".").is_empty());
}

#[test]
fn w3_over_known_layers_no_origin_mark_is_written() {
    let place = Place::new();
    let top = place.stack([layer().file("d/f", 0o644, ""), layer().whiteout("d/f")]);
    assert!(top.xattrs("d").is_empty() && top.xattrs(".").is_empty());
}

#[test]
fn w3_over_unknown_layers_the_directory_of_a_whiteout_has_an_empty_origin() {
    let place = Place::new();
    let alone = place.alone(
        layer()
            .dir("d", 0o755)
            .whiteout("d/f")
            .whiteout("g")
            .dir("e", 0o755),
    );
    assert!(alone.is_whiteout("d/f") && alone.is_whiteout("g"));
    assert!(alone.has_origin("d") && alone.has_origin("."));
    assert!(!alone.has_origin("e"));
}

#[test]
fn w3_at_the_bottom_no_deletion_is_written() {
    let place = Place::new();
    let bottom = place.stack([layer().dir("d", 0o755).whiteout("d/f").whiteout("g")]);
    assert_eq!(bottom.names("."), ["d"]);
    assert!(bottom.names("d").is_empty());
}

#[test]
fn w4_no_deletion_is_written_in_or_below_an_opaque_directory() {
    let below = layer().file("d/f", 0o644, "").file("d/e/g", 0o644, "");
    let upper = layer()
        .dir("d/e", 0o755)
        .opaque("d")
        .whiteout("d/f")
        .whiteout("d/e/g");
    let place = Place::new();
    let top = place.stack([below, upper.clone()]);
    assert!(top.is_opaque("d") && !top.is_opaque("d/e"));
    assert_eq!(top.names("d"), ["e"]);
    assert!(top.names("d/e").is_empty());

    let alone = place.alone(upper);
    assert_eq!(alone.names("d"), ["e"]);
    assert!(alone.names("d/e").is_empty());
}

#[test]
fn w5_a_whiteout_beside_one_below_it_leaves_nothing_in_either_order() {
    let below = || layer().file("a/b", 0o644, "").file("a/c", 0o644, "");
    for upper in [
        layer().whiteout("a").whiteout("a/b"),
        layer().whiteout("a/b").whiteout("a"),
    ] {
        let place = Place::new();
        let top = place.stack([below(), upper.clone()]);
        assert!(top.is_whiteout("a"));
        assert_eq!(top.names("."), ["a"]);

        let alone = place.alone(upper);
        assert!(alone.is_whiteout("a"));
    }
}

#[test]
fn w5_a_whiteout_makes_the_directories_above_it_and_nothing_else() {
    let place = Place::new();
    let top = place.stack([layer().dir("x", 0o755), layer().whiteout("a/b/c")]);
    assert_eq!(top.names("."), ["a"]);
    assert_eq!(top.names("a"), ["b"]);
    assert!(top.names("a/b").is_empty());
    assert_eq!((top.mode("a"), top.mtime("a")), (0o755, (0, 0)));
}

/// Nothing is made on a way that ends at a file.
#[test]
fn w5_a_whiteout_that_a_symlink_leads_to_a_file_makes_nothing() {
    let below = layer()
        .file("file", 0o644, "")
        .symlink("link", "new/../file");
    for upper in [layer().whiteout("link/f"), layer().opaque("link")] {
        let place = Place::new();
        let top = place.stack([below.clone(), upper]);
        assert!(top.names(".").is_empty());
    }
}

#[test]
fn w5_a_whiteout_below_a_file_of_a_lower_layer_has_no_effect() {
    let place = Place::new();
    let top = place.stack([layer().file("a", 0o644, ""), layer().whiteout("a/b")]);
    assert!(top.names(".").is_empty());
}

#[test]
fn w6_whiteouts_of_no_name_are_refused() {
    for name in [".wh.", "d/.wh.", ".wh..", "d/.wh..", ".wh...", "d/.wh..."] {
        let error = Place::new().refused([layer().file(name, 0o644, "")]);
        assert_eq!(error.kind(), lowerdir::Kind::Refused, "{name}");
        assert_eq!(error.entry(), Some(name));
    }
}

#[test]
fn w6_an_entry_inside_a_whiteout_is_refused() {
    let entries = layer().dir(".wh.d", 0o755).file(".wh.d/f", 0o644, "");
    let error = Place::new().refused([entries]);
    assert_eq!(error.kind(), lowerdir::Kind::Refused);
}

#[test]
fn w6_aufs_bookkeeping_is_skipped_with_all_below_it() {
    let place = Place::new();
    let top = place.stack([layer()
        .file(".wh..wh.aufs", 0o644, "")
        .dir(".wh..wh.plnk", 0o755)
        .file(".wh..wh.plnk/1.2", 0o644, "x")
        .dir("d/.wh..wh.orph", 0o755)
        .file("f", 0o644, "")]);
    assert_eq!(top.names("."), ["f"]);
}

#[test]
fn w6_a_name_of_255_bytes_can_be_deleted() {
    let name = "n".repeat(255);
    let place = Place::new();
    let top = place.stack([layer().file(&name, 0o644, ""), layer().whiteout(&name)]);
    assert!(top.is_whiteout(&name));

    let too_long = layer().whiteout("n".repeat(256));
    assert_eq!(
        Place::new().refused([too_long]).kind(),
        lowerdir::Kind::Refused
    );
}

#[test]
fn w6_a_name_that_is_no_utf8_can_be_deleted() {
    let name = OsStr::from_bytes(b"\xff");
    let place = Place::new();
    let below = layer().add(Entry::file(name.as_bytes(), ""));
    let top = place.stack([below, layer().add(Entry::file(b".wh.\xff", ""))]);
    assert!(top.is_whiteout(name));
}

#[test]
fn w6_no_marker_is_written_under_its_own_name() {
    let place = Place::new();
    let layers = || {
        layer()
            .whiteout("d/f")
            .opaque("e")
            .dir("e", 0o755)
            .dir("d", 0o755)
    };
    let below = layer().file("d/f", 0o644, "").file("e/f", 0o644, "");
    for dir in [place.stack([below, layers()]), place.alone(layers())] {
        assert_eq!(dir.names("d"), ["f"]);
        assert!(dir.names("e").is_empty());
    }
}

#[test]
fn w7_a_whiteout_is_0_0_of_mode_0_with_the_time_of_its_entry() {
    let place = Place::new();
    let entry = Entry::whiteout("f").mode(0o777).mtime(12, 500_000_000);
    let upper = layer().add(entry.owner(7, 8).xattr("user.a", "b"));
    let top = place.stack([layer().file("f", 0o644, ""), upper]);
    assert_eq!(top.get("f").rdev(), 0);
    assert_eq!(top.mode("f"), 0);
    assert_eq!(top.mtime("f"), (12, 500_000_000));
    assert_eq!(top.get("f").atime(), 12);
    assert!(top.xattrs("f").is_empty());
}

#[test]
fn w7_a_whiteout_of_any_type_counts() {
    let kinds = [
        Kind::Dir,
        Kind::File(b"not empty".into()),
        Kind::Symlink(b"elsewhere".into()),
        Kind::Hardlink(b"elsewhere".into()),
        Kind::Fifo,
        Kind::Char(0, 0),
        Kind::Block(1, 2),
    ];
    for kind in kinds {
        let place = Place::new();
        let entry = Entry::whiteout("f").kind(kind.clone());
        let top = place.stack([layer().file("f", 0o644, ""), layer().add(entry)]);
        assert!(top.is_whiteout("f"), "{kind:?}");
        assert_eq!(top.names("."), ["f"]);
    }
}

#[test]
fn w7_the_xattr_spelling_is_an_empty_file_in_a_marked_directory() {
    let place = Place::with(|options| options.dialect.whiteout = Whiteout::Xattr);
    let top = place.stack([
        layer()
            .file("d/f", 0o644, "below")
            .file("d/stays", 0o644, "")
            .dir("e", 0o755),
        layer()
            .add(Entry::whiteout("d/f").mtime(5, 0))
            .dir("e", 0o755),
    ]);
    assert!(top.get("d/f").is_file() && top.get("d/f").len() == 0);
    assert_eq!(top.xattr("d/f", "user.overlay.whiteout").unwrap(), b"");
    assert_eq!(top.mtime("d/f"), (5, 0));
    assert_eq!(top.xattr("d", "user.overlay.opaque").unwrap(), b"x");
    assert!(top.xattrs("e").is_empty());
}

/// As an ordinary user too, who reads the xattr only of a file that he may read.
#[test]
fn w7_the_xattr_spelling_is_read_back_as_a_deletion() {
    let place = Place::with(|options| options.dialect.whiteout = Whiteout::Xattr);
    let top = place.stack([
        layer().file("d/f", 0o644, "").file("d/stays", 0o644, ""),
        layer().whiteout("d/f"),
        layer().dir("d", 0o755).whiteout("d/f"),
    ]);
    assert!(top.names("d").is_empty());
    assert!(top.xattrs("d").is_empty());
}

fn with_xattr_whiteouts() -> Place {
    Place::with(|options| options.dialect.whiteout = Whiteout::Xattr)
}

#[test]
fn w8_with_xattrs_a_directory_of_which_nothing_remains_is_opaque() {
    let below = || layer().file("d/f", 0o644, "").file("d/g", 0o644, "");
    let upper = layer()
        .whiteout("d/f")
        .whiteout("d/g")
        .file("d/new", 0o644, "");
    let place = with_xattr_whiteouts();
    let top = place.stack([below(), upper]);
    assert_eq!(top.names("d"), ["new"]);
    assert_eq!(top.xattr("d", "user.overlay.opaque").unwrap(), b"y");
    // What the layer has in its place does not remain either.
    let place = with_xattr_whiteouts();
    let top = place.stack([below(), layer().whiteout("d/f").file("d/g", 0o644, "new")]);
    assert_eq!(top.names("d"), ["g"]);
    assert_eq!(top.xattr("d", "user.overlay.opaque").unwrap(), b"y");
}

#[test]
fn w8_a_directory_of_which_something_remains_keeps_its_deletions() {
    let below = || layer().file("d/f", 0o644, "").file("d/e/g", 0o644, "");
    for upper in [layer(), layer().dir("d/e", 0o755)] {
        let place = with_xattr_whiteouts();
        let top = place.stack([below(), upper.whiteout("d/f")]);
        assert!(top.names("d").contains(&"f".to_owned()));
        assert_eq!(top.xattr("d", "user.overlay.opaque").unwrap(), b"x");
    }
}

#[test]
fn w8_what_is_deeper_counts_first() {
    let below = layer()
        .file("d/f", 0o644, "")
        .file("d/e/g", 0o644, "")
        .dir("d/empty", 0o755);
    let upper = layer()
        .whiteout("d/f")
        .whiteout("d/e/g")
        .dir("d/empty", 0o755);
    let place = with_xattr_whiteouts();
    let top = place.stack([below, upper]);
    assert_eq!(top.names("d"), ["e", "empty"]);
    assert!(top.names("d/e").is_empty());
    assert_eq!(top.xattr("d", "user.overlay.opaque").unwrap(), b"y");
    // Rule O2.
    assert_eq!(top.xattr("d/e", "user.overlay.opaque"), None);
}

#[test]
fn w8_is_for_xattrs_alone() {
    let place = Place::new();
    let top = place.stack([layer().file("d/f", 0o644, ""), layer().whiteout("d/f")]);
    assert!(top.is_whiteout("d/f"));
    assert_eq!(top.xattr("d", "user.overlay.opaque"), None);
}
