//! Every type over every other under one name, in one layer and in two, with something below it.

use crate::court::{Case, End};
use crate::tarball::LayerBuilder;

type Add = fn(LayerBuilder, &str) -> LayerBuilder;

pub const TYPES: [(&str, Add); 8] = [
    ("directory", |layer, name| layer.dir(name, 0o755)),
    ("file", |layer, name| layer.file(name, 0o644, "content")),
    ("symlink", |layer, name| layer.symlink(name, "/etc")),
    ("hard link", |layer, name| layer.hardlink(name, "base")),
    ("fifo", |layer, name| layer.fifo(name, 0o644)),
    ("character device", |layer, name| {
        layer.chardev(name, 0o644, (1, 3))
    }),
    ("block device", |layer, name| {
        layer.blockdev(name, 0o644, (7, 0))
    }),
    ("whiteout", |layer, name| layer.whiteout(name)),
];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let base = || LayerBuilder::new().file("base", 0o644, "base");
    for (first, add_first) in TYPES {
        for (second, add_second) in TYPES {
            let one = add_second(add_first(base(), "name"), "name");
            cases.push(Case::new(
                format!("{second} over {first}"),
                End::Unpacked,
                vec![one],
            ));
            let (low, high) = (add_first(base(), "name"), add_second(base(), "name"));
            let name = format!("{second} over {first} below");
            cases.push(Case::new(name, End::Unpacked, vec![low, high]));
            let child = add_second(add_first(base(), "name"), "name/child");
            let name = format!("{second} in a {first}");
            cases.push(Case::new(name, End::Either, vec![child]));
        }
    }
    cases
}
