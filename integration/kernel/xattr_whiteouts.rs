//! Whiteouts as xattrs, and the marks that their directories need.

use super::*;

#[test]
fn xattr_whiteout_hides_in_a_directory_and_in_a_root_marked_opaque_x() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").mark(dialect, "", "opaque", "x");
        let top = top.mark(dialect, "d", "opaque", "x");
        let top = top
            .xattr_whiteout(dialect, "gone")
            .xattr_whiteout(dialect, "never");
        let top = top.xattr_whiteout(dialect, "d/gone");
        let bottom = site.layer("bottom", "gone d/ d/gone d/stays");
        let view = site.view(dialect, &[&top, &bottom]);
        kernel_says!(
            (view.names(""), view.names("d")),
            ("d".into(), "stays".into())
        );
        kernel_says!((view.errno("gone"), view.errno("d/gone")), (ENOENT, ENOENT));
    }
}

#[test]
fn xattr_whiteout_without_opaque_x_hides_and_is_a_ghost() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").xattr_whiteout(dialect, "gone");
        let top = top.xattr_whiteout(dialect, "d/gone");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "gone d/ d/gone")]);
        kernel_says!(
            (view.names(""), view.names("d")),
            ("d gone".into(), "gone".into())
        );
        kernel_says!((view.errno("gone"), view.errno("d/gone")), (ENOENT, ENOENT));
    }
}

#[test]
fn needless_xattr_whiteout_in_an_unmerged_directory_needs_opaque_x_and_the_origin_mark() {
    for dialect in BOTH {
        let (x, origin) = (("opaque", "x"), ("origin", ""));
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[]), "never");
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[x]), "never");
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[origin]), "never");
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[x, origin]), "");
    }
}

/// The mark holds one value: `y` leaves no room for the `x` that the filter needs, so that here
/// nothing but W4 (no deletions in an opaque directory) prevents a ghost.
#[test]
fn xattr_whiteout_in_an_opaque_directory_is_a_ghost_that_no_mark_removes() {
    for dialect in BOTH {
        let marks = [("opaque", "y"), ("origin", "")];
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &marks), "never");
    }
}

/// What readdir lists of `d`, which holds one needless xattr whiteout and has those marks.
fn unmerged_with_an_xattr_whiteout(dialect: Dialect, marks: &[(&str, &str)]) -> String {
    let site = Site::new();
    let top = site.layer("top", "d/").xattr_whiteout(dialect, "d/never");
    let mark = |top: Layer, (name, value): &(&str, &str)| top.mark(dialect, "d", name, value);
    let top = marks.iter().fold(top, mark);
    site.view(dialect, &[&top, &site.layer("bottom", "")])
        .names("d")
}

#[test]
fn file_with_bytes_is_no_xattr_whiteout() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site
            .layer("top", "d/ d/f")
            .mark(dialect, "d", "opaque", "x");
        let top = top.mark(dialect, "d/f", "whiteout", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/f")]);
        kernel_says!(view.read("d/f"), "top");
    }
}
