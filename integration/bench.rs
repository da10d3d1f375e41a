//! `make bench` on trees of a few files: whatever tools are installed, it ends with a table.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::program;
use tempfile::TempDir;

/// What the five corpora are made of; `app/node_modules/a` and `usr/share/doc` are taken apart by
/// the one with deletions.
const TREES: [(&str, &[&str]); 4] = [
    (
        "minbase",
        &["etc/motd", "usr/share/doc/a", "usr/share/doc/b"],
    ),
    ("dev", &["etc/motd", "usr/bin/cc", "usr/share/man/c"]),
    (
        "node",
        &["app/node_modules/a/index.js", "app/node_modules/b/index.js"],
    ),
    ("wheels", &["usr/local/lib/huge.so"]),
];

#[test]
fn the_benchmark_runs_on_a_tiny_corpus() {
    let site = TempDir::new().expect("a temporary directory");
    for (tree, files) in TREES {
        for file in files {
            let path = site.path().join("trees").join(tree).join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a new directory");
            fs::write(path, "contents").expect("a new file");
        }
    }
    if let Err(why) = can_mount(site.path()) {
        return crate::skip(&format!("the benchmark mounts an ext4 of its own: {why}"));
    }

    let table = bench(site.path(), "run");
    for row in [
        "| lowerdir |",
        "| tar + gzip |",
        "| tar + gzip, 2 at once |",
        "| twelve |",
    ] {
        assert!(table.contains(row), "no {row} in:\n{table}");
    }
    assert!(table.contains("blob digest, diff ID"), "{table}");
    assert!(!table.contains("failed"), "{table}");

    let figures = bench(site.path(), "micro");
    assert!(figures.contains("| settling 12 layers"), "{figures}");
}

/// Whether a file can be formatted and mounted here, as the benchmark does it.
fn can_mount(site: &Path) -> Result<(), String> {
    let script = "truncate -s 64M image; mkfs.ext4 -q image; mkdir fs; mount -o loop image fs; \
                  umount fs; rm -r image fs";
    done(Command::new("sh").args(["-ec", script]).current_dir(site)).map(drop)
}

fn bench(site: &Path, verb: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(verb).env_remove("README");
    command.envs([("RUNS", "1"), ("SCALE", "0.0001")]);
    command.env("BENCH_DIR", site);
    command.env("LOWERDIR", program::path());
    done(&mut command).unwrap_or_else(|why| panic!("{why}"))
}

/// Its standard output, if it ended well.
fn done(command: &mut Command) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        false => Err(format!("{status}\n{}", String::from_utf8_lossy(&stderr))),
    }
}
