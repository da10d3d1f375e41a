//! What merges and what hides (O1 to O3, I1).

use super::*;

#[test]
fn opaque_directory_hides_what_is_below() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/above").opaque(dialect, "d");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/below")]);
        kernel_says!(view.names("d"), "above");
        kernel_says!(view.errno("d/below"), ENOENT);
    }
}

#[test]
fn opaque_mark_in_the_other_dialect_hides_nothing() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").opaque(dialect.other(), "d");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/below")]);
        kernel_says!(view.names("d"), "below");
    }
}

#[test]
fn opaque_mark_on_a_layers_root_is_ignored() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").opaque(dialect, "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "below d/ d/below")]);
        kernel_says!(
            (view.names(""), view.names("d")),
            ("below d".into(), "below".into())
        );
    }
}

#[test]
fn whiteout_in_a_middle_layer_ends_the_merge() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ d/below");
    let (top, middle) = (site.layer("top", "d/ d/above"), site.layer("middle", "d!"));
    kernel_says!(
        site.view(Trusted, &[&top, &middle, &bottom]).names("d"),
        "above"
    );
}

#[test]
fn opaque_directory_in_a_middle_layer_ends_the_merge() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ d/below");
    let middle = site.layer("middle", "d/ d/middle").opaque(Trusted, "d");
    let top = site.layer("top", "d/ d/above");
    kernel_says!(
        site.view(Trusted, &[&top, &middle, &bottom]).names("d"),
        "above middle"
    );
}

#[test]
fn non_directory_hides_a_directory_below() {
    let site = Site::new();
    let (top, bottom) = (
        site.layer("top", "f l@"),
        site.layer("bottom", "f/sub/ l/sub/"),
    );
    let view = site.view(Trusted, &[&top, &bottom]);
    kernel_says!(view.read("f"), "top");
    kernel_says!(view.stat("l").expect("a symlink").is_symlink(), true);
}

#[test]
fn directory_over_a_non_directory_does_not_merge_with_what_is_further_below() {
    let site = Site::new();
    let bottom = site.layer("bottom", "f/ f/below l/ l/below");
    let (top, middle) = (
        site.layer("top", "f/ f/above l/"),
        site.layer("middle", "f l@"),
    );
    let view = site.view(Trusted, &[&top, &middle, &bottom]);
    kernel_says!(
        (view.names("f"), view.names("l")),
        ("above".into(), String::new())
    );
}

#[test]
fn merged_directory_has_the_attributes_of_the_topmost_layer() {
    let site = Site::new();
    let (top, bottom) = (site.layer("top", "d/"), site.layer("bottom", "d/"));
    for (layer, mode, owner) in [(&bottom, 0o700, 1), (&top, 0o1751, 2)] {
        for path in [layer.0.clone(), layer.0.join("d")] {
            xattr::set(&path, format!("user.{owner}"), b"").expect("an xattr");
            chown(&path, Some(owner), Some(owner)).expect("chown");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    }
    let view = site.view(Trusted, &[&top, &bottom]);
    for path in ["", "d"] {
        let (stat, real) = (
            view.stat(path).expect("stat"),
            fs::metadata(top.0.join(path)),
        );
        kernel_says!(
            (stat.mode() & 0o7777, stat.uid(), stat.gid()),
            (0o1751, 2, 2)
        );
        kernel_says!(stat.modified().ok(), real.expect("stat").modified().ok());
        let xattrs = (view.xattr(path, "user.1"), view.xattr(path, "user.2"));
        kernel_says!(xattrs, (None, Some(Vec::new())));
    }
}

#[test]
fn names_of_one_file_in_one_layer_are_one_inode_through_the_mount() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ a c").link("a", "d/b");
    let view = site.view(Trusted, &[&site.layer("top", "d/"), &bottom]);
    let inode = |path| {
        let stat = view.stat(path).expect("stat");
        (stat.dev(), stat.ino(), stat.nlink())
    };
    kernel_says!(inode("a"), inode("d/b"));
    assert_ne!(inode("a"), inode("c"), "on Linux {}", release());
}
