//! Every xattr that overlayfs takes for an order, on every type, from a layer: the mount shows it as
//! data and obeys none (rule X1), in either dialect.

use crate::generate::Stack;
use crate::oci::Compression;
use crate::property::Image;
use crate::scratch::Scratch;
use crate::tarball::{Entry, Kind, Meta, Spelling};

/// kernel `fs/overlayfs/overlayfs.h`, `enum ovl_xattr`; and one that is escaped already.
const NAMES: [&str; 13] = [
    "opaque",
    "redirect",
    "origin",
    "impure",
    "nlink",
    "upper",
    "uuid",
    "metacopy",
    "protattr",
    "whiteout",
    "whiteouts",
    "verity",
    "overlay.opaque",
];

/// What the kernel would obey in one or another of them.
const VALUES: [&[u8]; 4] = [b"y", b"x", b"/elsewhere", b""];

fn entry(name: &str, kind: Kind, meta: Meta) -> Entry {
    let name = name.into();
    Entry { name, kind, meta }
}

/// A layer, and one over it that has the xattr on everything.
fn stack(xattr: &str, value: &[u8]) -> Stack {
    let file = |content: &str| Kind::File(content.into());
    let plain = |name: &str, kind: Kind| entry(name, kind, Meta::new(0o755));
    let marked = |name: &str, kind: Kind| entry(name, kind, Meta::new(0o755).xattr(xattr, value));
    let below = vec![
        plain("d/below", file("below")),
        plain("elsewhere/there", file("there")),
        plain("empty", file("below")),
        plain("hidden/f", file("f")),
    ];
    let above = vec![
        marked("./", Kind::Dir),
        marked("d", Kind::Dir),
        marked("new", Kind::Dir),
        marked("d/file", file("content")),
        marked("empty", file("")),
        marked("link", Kind::Symlink(b"d/file".to_vec())),
        marked("hard", Kind::Hardlink(b"d/file".to_vec())),
        marked("pipe", Kind::Fifo),
        marked("null", Kind::Char(1, 3)),
        marked("loop", Kind::Block(7, 0)),
        marked(".wh.hidden", file("")),
        marked("new/.wh..wh..opq", file("")),
    ];
    Stack {
        layers: vec![below, above],
        compression: vec![Compression::Plain; 2],
        jobs: 1,
        spelling: Spelling::Pax,
        has_ends: true,
        keeps_labels: false,
    }
}

#[test]
fn no_xattr_of_a_layer_is_an_order_in_any_dialect() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for namespace in ["trusted", "user"] {
        for name in NAMES {
            for value in VALUES {
                let xattr = format!("{namespace}.overlay.{name}");
                let stack = stack(&xattr, value);
                let tree = stack.expected().expect("nothing is wrong with it");
                let site = scratch.site();
                let image = Image::write(site.path(), &stack);
                for (store, options) in [
                    ("plain", &[][..]),
                    ("user", &["--userxattr"]),
                    ("both", &["--userxattr", "--whiteout=xattr"]),
                ] {
                    let verdict = image.unpack(store, 1, options).done();
                    let verdict = verdict.and_then(|_| image.mounted_is(store, &tree));
                    if let Err(what) = verdict {
                        panic!("{xattr}={}, {store}: {what}", value.escape_ascii());
                    }
                }
            }
        }
    }
}
