//! Symbolic links out of the layer, and everything that could go through them; hard links out.

use crate::court::{Case, End};
use crate::tarball::{LayerBuilder, Meta};

type Through = (&'static str, fn(LayerBuilder) -> LayerBuilder);

const THROUGH: [Through; 14] = [
    ("write", |layer| {
        layer.file("out/file", 0o644, "overwritten")
    }),
    ("create", |layer| layer.file("out/new", 0o644, "created")),
    ("make a directory", |layer| layer.dir("out/newdir", 0o777)),
    ("change a directory", |layer| layer.dir("out/dir", 0o777)),
    ("change the target", |layer| layer.dir("out", 0o777)),
    ("set an xattr", |layer| {
        layer.dir("out/dir", Meta::new(0o755).xattr("user.a", "b"))
    }),
    ("change an owner", |layer| {
        layer.dir("out/dir", Meta::new(0o755).owner(1, 1))
    }),
    ("link from", |layer| {
        layer.file("f", 0o644, "").hardlink("out/newlink", "f")
    }),
    ("link to", |layer| {
        layer
            .hardlink("stolen", "out/file")
            .file("stolen", 0o600, "x")
    }),
    ("delete", |layer| layer.whiteout("out/file")),
    ("delete deep", |layer| layer.whiteout("out/dir/file")),
    ("empty", |layer| layer.opaque("out")),
    ("empty deep", |layer| layer.opaque("out/dir")),
    ("go on", |layer| {
        layer.symlink("out/dir", "/").file("out/dir/x", 0o644, "")
    }),
];

pub fn cases(canary: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let up = "../".repeat(30) + canary.trim_start_matches('/');
    for target in [canary, &up, "/", "..", "../../../canary"] {
        for (what, through) in THROUGH {
            let link = || LayerBuilder::new().symlink("out", target);
            let name = format!("{what} through a link to {target}");
            cases.push(Case::new(
                format!("{name}, in one layer"),
                End::Either,
                vec![through(link())],
            ));
            let layers = vec![link(), through(LayerBuilder::new())];
            cases.push(Case::new(format!("{name}, in two"), End::Either, layers));
        }
    }
    for target in [
        &*format!("{canary}/file"),
        &format!("{up}/file"),
        "../canary/file",
        "/etc/passwd",
    ] {
        let layer = LayerBuilder::new()
            .hardlink("stolen", target)
            .file("stolen", 0o600, "x");
        cases.push(Case::new(
            format!("a hard link to {target}"),
            End::Refused,
            vec![layer],
        ));
    }
    let swapped = LayerBuilder::new()
        .file("d/f", 0o644, "")
        .symlink("d", canary)
        .file("d/file", 0o644, "overwritten")
        .dir("d", 0o777);
    cases.push(Case::new(
        "a directory that becomes a link",
        End::Either,
        vec![swapped],
    ));
    let circle = LayerBuilder::new()
        .symlink("a", "b")
        .symlink("b", "a")
        .file("a/f", 0o644, "");
    cases.push(Case::new("links in a circle", End::Refused, vec![circle]));
    let mut chain = LayerBuilder::new();
    for number in 0..5000 {
        chain = chain.symlink(format!("l{number}"), format!("l{}", number + 1));
    }
    let chain = chain.file("l0/f", 0o644, "");
    cases.push(Case::new(
        "a chain of 5000 links",
        End::Refused,
        vec![chain],
    ));
    cases
}
