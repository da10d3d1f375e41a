//! Whiteouts as devices (W1, W3): which hide, which are listed as ghosts, and the origin mark.

use super::*;

#[test]
fn whiteout_hides_the_name_below_and_is_not_listed() {
    let site = Site::new();
    let bottom = site.layer("bottom", "gone d/ d/gone d/stays");
    let top = site.layer("top", "gone! d/ d/gone!");
    let view = site.view(Trusted, &[&top, &bottom]);
    kernel_says!(
        (view.names(""), view.names("d")),
        ("d".into(), "stays".into())
    );
    kernel_says!((view.errno("gone"), view.errno("d/gone")), (ENOENT, ENOENT));
}

#[test]
fn needless_whiteout_in_a_merged_directory_or_the_root_is_filtered() {
    let site = Site::new();
    let top = site.layer("top", "never! d/ d/never!");
    let view = site.view(Trusted, &[&top, &site.layer("bottom", "d/")]);
    kernel_says!(
        (view.names(""), view.names("d")),
        ("d".into(), String::new())
    );
}

#[test]
fn needless_whiteout_in_an_unmerged_directory_is_a_ghost() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/never!");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.names("d"), "never");
        kernel_says!(view.errno("d/never"), ENOENT);
    }
}

#[test]
fn whiteout_in_an_opaque_directory_is_a_ghost_even_if_the_name_is_below() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/gone!").opaque(dialect, "d");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/gone")]);
        kernel_says!(view.names("d"), "gone");
        kernel_says!(view.errno("d/gone"), ENOENT);
    }
}

#[test]
fn empty_origin_mark_makes_the_kernel_filter_an_unmerged_directory() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/never! d/stays");
        let top = top.mark(dialect, "d", "origin", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.names("d"), "stays");
        kernel_says!(view.marks("d"), "");
    }
}

#[test]
fn empty_origin_mark_makes_the_kernel_filter_an_opaque_directory() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/gone! d/stays").opaque(dialect, "d");
        let top = top.mark(dialect, "d", "origin", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/gone")]);
        kernel_says!(view.names("d"), "stays");
    }
}

#[test]
fn origin_mark_in_the_other_dialect_is_no_mark() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/never!");
        let top = top.mark(dialect.other(), "d", "origin", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.names("d"), "never");
    }
}

#[test]
fn origin_mark_works_in_a_middle_layer_too() {
    let site = Site::new();
    let middle = site.layer("middle", "d/ d/never!");
    let middle = middle.mark(Trusted, "d", "origin", "");
    let (top, bottom) = (site.layer("top", ""), site.layer("bottom", ""));
    kernel_says!(site.view(Trusted, &[&top, &middle, &bottom]).names("d"), "");
}

#[test]
fn origin_mark_does_not_change_a_merged_directory() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ d/gone d/below");
    let top = site.layer("top", "d/ d/gone! d/above");
    let top = top.mark(Trusted, "d", "origin", "");
    kernel_says!(
        site.view(Trusted, &[&top, &bottom]).names("d"),
        "above below"
    );
}
