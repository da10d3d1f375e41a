//! Names that lead up, out, or nowhere, on every type, alone and before a layer that uses them.

use crate::court::{Case, End};
use crate::tarball::LayerBuilder;
use crate::types::TYPES;

pub fn cases(canary: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let up = "../".repeat(30) + canary.trim_start_matches('/');
    let out = [
        &*up,
        "..",
        "../x",
        "a/../x",
        "a/..",
        "a/../../x",
        "./../x",
        "a/./../x",
    ];
    for (kind, add) in TYPES {
        for name in out {
            let layer = add(LayerBuilder::new().file("base", 0o644, ""), name);
            cases.push(Case::new(
                format!("{kind} named {name}"),
                End::Refused,
                vec![layer, LayerBuilder::new().file("after", 0o644, "")],
            ));
        }
        // The root by other names: a directory may have them.
        for name in ["/", ".", "./", "/.", "//", "./."] {
            let layer = add(LayerBuilder::new().file("base", 0o644, ""), name);
            let second = LayerBuilder::new().file("after", 0o644, "");
            let end = match kind {
                "directory" => End::Unpacked,
                _ => End::Either,
            };
            let name = format!("{kind} named {name:?}");
            cases.push(Case::new(name, end, vec![layer, second]));
        }
        let absolute = format!("{canary}/file");
        let layer = add(LayerBuilder::new().file("base", 0o644, ""), &absolute);
        // A leading slash falls away: this is inside.
        cases.push(Case::new(
            format!("{kind} at the canary"),
            End::Unpacked,
            vec![layer],
        ));
    }
    let long = "n".repeat(256);
    let deep = ["d"; 10_000].join("/");
    for (name, path, end) in [
        ("a component of 256 bytes", &*long, End::Refused),
        ("a depth of 10,000", &deep, End::Limit),
        ("an empty name", "", End::Either),
        ("only slashes", "////", End::Either),
        ("a line end", "a\nb", End::Unpacked),
        ("an escape sequence", "\x1b[2J", End::Unpacked),
    ] {
        let layer = LayerBuilder::new().file(path, 0o644, "");
        cases.push(Case::new(name, end, vec![layer]));
    }
    cases
}
