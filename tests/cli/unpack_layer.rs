//! `unpack-layer`: one layer into one directory.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use crate::bench::{Bench, Run};
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;
use support::program;

const OPTIONS: [&str; 3] = ["--userxattr", "--owners=caller", "--sync=none"];

fn unpack(bench: &Bench, arguments: &[&str]) -> Run {
    bench.run(&[&["unpack-layer"], arguments, &OPTIONS].concat())
}

fn tar() -> Vec<u8> {
    LayerBuilder::new().file("d/f", 0o644, "x").finish()
}

fn is_whiteout(bench: &Bench, name: &str) -> bool {
    let found = fs::symlink_metadata(bench.path(name));
    found.is_ok_and(|found| found.file_type().is_char_device())
}

fn xattr(bench: &Bench, name: &str, xattr: &str) -> Option<Vec<u8>> {
    xattr::get(bench.path(name), xattr).unwrap()
}

#[test]
fn a_layer_is_read_from_a_file_in_every_compression() {
    let bench = Bench::new();
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        bench.write("blob", compression.compress(&tar()));
        let directory = format!("{compression:?}");
        let run = unpack(&bench, &["blob", &directory, "--base"]);
        assert!(run.lines().is_empty());
        assert!(
            run.stderr
                .contains(&format!("sha256:{}", oci::sha256(tar())))
        );
        assert_eq!(fs::read(bench.path(&directory).join("d/f")).unwrap(), b"x");
    }
}

#[test]
fn a_layer_is_read_from_a_pipe() {
    let bench = Bench::new();
    let arguments = [&["unpack-layer", "-", "out", "--base"], &OPTIONS[..]].concat();
    let run = bench.run_with_input(&arguments, &Compression::Gzip.compress(&tar()));
    assert!(run.lines().is_empty());
    assert_eq!(bench.names("".as_ref()), ["out"]);
    assert_eq!(bench.names("out/d".as_ref()), ["f"]);
}

