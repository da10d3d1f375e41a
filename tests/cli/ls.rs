//! `ls`: the merged tree and single layers, without unpacking.

use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::layout::{Layout, damage};
use crate::tarball::{LayerBuilder, Meta};

/// Wednesday, 1 January 2020.
const TIME: i64 = 1_577_836_800;

fn at(mode: u32) -> Meta {
    Meta::new(mode).time(TIME, 0)
}

/// google/crfs issue 40: an opaque directory and a deletion, side by side.
pub fn crfs(bench: &Bench) {
    let low = LayerBuilder::new()
        .dir("etc", at(0o755))
        .file("etc/localtime", at(0o644), "utc\n")
        .dir("etc/network", at(0o755))
        .file("etc/network/interfaces", at(0o644), "lo\n")
        .file("etc/passwd", at(0o644), "root\n");
    let high = LayerBuilder::new()
        .dir("etc", at(0o755))
        .dir("etc/network", at(0o755))
        .file("etc/network/.wh..wh..opq", at(0), "")
        .file("etc/.wh.localtime", at(0), "")
        .file("etc/network/newfile", at(0o644), "new\n");
    image(bench, "crfs", vec![low, high]);
}

pub fn image(bench: &Bench, name: &str, layers: Vec<LayerBuilder>) {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(LayerBuilder::finish).collect();
    let layout = Layout::new(bench.path(name));
    layout.image(&layout.manifest(&layers));
}

fn names(run: &Run) -> Vec<String> {
    assert_eq!(run.status, 0, "{run:?}");
    let path = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a JSON object");
        let kind = match row["type"].as_str().expect("a type") {
            "deleted" => "!",
            _ => "",
        };
        format!("{kind}{}", row["path"].as_str().expect("text"))
    };
    run.stdout.lines().map(path).collect()
}

#[test]
fn the_example_of_crfs_issue_40() {
    let bench = Bench::new();
    crfs(&bench);
    let merged = bench.run(&["ls", "oci:crfs"]);
    assert_eq!(
        merged.stdout,
        "\
drwxr-xr-x 0:0               - 1970-01-01 00:00:00 - .
drwxr-xr-x 0:0               - 2020-01-01 00:00:00 2 etc
drwxr-xr-x 0:0               - 2020-01-01 00:00:00 2 etc/network
-rw-r--r-- 0:0               4 2020-01-01 00:00:00 2 etc/network/newfile
-rw-r--r-- 0:0               5 2020-01-01 00:00:00 1 etc/passwd
"
    );
    let layer = bench.run(&["ls", "oci:crfs", "--layer", "2"]);
    assert_eq!(
        layer.stdout,
        "\
drwxr-xr-x 0:0               - 1970-01-01 00:00:00 - .
drwxr-xr-x 0:0               - 2020-01-01 00:00:00 2 etc
deleted    -                 - 2020-01-01 00:00:00 2 etc/localtime
drwxr-xr-x 0:0               - 2020-01-01 00:00:00 2 etc/network (opaque)
-rw-r--r-- 0:0               4 2020-01-01 00:00:00 2 etc/network/newfile
"
    );
    assert_eq!((merged.stderr.as_str(), layer.stderr.as_str()), ("", ""));
}

#[test]
fn every_type_has_a_line_of_its_own() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .dir("dev", at(0o1777))
        .chardev("dev/null", at(0o666), (1, 3))
        .blockdev("dev/sda", Meta::new(0o660).owner(0, 6), (8, 0))
        .fifo("dev/pipe", Meta::new(0o600).time(-2, 500_000_000))
        .file("su", at(0o4755).xattr("security.capability", b"\x01\n"), "")
        .hardlink("sudo", "su")
        .symlink("to\nnowhere", "/a/\u{1b}[31m");
    image(&bench, "all", vec![layer]);
    let run = bench.run(&["ls", "oci:all", "--long"]);
    assert_eq!(
        run.stdout,
        "\
drwxr-xr-x 0:0               - 1970-01-01 00:00:00.000000000 - .
drwxrwxrwt 0:0               - 2020-01-01 00:00:00.000000000 1 dev
crw-rw-rw- 0:0             1,3 2020-01-01 00:00:00.000000000 1 dev/null
prw------- 0:0               - -2.500000000        1 dev/pipe
brw-rw---- 0:6             8,0 2021-02-12 00:00:00.000000000 1 dev/sda
-rwsr-xr-x 0:0               0 2020-01-01 00:00:00.000000000 1 su
    security.capability=\\x01\\x0a
-rwsr-xr-x 0:0               0 2020-01-01 00:00:00.000000000 1 sudo link to su
    security.capability=\\x01\\x0a
lrwxrwxrwx 0:0               - 2021-02-12 00:00:00.000000000 1 to\\x0anowhere -> /a/\\x1b[31m
"
    );
}

