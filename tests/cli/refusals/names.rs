//! Layers whose names and links may not be.

use super::inputs::Input;
use crate::tarball::{Entry, Meta};
use crate::tarball::{Kind, LayerBuilder};

pub fn inputs() -> Vec<Input> {
    let mut inputs = names();
    inputs.extend(markers());
    inputs.extend(links());
    inputs
}

fn layer() -> LayerBuilder {
    LayerBuilder::new().file("etc/good", 0o644, "good")
}

fn file(name: &'static str, path: &str, words: &'static [&'static str]) -> Input {
    Input::layer(name, 3, words, layer().file(path, 0o644, "bytes").finish())
}

fn names() -> Vec<Input> {
    let root = Entry {
        name: b"./".to_vec(),
        kind: Kind::Symlink(b"etc".to_vec()),
        meta: Meta::new(0o777),
    };
    vec![
        file("a name that leads up", "../f", &["../f", "`..`"]),
        file("a name with `..` inside", "etc/../f", &["`..`"]),
        file("a component of 300 bytes", &"n".repeat(300), &["255"]),
        file("a file without a name", "/", &[]),
        Input::layer(
            "a root that is a link",
            3,
            &[],
            layer().entry(&root).finish(),
        ),
        Input::layer(
            "a device 0:0",
            3,
            &["etc/zero"],
            layer().chardev("etc/zero", 0o600, (0, 0)).finish(),
        ),
    ]
}

fn markers() -> Vec<Input> {
    vec![
        file("a whiteout of nothing", "etc/.wh.", &[".wh."]),
        file("a whiteout of `.`", "etc/.wh..", &[".wh.."]),
        file("a whiteout of `..`", "etc/.wh...", &[".wh..."]),
        file("something below a whiteout", "etc/.wh.d/f", &[".wh.d"]),
        file(
            "something below an opaque mark",
            "etc/.wh..wh..opq/f",
            &[".wh..wh..opq"],
        ),
        file(
            "a whiteout of 300 bytes",
            &format!("etc/.wh.{}", "n".repeat(300)),
            &["255"],
        ),
    ]
}

fn links() -> Vec<Input> {
    let link = |name, words, layer: LayerBuilder| Input::layer(name, 3, words, layer.finish());
    let through = |target: &str| {
        let layer = layer().symlink("etc/link", target);
        layer.file("etc/link/f", 0o644, "bytes")
    };
    vec![
        link(
            "a hard link to nothing",
            &["etc/a", "etc/b"],
            layer().hardlink("etc/a", "etc/b"),
        ),
        link(
            "a hard link to a later path",
            &["etc/a", "etc/b"],
            layer().hardlink("etc/a", "etc/b").file("etc/b", 0o644, ""),
        ),
        link(
            "a hard link to a directory",
            &["etc/a"],
            layer().dir("etc/d", 0o755).hardlink("etc/a", "etc/d"),
        ),
        link(
            "a hard link to the root",
            &["etc/a"],
            layer().hardlink("etc/a", "./"),
        ),
        link(
            "a hard link out",
            &["etc/a"],
            layer().hardlink("etc/a", "../etc/passwd"),
        ),
        link(
            "a hard link to a whiteout",
            &["etc/a"],
            layer().whiteout("etc/b").hardlink("etc/a", "etc/.wh.b"),
        ),
        link(
            "a hard link below itself",
            &["etc/a"],
            layer()
                .file("etc/a/b", 0o644, "")
                .hardlink("etc/a", "etc/a/b"),
        ),
        link(
            "a link that leads to a whiteout",
            &["etc/link/f"],
            through(".wh.x"),
        ),
        link(
            "a link that leads below an opaque mark",
            &["etc/link/f"],
            through("/d/.wh..wh..opq"),
        ),
        link(
            "a link that leads to 300 bytes",
            &["etc/link/f"],
            through(&"n".repeat(300)),
        ),
        link("a link to itself", &["etc/link/f"], through("link")),
        link(
            "two links to each other",
            &["etc/link/f"],
            layer()
                .symlink("etc/other", "link")
                .symlink("etc/link", "other")
                .file("etc/link/f", 0o644, ""),
        ),
    ]
}