#[test]
fn a_named_pipe_is_a_pipe_too() {
    let bench = Bench::new();
    bench.write("blob", tar());
    let script =
        "mkfifo pipe && { cat blob > pipe & } && exec \"$0\" unpack-layer pipe out --base \"$@\"";
    let output = program::shell(script)
        .args(OPTIONS)
        .current_dir(bench.path("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bench.names("out/d".as_ref()), ["f"]);
}

/// The second pass reads it again.
#[test]
fn a_layer_from_a_pipe_may_have_a_link_to_a_layer_below() {
    let bench = Bench::new();
    bench.write("blob", tar());
    unpack(&bench, &["blob", "below", "--base"]).lines();
    let upper = LayerBuilder::new().hardlink("g", "d/f").finish();
    let arguments = ["unpack-layer", "-", "out", "--lower", "below"];
    let run = bench.run_with_input(&[&arguments, &OPTIONS[..]].concat(), &upper);
    assert!(run.lines().is_empty());
    assert_eq!(fs::read(bench.path("out/g")).unwrap(), b"x");
}

#[test]
fn an_empty_directory_is_taken_and_others_are_not() {
    let bench = Bench::new();
    bench.write("blob", tar());
    fs::create_dir(bench.path("out")).unwrap();
    unpack(&bench, &["blob", "out"]).lines();
    let run = unpack(&bench, &["blob", "out"]);
    run.fails(1, &["out is not empty"]);
    assert!(run.hint().contains("absent or empty"));
    unpack(&bench, &["blob", "blob"]).fails(1, &["blob is not a directory"]);
    unpack(&bench, &["blob", "no/such/place"]).fails(1, &["no/such"]);
    assert_eq!(bench.names("".as_ref()), ["blob", "out"]);
}

#[test]
fn parents_are_given_topmost_first() {
    let bench = Bench::new();
    let layers = [
        LayerBuilder::new().dir("d", 0o700).file("d/f", 0o644, ""),
        LayerBuilder::new().dir("d", 0o711),
        LayerBuilder::new().whiteout("d/f").whiteout("d/none"),
    ];
    for (number, layer) in layers.into_iter().enumerate() {
        bench.write(&format!("blob{number}"), layer.finish());
    }
    unpack(&bench, &["blob0", "0", "--base"]).lines();
    unpack(&bench, &["blob1", "1", "--lower", "0"]).lines();
    unpack(&bench, &["blob2", "2", "--lower", "1", "--lower=0"]).lines();
    assert!(is_whiteout(&bench, "2/d/f"));
    assert_eq!(bench.names("2/d".as_ref()), ["f"]);
    let mode = fs::metadata(bench.path("2/d")).unwrap().permissions();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(mode.mode() & 0o7777, 0o711);
}

#[test]
fn without_parents_and_with_none_are_two_things() {
    let bench = Bench::new();
    bench.write("blob", LayerBuilder::new().whiteout("d/f").finish());
    unpack(&bench, &["blob", "base", "--base"]).lines();
    unpack(&bench, &["blob", "unknown"]).lines();
    assert!(bench.names("base/d".as_ref()).is_empty());
    assert!(is_whiteout(&bench, "unknown/d/f"));
    let origin = xattr(&bench, "unknown/d", "user.overlay.origin");
    assert_eq!(origin.as_deref(), Some(&b""[..]));
    assert_eq!(xattr(&bench, "base/d", "user.overlay.origin"), None);
}

#[test]
fn a_parent_that_is_missing_is_an_error() {
    let bench = Bench::new();
    bench.write("blob", tar());
    unpack(&bench, &["blob", "out", "--lower", "nowhere"]).fails(1, &["the parent nowhere"]);
    assert_eq!(bench.names("".as_ref()), ["blob"]);
}

#[test]
fn a_digest_is_checked() {
    let bench = Bench::new();
    let blob = Compression::Gzip.compress(&tar());
    bench.write("blob", &blob);
    let digest = |bytes: &[u8]| format!("--digest=sha256:{}", oci::sha256(bytes));
    let diff_id = |bytes: &[u8]| format!("--diff-id=sha256:{}", oci::sha256(bytes));

    let right = [digest(&blob), diff_id(&tar())];
    unpack(&bench, &["blob", "right", &right[0], &right[1]]).lines();
    unpack(&bench, &["blob", "out", &digest(&tar())]).fails(3, &["layer blob: ", "blob's digest"]);
    unpack(&bench, &["blob", "out", &diff_id(&blob)]).fails(3, &["layer blob: ", "diff ID"]);
    assert_eq!(bench.names("".as_ref()), ["blob", "right"]);
}

#[test]
fn a_sha512_digest_is_checked_too() {
    use sha2::Digest;
    let bench = Bench::new();
    bench.write("blob", tar());
    let hex = |bytes: &[u8]| -> String {
        let digest = sha2::Sha512::digest(bytes);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let right = format!("--digest=sha512:{}", hex(&tar()));
    unpack(&bench, &["blob", "right", &right]).lines();
    let wrong = format!("--digest=sha512:{}", hex(b""));
    unpack(&bench, &["blob", "wrong", &wrong]).fails(3, &["sha512:"]);
    assert_eq!(bench.names("".as_ref()), ["blob", "right"]);
}

#[test]
fn an_opaque_root_over_unknown_layers_is_refused_with_a_hint() {
    let bench = Bench::new();
    bench.write("blob", LayerBuilder::new().opaque("").finish());
    let run = unpack(&bench, &["blob", "out"]);
    run.fails(3, &["layer blob: ", "opaque"]);
    assert!(run.hint().contains("--lower"));
    assert_eq!(bench.names("".as_ref()), ["blob"]);
    unpack(&bench, &["blob", "out", "--base"]).lines();
}

#[test]
fn a_target_without_a_directory_part_is_in_the_current_directory() {
    let bench = Bench::new();
    bench.write("blob", tar());
    unpack(&bench, &["blob", "out/", "--base"]).lines();
    unpack(&bench, &["./blob", "./out2", "--base"]).lines();
    assert_eq!(bench.names("".as_ref()), ["blob", "out", "out2"]);
}

#[test]
fn the_options_of_the_translation_are_taken() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .whiteout("f")
        .file("stargz.index.json", 0o644, "{}")
        .chardev("zero", 0o600, (0, 0));
    bench.write("blob", layer.finish());
    let options = ["--whiteout=xattr", "--drop-estargz", "--device-zero=skip"];
    unpack(&bench, &[&["blob", "out"], &options[..]].concat()).lines();
    assert_eq!(bench.names("out".as_ref()), ["f"]);
    assert!(fs::metadata(bench.path("out/f")).unwrap().is_file());
    assert_eq!(xattr(&bench, "out", "user.overlay.opaque").unwrap(), b"x");
}

/// A killed run leaves a directory beside its target, which nobody holds a lock on any more.
#[test]
fn what_dead_runs_left_beside_the_target_is_removed_and_nothing_else() {
    let bench = Bench::new();
    bench.write("blob", tar());
    let alive = ".lowerdir-aaaaaaaaaaaaaaaa";
    for directory in [".lowerdir-0123456789abcdef/fs/d", alive, ".lowerdir-mine"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    for directory in [".lowerdir-0123456789abcdef", alive] {
        let only = fs::Permissions::from_mode(0o700);
        fs::set_permissions(bench.path(directory), only).unwrap();
    }
    bench.write(".lowerdir-fedcba9876543210", "no directory");
    let held = fs::File::open(bench.path(alive)).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    unpack(&bench, &["blob", "out", "--base"]).lines();
    assert_eq!(
        bench.names("".as_ref()),
        [
            alive,
            ".lowerdir-fedcba9876543210",
            ".lowerdir-mine",
            "blob",
            "out"
        ]
    );
}

/// What is below would be somewhere else: a deletion in it would be lost.
#[test]
fn a_parent_that_is_not_complete_is_refused_by_name() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("upper/moved")).unwrap();
    fs::create_dir_all(bench.path("base/moved")).unwrap();
    bench.write("base/moved/gone", "");
    bench.write("upper/changed", "x");
    let mark = |path: &str, name: &str| {
        xattr::set(bench.path(path), format!("user.overlay.{name}"), b"x").unwrap();
    };
    mark("upper/moved", "redirect");
    mark("upper/changed", "metacopy");
    for (layer, words) in [
        (
            LayerBuilder::new().whiteout("moved/gone"),
            ["layer upper: moved: ", "user.overlay.redirect"],
        ),
        (
            LayerBuilder::new().file("moved/new", 0o644, "x"),
            ["layer upper: moved: ", "user.overlay.redirect"],
        ),
        (
            LayerBuilder::new().hardlink("l", "changed"),
            ["layer upper: changed: ", "user.overlay.metacopy"],
        ),
    ] {
        bench.write("blob", layer.finish());
        let parents = ["--lower", "upper", "--lower", "base"];
        let run = unpack(&bench, &[&["blob", "out"], &parents[..]].concat());
        run.fails(3, &words);
        assert!(run.hint().contains("lowerdir pack"), "{run:?}");
        assert!(!bench.path("out").exists());
    }
    // What the layer does not touch may be elsewhere.
    bench.write("blob", LayerBuilder::new().file("f", 0o644, "").finish());
    unpack(&bench, &["blob", "out", "--lower", "upper"]).lines();
}