#[test]
fn a_path_is_looked_for_through_the_links_above_it() {
    let bench = Bench::new();
    let low = LayerBuilder::new()
        .dir("usr", at(0o755))
        .dir("usr/bin", at(0o755))
        .file("usr/bin/sh", at(0o755), "")
        .symlink("bin", "usr/bin");
    let high = LayerBuilder::new().file("bin/ls", at(0o755), "");
    image(&bench, "links", vec![low, high]);
    let ls = |arguments: &[&str]| {
        let all = [&["ls", "oci:links", "--json"], arguments].concat();
        names(&bench.run(&all))
    };
    assert_eq!(ls(&["/bin/sh"]), ["usr/bin/sh"]);
    assert_eq!(ls(&["./bin/"]), ["bin"]);
    assert_eq!(ls(&["usr/bin"]), ["usr/bin", "usr/bin/ls", "usr/bin/sh"]);
    assert_eq!(ls(&["--layer=2"]), [".", "usr", "usr/bin", "usr/bin/ls"]);
    assert_eq!(ls(&["--layer=2", "bin/ls"]), ["usr/bin/ls"]);
}

#[test]
fn a_deletion_can_be_asked_for() {
    let bench = Bench::new();
    crfs(&bench);
    let run = bench.run(&["ls", "oci:crfs", "--json", "--layer=2", "etc/localtime"]);
    assert_eq!(names(&run), ["!etc/localtime"]);
    let run = bench.run(&["ls", "oci:crfs", "etc/localtime"]);
    run.fails(1, &["etc/localtime: there is no such path in the image"]);
    let run = bench.run(&["ls", "oci:crfs", "--layer=2", "etc/passwd"]);
    run.fails(1, &["etc/passwd: there is no such path in the image"]);
    assert_eq!(run.hint(), "leave out --layer to search all layers");
}

#[test]
fn deletions_stand_only_where_there_is_something_to_delete() {
    let bench = Bench::new();
    let low = LayerBuilder::new()
        .file("a/b/c/deep", at(0o644), "")
        .file("gone/x", at(0o644), "");
    let high = LayerBuilder::new()
        .file("a/b/c/.wh.deep", at(0), "")
        .file("a/.wh.nothing", at(0), "")
        .file("gone/.wh.x", at(0), "")
        .file(".wh.gone", at(0), "");
    image(&bench, "deep", vec![low, high]);
    let run = bench.run(&["ls", "oci:deep", "--json", "--layer=2"]);
    assert_eq!(
        names(&run),
        [".", "a", "a/b", "a/b/c", "!a/b/c/deep", "!gone"]
    );
}

#[test]
fn a_number_that_no_layer_has_is_an_error() {
    let bench = Bench::new();
    crfs(&bench);
    image(&bench, "none", vec![]);
    let run = bench.run(&["ls", "oci:crfs", "--layer=3"]);
    run.fails(1, &["there is no layer 3"]);
    assert_eq!(
        run.hint(),
        "the image has layers 1 to 2, counted from the bottom"
    );
    bench
        .run(&["ls", "oci:crfs", "--layer=0"])
        .fails(1, &["there is no layer 0"]);
    bench
        .run(&["ls", "oci:none", "--layer=1"])
        .fails(1, &["there is no layer 1"]);
    assert_eq!(names(&bench.run(&["ls", "oci:none", "--json"])), ["."]);
}

#[test]
fn what_unpack_refuses_is_not_listed() {
    let bench = Bench::new();
    let zero = LayerBuilder::new().chardev("zero", at(0o600), (0, 0));
    image(&bench, "zero", vec![LayerBuilder::new(), zero]);
    let run = bench.run(&["ls", "oci:zero"]);
    run.fails(3, &["layer 2 (", "zero: a character device 0:0"]);
    assert_eq!(run.hint(), "--device-zero=skip leaves it out");
    let run = bench.run(&["ls", "oci:zero", "--json", "--device-zero=skip"]);
    assert_eq!(names(&run), ["."]);
    let link = LayerBuilder::new().hardlink("a", "b");
    image(&bench, "link", vec![link]);
    let run = bench.run(&["ls", "oci:link"]);
    run.fails(3, &["layer 1 (", "a: a hard link to b, which is neither"]);
    crfs(&bench);
    let blobs = std::fs::read_dir(bench.path("crfs/blobs/sha256")).expect("blobs");
    let largest = blobs.map(|blob| blob.expect("a blob").path());
    damage(
        &largest
            .max_by_key(|blob| blob.metadata().expect("a file").len())
            .expect("a blob"),
    );
    bench.run(&["ls", "oci:crfs"]).fails(3, &["layer "]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let bench = Bench::new();
    let layer = |number: usize| {
        LayerBuilder::new()
            .file(format!("of/{number}"), at(0o644), "")
            .file("last", at(0o644), number.to_string())
    };
    image(&bench, "many", (0..12).map(layer).collect());
    let one = bench.run(&["ls", "oci:many", "-j1"]);
    assert_eq!(one.stdout, bench.run(&["ls", "oci:many", "-j7"]).stdout);
    assert!(one.stdout.contains(" 12 last\n"), "{one:?}");
    assert!(one.stdout.contains("  4 of/3\n"), "{one:?}");
}

#[test]
fn an_archive_on_standard_input_is_listed() {
    let bench = Bench::new();
    let layer = LayerBuilder::new().file("a", at(0o644), "a").finish();
    let archive = crate::oci::docker_archive("it:latest", &[layer]);
    let run = bench.run_with_input(&["ls", "-", "--json"], &archive);
    assert_eq!(names(&run), [".", "a"]);
    assert!(!bench.store().exists(), "looking makes no store");
}
