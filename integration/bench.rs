//! `make bench` on trees of a few files: whatever tools are installed, it ends with a table. So does the
//! table of costs on small images.

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

#[test]
fn the_table_of_costs_has_a_line_for_each_verb() {
    let site = TempDir::new().expect("a temporary directory");
    if let Err(why) = can_mount(site.path()) {
        return crate::skip(&format!("the benchmark mounts file systems: {why}"));
    }
    // Bounds are for a release build on images of full size.
    let shapes = [
        ("SCALE", "0.01"),
        ("SHAPES", "removed,refused entry,links to files below"),
    ];
    let Output { stdout, stderr, .. } = command(site.path(), "costs")
        .envs(shapes)
        .output()
        .expect("python3 can be started");
    let (table, errors) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    for row in [
        "| 3,000 hard links to files below | unpack | 0 |",
        "| 3,000 hard links to files below | ls | 0 |",
        "| 20 times 900 directories in each other, removed | rm | 0 |",
        "| 20 times 900 directories in each other, removed | prune | 0 |",
        "| 20 times 900 directories in each other, and then a refused entry | unpack | 3 |",
    ] {
        assert!(table.contains(row), "no {row} in:\n{table}{errors}");
    }
    let rows = table.lines().skip(2);
    let has_verdict = |row: &str| row.ends_with("| met |") || row.ends_with("| **missed** |");
    assert!(
        rows.clone().count() >= 6 && rows.clone().all(has_verdict),
        "{table}"
    );
}

#[test]
fn the_table_of_costs_fails_with_the_program() {
    let site = TempDir::new().expect("a temporary directory");
    let mut costs = command(site.path(), "costs");
    costs.envs([
        ("SCALE", "0.01"),
        ("SHAPES", "one file 20,000"),
        ("LOWERDIR", "/bin/false"),
    ]);
    let what = done(&mut costs).expect_err("nothing was measured");
    assert!(what.contains("exit status: 1"), "{what}");
}

/// Whether a file can be formatted and mounted here, as the benchmark does it.
fn can_mount(site: &Path) -> Result<(), String> {
    let script = "truncate -s 64M image; mkfs.ext4 -q image; mkdir fs; mount -o loop image fs; \
                  umount fs; rm -r image fs";
    done(Command::new("sh").args(["-ec", script]).current_dir(site)).map(drop)
}

fn bench(site: &Path, verb: &str) -> String {
    done(&mut command(site, verb)).unwrap_or_else(|why| panic!("{why}"))
}

fn command(site: &Path, verb: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(verb).env_remove("README");
    command.envs([("RUNS", "1"), ("SCALE", "0.0001")]);
    command.env("BENCH_DIR", site);
    command.env("LOWERDIR", program::path());
    command
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
