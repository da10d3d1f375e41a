//! Markers that name the wrong thing, on every type that a marker can have.

use crate::court::{Case, End};
use crate::tarball::LayerBuilder;
use crate::types::TYPES;

pub fn cases(canary: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let base = || {
        LayerBuilder::new()
            .file("d/f", 0o644, "")
            .fifo("pipe", 0o644)
    };
    for (kind, add) in TYPES
        .into_iter()
        .filter(|(kind, _)| !["hard link", "whiteout"].contains(kind))
    {
        for (name, end) in [
            (".wh.", End::Refused),
            (".wh..", End::Refused),
            (".wh...", End::Refused),
            ("d/.wh.", End::Refused),
            ("d/.wh..", End::Refused),
            ("d/.wh...", End::Refused),
            (".wh..wh.plnk", End::Unpacked),
            (".wh..wh..opq", End::Unpacked),
            ("pipe/.wh..wh..opq", End::Unpacked),
            ("pipe/.wh.x", End::Unpacked),
        ] {
            let layers = vec![base(), add(LayerBuilder::new(), name)];
            cases.push(Case::new(format!("{kind} named {name}"), end, layers));
        }
    }
    for name in [
        &*format!("{canary}/file"),
        "../canary/file",
        "..",
        "d/../../canary",
    ] {
        let end = if name.starts_with('/') {
            End::Unpacked
        } else {
            End::Refused
        };
        let layers = || vec![base(), LayerBuilder::new().whiteout(name)];
        cases.push(Case::new(format!("a deletion of {name}"), end, layers()));
        let opaque = vec![base(), LayerBuilder::new().opaque(name)];
        cases.push(Case::new(format!("an emptying of {name}"), end, opaque));
    }
    for name in ["pipe/.wh..wh..opq", "pipe/.wh.x", "pipe/deep/.wh..wh..opq"] {
        let layer = base().file(name, 0o644, "");
        let name = format!("{name} behind a fifo of its own layer");
        cases.push(Case::new(name, End::Unpacked, vec![layer]));
    }
    let mut many = LayerBuilder::new();
    let deep = ["d"; 900].join("/");
    for number in 0..2000 {
        many = many.whiteout(format!("{deep}/{number}"));
    }
    let below = LayerBuilder::new().file(format!("{deep}/f"), 0o644, "");
    cases.push(Case::new(
        "2000 deletions at a depth of 900",
        End::Unpacked,
        vec![below, many],
    ));
    cases
}
