//! O1 to O3: what a `.wh..wh..opq` becomes.

use lowerdir::Parents;
use lowerdir::options::Whiteout;

use crate::place::Place;
use crate::tarball::{Entry, Kind, layer};

#[test]
fn o1_an_opaque_mark_hides_what_is_below_wherever_it_stands() {
    for upper in [
        layer().opaque("d").dir("d", 0o755).file("d/new", 0o644, ""),
        layer().dir("d", 0o755).opaque("d").file("d/new", 0o644, ""),
        layer().dir("d", 0o755).file("d/new", 0o644, "").opaque("d"),
    ] {
        let place = Place::new();
        let top = place.stack([layer().file("d/old", 0o644, ""), upper]);
        assert!(top.is_opaque("d"));
        assert_eq!(top.names("d"), ["new"]);
        assert_eq!((top.report.opaque, top.report.deletions), (1, 0));
    }
}

#[test]
fn o1_a_directory_that_only_its_mark_implies_keeps_its_attributes() {
    let place = Place::new();
    let below = layer()
        .add(Entry::dir("d").mode(0o2711).mtime(77, 0))
        .file("d/old", 0o644, "");
    let top = place.stack([below, layer().opaque("d")]);
    assert!(top.is_opaque("d") && top.names("d").is_empty());
    assert_eq!((top.mode("d"), top.mtime("d")), (0o2711, (77, 0)));
}

#[test]
fn o1_opaque_directories_in_an_opaque_directory_need_no_mark() {
    let place = Place::new();
    let upper = layer().opaque("d").opaque("d/e").dir("d/e", 0o755);
    let top = place.stack([layer().file("d/e/f", 0o644, ""), upper]);
    assert!(top.is_opaque("d") && !top.is_opaque("d/e"));
}

#[test]
fn o1_directories_below_an_opaque_one_inherit_nothing() {
    let place = Place::new();
    let below = layer().add(Entry::dir("d/e").mode(0o700));
    let top = place.stack([below, layer().opaque("d").file("d/e/f", 0o644, "")]);
    assert_eq!((top.mode("d/e"), top.mtime("d/e")), (0o755, (0, 0)));
}

#[test]
fn o1_a_mark_of_any_type_counts() {
    for kind in [Kind::Dir, Kind::Fifo, Kind::Symlink(b"x".into())] {
        let place = Place::new();
        let mark = Entry::opaque("d").kind(kind.clone());
        let top = place.stack([layer().file("d/f", 0o644, ""), layer().add(mark)]);
        assert!(top.is_opaque("d"), "{kind:?}");
    }
}

#[test]
fn o1_a_mark_below_a_symlinked_directory_empties_the_real_one() {
    let place = Place::new();
    let below = layer()
        .file("usr/lib/f", 0o644, "")
        .symlink("lib", "usr/lib");
    let top = place.stack([below, layer().opaque("lib")]);
    assert!(top.is_opaque("usr/lib"));
    assert_eq!(top.names("."), ["usr"]);
}

#[test]
fn o1_a_mark_does_not_reach_through_a_symlink_that_its_layer_replaces() {
    let below = layer()
        .file("usr/lib/x", 0o644, "")
        .symlink("lib", "usr/lib");
    for upper in [
        layer()
            .dir("lib", 0o755)
            .opaque("lib")
            .file("lib/y", 0o644, ""),
        layer()
            .opaque("lib")
            .dir("lib", 0o755)
            .file("lib/y", 0o644, ""),
    ] {
        let place = Place::new();
        let top = place.stack([below.clone(), upper]);
        assert_eq!(top.names("."), ["lib"]);
        assert_eq!(top.names("lib"), ["y"]);
        assert_eq!(top.report.opaque, 0);
    }
}

#[test]
fn o1_a_mark_in_a_deleted_directory_leaves_nothing() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().opaque("d").whiteout("d"),
    ]);
    assert!(top.is_whiteout("d"));
}

/// As an ordinary user, who may not set an xattr on what he may not write.
#[test]
fn o1_a_read_only_directory_may_be_opaque() {
    let place = Place::new();
    let upper = layer().add(Entry::dir("d").mode(0o555)).opaque("d");
    let top = place.stack([layer().file("d/f", 0o644, ""), upper]);
    assert!(top.is_opaque("d"));
    assert_eq!(top.mode("d"), 0o555);
}

