//! Xattrs of overlayfs's own in a layer (X1).

use super::*;

#[test]
fn unescaped_overlay_xattr_is_not_shown() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ f").mark(dialect, "d", "any", "1");
        let top = top.mark(dialect, "f", "any", "1");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        for path in ["d", "f"] {
            kernel_says!(view.marks(path), "");
            kernel_says!(view.xattr(path, &dialect.key("any")), None);
        }
    }
}

#[test]
fn escaped_overlay_xattr_is_shown_unescaped_and_has_no_effect() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site
            .layer("top", "d/")
            .mark(dialect, "d", "overlay.opaque", "y");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/below")]);
        kernel_says!(view.marks("d"), dialect.key("opaque"));
        kernel_says!(view.xattr("d", &dialect.key("opaque")), Some(b"y".into()));
        kernel_says!(view.names("d"), "below");
    }
}

#[test]
fn escape_is_taken_off_once() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site
            .layer("top", "f")
            .mark(dialect, "f", "overlay.overlay.x", "1");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.marks("f"), dialect.key("overlay.x"));
    }
}

#[test]
fn overlay_xattr_of_the_other_dialect_is_shown_as_it_is() {
    for dialect in BOTH {
        let (site, other) = (Site::new(), dialect.other());
        let top = site.layer("top", "f").mark(other, "f", "x", "1");
        let top = top.mark(other, "f", "overlay.x", "2");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(
            view.marks("f"),
            other.key("overlay.x") + " " + &other.key("x")
        );
        kernel_says!(view.xattr("f", &other.key("x")), Some(b"1".into()));
    }
}

/// Why X1 escapes all names: a layer could show another directory in place of its own.
#[test]
fn unescaped_redirect_is_followed_where_the_kernel_is_set_so_and_else_bars_the_directory() {
    let follows = parameter_is_on("redirect_always_follow") || parameter_is_on("redirect_dir");
    for dialect in BOTH {
        for value in ["/elsewhere", "elsewhere"] {
            let site = Site::new();
            let top = site
                .layer("top", "d/")
                .mark(dialect, "d", "redirect", value);
            let bottom = site.layer("bottom", "d/ elsewhere/ elsewhere/f");
            let view = site.view(dialect, &[&top, &bottom]);
            match dialect == Trusted && follows {
                true => kernel_says!(view.names("d"), "f"),
                false => kernel_says!(view.errno("d"), EPERM),
            }
        }
    }
}

/// Why X1 escapes all names: a layer could make its file unreadable.
#[test]
fn unescaped_metacopy_bars_the_file() {
    for dialect in BOTH {
        if dialect == Trusted && parameter_is_on("metacopy") {
            continue;
        }
        let site = Site::new();
        let top = site.layer("top", "f").mark(dialect, "f", "metacopy", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "f")]);
        kernel_says!(view.errno("f"), EPERM);
    }
}

fn parameter_is_on(name: &str) -> bool {
    let value = fs::read_to_string(format!("/sys/module/overlay/parameters/{name}"));
    value.is_ok_and(|value| value.trim() == "Y")
}
