//! Names that no layer may spell, and that a symbolic link leads to all the same (rules N5 and W6):
//! every verb refuses them, with one status, and makes nothing.

use std::fs;

use crate::bench::Bench;
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

/// What links lead to, and what the error says of it.
fn targets() -> Vec<(String, &'static str)> {
    let marker = "a name that starts with .wh.";
    vec![
        (".wh.x".into(), marker),
        ("/d/.wh..wh..opq".into(), marker),
        ("d/.wh..wh.plnk/../d".into(), marker),
        (".wh.".into(), marker),
        ("x".repeat(300), "a name of over 255 bytes"),
        (
            format!("d/.wh.{}", "x".repeat(255)),
            "a name of over 255 bytes",
        ),
    ]
}

/// Layers in which a name goes through such a link, of the same layer and of the one below.
fn images(target: &str) -> Vec<Vec<Vec<u8>>> {
    let link = || {
        LayerBuilder::new()
            .file("g", 0o644, "g")
            .symlink("l", target)
    };
    vec![
        vec![link().file("l/f", 0o644, "f").finish()],
        vec![link().dir("l/d", 0o755).finish()],
        vec![link().hardlink("h", "l/g").finish()],
        vec![link().symlink("l/m", "g").finish()],
        vec![link().symlink("m", "l").file("m/f", 0o644, "f").finish()],
        vec![
            link().finish(),
            LayerBuilder::new().file("l/f", 0o644, "f").finish(),
        ],
        vec![
            link().finish(),
            LayerBuilder::new().hardlink("h", "l/g").finish(),
        ],
    ]
}

#[test]
fn n5_what_a_link_leads_to_is_refused_by_every_verb() {
    for (target, words) in targets() {
        for layers in images(&target) {
            let bench = Bench::new();
            let plain = layers
                .iter()
                .map(|layer| (layer.clone(), Compression::Plain));
            oci::write_layout(&bench.path("layout"), "1", &plain.collect::<Vec<_>>());
            let before = bench.names("".as_ref());
            let verbs: [&[&str]; 8] = [
                &[
                    "unpack",
                    "oci:layout:1",
                    "--owners=caller",
                    "--userxattr",
                    "--sync=none",
                ],
                &["ls", "oci:layout:1"],
                &["diff", "oci:layout:1", "oci:layout:1"],
                &[
                    "flatten",
                    "oci:layout:1",
                    "out",
                    "--owners=caller",
                    "--sync=none",
                ],
                &["flatten", "oci:layout:1", "-"],
                &["flatten", "oci:layout:1", "oci:new:1"],
                &["export", "--format=mtree", "oci:layout:1"],
                &["export", "--format=composefs-dump", "oci:layout:1"],
            ];
            for verb in verbs {
                let run = bench.on_store(verb);
                assert_eq!(run.status, 3, "{target} {verb:?} {run:?}");
                assert!(run.error().contains(words), "{target} {verb:?} {run:?}");
                assert!(run.stdout.len() <= 512, "{verb:?} {run:?}");
                assert!(!bench.path("out").exists());
            }
            if layers.len() > 1 {
                continue;
            }
            bench.write("layer.tar", &layers[0]);
            for verb in [
                &["translate", "layer.tar", "out"][..],
                &["unpack-layer", "layer.tar", "out", "--owners=caller"],
                &["unpack-layer", "layer.tar", "out", "--base", "--userxattr"],
            ] {
                bench.run(verb).fails(3, &[words]);
                assert!(!bench.path("out").exists());
            }
            fs::remove_file(bench.path("layer.tar")).unwrap();
            let mut after = bench.names("".as_ref());
            after.retain(|name| name != "store" && name != "new");
            assert_eq!(after, before);
        }
    }
}

/// Rule W6, in the other direction: an archive or a tree of overlayfs's form that has such a name.
#[test]
fn w6_a_name_that_would_become_a_deletion_is_refused_on_the_way_back() {
    let words = &["a name that starts with .wh."];
    let archives = [
        LayerBuilder::new().file(".wh.x", 0o644, ""),
        LayerBuilder::new().file("d/.wh.x/f", 0o644, ""),
        LayerBuilder::new().dir("d/.wh.x", 0o755),
        LayerBuilder::new().file("d/.wh..wh.plnk/f", 0o644, ""),
        LayerBuilder::new().hardlink("f", ".wh.x"),
        LayerBuilder::new().chardev("d/.wh.x", 0, (0, 0)),
    ];
    for archive in archives {
        let bench = Bench::new();
        bench.write("archive", archive.finish());
        let run = bench.run(&["translate", "--to=oci", "archive", "out"]);
        run.fails(3, words);
        assert_eq!(bench.names("".as_ref()), ["archive"]);
    }
    let bench = Bench::new();
    fs::create_dir_all(bench.path("upper/d/.wh.x")).unwrap();
    bench.write("upper/d/.wh.x/f", "f");
    bench
        .run(&["pack", "upper", "--userxattr", "-o", "out"])
        .fails(3, words);
    let convert = ["convert", "upper", "--from=user", "--to=oci"];
    bench.run(&convert).fails(3, words);
    assert_eq!(bench.names("".as_ref()), ["upper"]);
}

/// What the user adds to a tree is held to the same.
#[test]
fn n5_no_such_name_gets_into_a_flattened_tree() {
    let bench = Bench::new();
    let layer = LayerBuilder::new().symlink("l", ".wh.d").finish();
    oci::write_layout(&bench.path("layout"), "1", &[(layer, Compression::Plain)]);
    bench.write("file", "");
    for edit in [
        "--symlink=.wh.x=target",
        "--symlink=d/.wh.x/l=target",
        "--ensure-dir=d/.wh..wh..opq",
        "--replace=.wh.x=file",
        "--prefix=.wh.p/q",
        "--ensure-dir=l/d",
    ] {
        let run = bench.run(&["flatten", "oci:layout:1", "out", "--owners=caller", edit]);
        assert!([2, 3].contains(&run.status), "{run:?}");
        assert!(
            run.error().contains("a name that starts with .wh."),
            "{run:?}"
        );
        assert_eq!(bench.names("".as_ref()), ["file", "layout"]);
    }
}