#[test]
fn o2_a_mark_is_written_only_where_a_directory_is_visible_below() {
    let place = Place::new();
    let below = layer()
        .file("file", 0o644, "")
        .dir("dir", 0o755)
        .symlink("link", "dir");
    let upper = layer()
        .opaque("file")
        .dir("file", 0o755)
        .opaque("none")
        .dir("none", 0o755)
        .opaque("dir");
    let top = place.stack([below, upper]);
    assert!(top.is_dir("file") && !top.is_opaque("file"));
    assert!(top.is_dir("none") && !top.is_opaque("none"));
    assert!(top.is_opaque("dir"));
    assert_eq!(top.report.opaque, 1);
}

#[test]
fn o2_at_the_bottom_no_mark_is_written() {
    let place = Place::new();
    let bottom = place.stack([layer().dir("d", 0o755).opaque("d")]);
    assert!(bottom.xattrs("d").is_empty());
}

#[test]
fn o2_over_a_deleted_directory_no_mark_is_written() {
    let place = Place::new();
    let top = place.stack([
        layer().file("d/f", 0o644, ""),
        layer().whiteout("d"),
        layer().dir("d", 0o755).opaque("d"),
    ]);
    assert!(top.xattrs("d").is_empty());
}

#[test]
fn o2_over_unknown_layers_the_mark_is_written() {
    let place = Place::new();
    let alone = place.alone(layer().dir("d", 0o755).opaque("d"));
    assert!(alone.is_opaque("d"));
}

#[test]
fn o2_a_mark_where_a_file_is_below_and_nothing_else_has_no_effect() {
    let place = Place::new();
    let top = place.stack([layer().file("d", 0o644, "kept"), layer().opaque("d")]);
    assert!(top.names(".").is_empty());
}

#[test]
fn o3_an_opaque_root_becomes_one_deletion_per_name_visible_below() {
    let place = Place::new();
    let top = place.stack([
        layer()
            .file("a", 0o644, "")
            .file("b/f", 0o644, "")
            .file("gone", 0o644, ""),
        layer().file("c", 0o644, "").whiteout("gone"),
        layer().file("new", 0o644, "").opaque(""),
    ]);
    assert_eq!(top.names("."), ["a", "b", "c", "new"]);
    assert!(["a", "b", "c"].iter().all(|name| top.is_whiteout(name)));
    assert!(!top.is_opaque("."));
    assert_eq!(top.report.deletions, 3);
}

#[test]
fn o3_a_directory_in_an_opaque_root_is_opaque_itself() {
    let place = Place::new();
    let below = layer().file("d/e/f", 0o644, "").file("file", 0o644, "");
    let upper = layer()
        .opaque("")
        .file("d/e/new", 0o644, "")
        .dir("file", 0o755);
    let top = place.stack([below, upper]);
    assert!(top.is_opaque("d") && !top.is_opaque("d/e"));
    assert_eq!(top.mode("d"), 0o755);
    assert!(top.is_dir("file") && !top.is_opaque("file"));
    assert_eq!(top.report.deletions, 0);
}

#[test]
fn o3_the_deletions_of_an_opaque_root_have_the_time_of_its_mark() {
    let place = Place::new();
    let mark = Entry::opaque("").mtime(42, 0);
    let top = place.stack([layer().file("a", 0o644, ""), layer().add(mark)]);
    assert_eq!(top.mtime("a"), (42, 0));
}

#[test]
fn o3_the_root_of_an_opaque_layer_keeps_the_attributes_of_the_root_below() {
    let place = Place::new();
    let below = layer()
        .add(Entry::dir("./").mode(0o700))
        .file("a", 0o644, "");
    let top = place.stack([below, layer().opaque("")]);
    assert_eq!(top.mode("."), 0o700);
}

#[test]
fn o3_an_opaque_root_over_unknown_layers_is_refused_with_a_hint() {
    let place = Place::new();
    let Err(error) = place.try_unpack("alone", &layer().opaque(""), Parents::Unknown) else {
        panic!("it has no form that is right over any layers");
    };
    assert_eq!(error.kind(), lowerdir::Kind::Refused);
    assert_eq!(
        error.advice(),
        Some((lowerdir::Advice::GiveParentsOrBase, ""))
    );
    assert!(place.names().is_empty());
}

#[test]
fn o3_an_opaque_root_at_the_bottom_says_nothing() {
    let place = Place::new();
    let bottom = place.stack([layer().opaque("").file("f", 0o644, "")]);
    assert_eq!(bottom.names("."), ["f"]);
}

#[test]
fn o3_the_xattr_spelling_holds_for_the_root_too() {
    let place = Place::with(|options| options.dialect.whiteout = Whiteout::Xattr);
    let top = place.stack([layer().file("a", 0o644, ""), layer().opaque("")]);
    assert_eq!(top.xattr("a", "user.overlay.whiteout").unwrap(), b"");
    assert_eq!(top.xattr(".", "user.overlay.opaque").unwrap(), b"x");
}
