//! A system that says no is an error with status 1 and a hint, in every verb, whatever it says: never
//! damage in the image, and never a result that is not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::bench::{Bench, Run};
use crate::layout::{Layout, MANIFEST, named};
use crate::oci;
use crate::tarball::LayerBuilder;
use support::program;

/// Every verb that opens files, with what it writes. `store` has the image.
const VERBS: &[(&str, &str)] = &[
    (
        "--store new unpack oci:image --userxattr --owners=caller",
        "",
    ),
    (
        "unpack-layer --base layer.tar new --userxattr --owners=caller",
        "new",
    ),
    (
        "unpack-layer layer.tar new --lower upper --userxattr --owners=caller",
        "new",
    ),
    ("translate layer.tar new", "new"),
    ("translate layer.tar old", "old"),
    ("translate layer.tar.gz old", "old"),
    ("pack upper --userxattr --base -o old", "old"),
    (
        "pack upper --userxattr --lower below -o old --compression zstd",
        "old",
    ),
    ("pack upper --userxattr --base --append oci:grown", ""),
    ("flatten oci:image new --owners=caller", "new"),
    ("flatten oci:image oci:grown:flat", ""),
    ("flatten image.tar oci:flat:flat", ""),
    ("flatten oci:image -", ""),
    ("convert upper --to user --dry-run", ""),
    ("ls oci:image", ""),
    ("ls image.tar.gz", ""),
    ("diff oci:image oci:image", ""),
    ("inspect oci:image", ""),
    ("export oci:image --format=mtree", ""),
    ("export oci:image --format=composefs-dump", ""),
    (
        "--store store export oci:image --format=containers-storage new",
        "",
    ),
    (
        "--store store bundle oci:image new --overlay=config -- /f",
        "new",
    ),
    ("--store store stack oci:image", ""),
    ("--store store images", ""),
    ("--store store verify --all", ""),
    ("--store store verify --all --quick", ""),
    ("--store store verify oci:image --repair", ""),
    ("--store store prune --dry-run", ""),
    ("--store store rm --dry-run image:1", ""),
    ("man --dir new", ""),
];

/// These open one file at a time, so the descriptor that loads the program is enough.
const ONE_IS_ENOUGH: [&str; 5] = [
    "ls oci:image",
    "diff oci:image oci:image",
    "inspect oci:image",
    "export oci:image --format=mtree",
    "export oci:image --format=composefs-dump",
];

fn bench() -> Bench {
    let bench = Bench::new();
    let low = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", 0o644, vec![7; 100_000])
        .file("f", 0o755, "f")
        .finish();
    let high = LayerBuilder::new().file("d/g", 0o644, "g").finish();
    bench.write("layer.tar", &low);
    bench.write("layer.tar.gz", oci::Compression::Gzip.compress(&low));
    let archive = oci::docker_archive("image:1", &[low.clone(), high.clone()]);
    bench.write("image.tar.gz", oci::Compression::Gzip.compress(&archive));
    bench.write("image.tar", archive);
    for name in ["image", "grown"] {
        let layout = Layout::new(bench.path(name));
        let manifest = layout.manifest(&[low.clone(), high.clone()]);
        layout.index(&[named(layout.document(MANIFEST, &manifest), "image:1")]);
    }
    let unpack = ["unpack", "oci:image", "--sync=none"];
    let unpack = [&unpack[..], &["--userxattr", "--owners=caller"]].concat();
    assert_eq!(bench.on_store(&unpack).status, 0);
    for directory in ["upper", "below", "tmp"] {
        fs::create_dir(bench.path(directory)).expect("a directory");
    }
    bench.write("upper/new", vec![7; 100_000]);
    bench
}

/// Runs a verb under a limit of the shell's.
fn limited(bench: &Bench, limit: &str, verb: &str) -> Run {
    let mut command = program::shell(format!("ulimit {limit} && exec \"$0\" -j1 {verb}"));
    command
        .current_dir(bench.path("."))
        .env("TMPDIR", bench.path("tmp"));
    Run::of(&mut command)
}

/// Puts `old` there, and takes away what an earlier run made.
fn prepare(bench: &Bench) {
    for directory in ["new", "flat"] {
        if bench.path(directory).is_dir() {
            let _ = Command::new("chmod")
                .args(["-R", "u+rwX"])
                .arg(bench.path(directory))
                .status();
            fs::remove_dir_all(bench.path(directory)).expect("it is ours");
        }
    }
    let _ = fs::remove_file(bench.path("new"));
    let old = bench.write("old", "old");
    fs::set_permissions(old, fs::Permissions::from_mode(0o600)).expect("its owner may");
}

/// A failed run says so, blames nobody, and leaves its output as it was.
fn is_told(bench: &Bench, verb: &str, output: &str, run: &Run, hint: &str) {
    let context = || format!("{verb}: {run:?}");
    assert_eq!(run.status, 1, "{}", context());
    for blame in [
        "damaged",
        "incomplete",
        "fetch the image",
        "was changed",
        "missing",
    ] {
        assert!(!run.stderr.contains(blame), "{blame}: {}", context());
    }
    assert!(run.stderr.contains("lowerdir: "), "{}", context());
    assert!(run.hint().contains(hint), "{}", context());
    match output {
        "old" => assert_eq!(fs::read(bench.path("old")).expect("it is there"), b"old"),
        "new" => assert!(
            fs::symlink_metadata(bench.path("new")).is_err(),
            "{}",
            context()
        ),
        _ => {}
    }
    // Removing a directory takes descriptors too: the next run in this place does it.
    let is_left = |name: &&String| name.starts_with('.') && !bench.path(name).is_dir();
    let names = bench.names(Path::new("."));
    let left: Vec<&String> = names.iter().filter(is_left).collect();
    assert!(left.is_empty(), "{left:?}: {}", context());
    assert!(bench.names(Path::new("tmp")).is_empty(), "{}", context());
}

#[test]
fn too_few_descriptors_are_no_damage() {
    let bench = bench();
    for (verb, output) in VERBS {
        let mut failed = 0;
        // Below that, the program cannot be loaded.
        for descriptors in 4..64 {
            prepare(&bench);
            let run = limited(&bench, &format!("-n {descriptors}"), verb);
            if run.status == 0 {
                break;
            }
            if run.status == 127 {
                continue;
            }
            failed += 1;
            is_told(&bench, verb, output, &run, "ulimit -n");
        }
        assert!(
            failed > 0 || ONE_IS_ENOUGH.contains(verb),
            "{verb} takes fewer descriptors than were left to it"
        );
        let run = bench.on_store(&["verify", "--all"]);
        assert_eq!(run.status, 0, "after {verb}: {run:?}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_no_damage() {
    let bench = bench();
    for (verb, output) in VERBS {
        prepare(&bench);
        // In blocks of 512 or 1024 bytes.
        let run = limited(&bench, "-f 20", verb);
        if run.status != 0 {
            is_told(&bench, verb, output, &run, "ulimit -f");
        }
    }
    for verb in ["translate layer.tar old", "flatten image.tar oci:flat:flat"] {
        prepare(&bench);
        assert_eq!(limited(&bench, "-f 20", verb).status, 1, "{verb}");
    }
}
