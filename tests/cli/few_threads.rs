//! `ulimit -u`: each verb does its work with the threads that the system grants it, down to none.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::bench::Bench;
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;
use support::dice::noise;
use support::granted::Granted;
use support::program::{self, Run};

/// More than any run of this image starts at a time.
const ENOUGH: usize = 12;

/// A bench, and the command with few threads.
struct Few {
    bench: Bench,
    granted: Granted,
}

impl Few {
    fn new() -> Option<Few> {
        let bench = Bench::new();
        let granted = Granted::new(program::path(), &bench.path("."))?;
        Some(Few { bench, granted })
    }

    /// Runs a verb that gets no more than so many threads besides its first.
    fn run(&self, threads: usize, arguments: &str) -> Run {
        let mut command = self.granted.command(threads);
        command.args(arguments.split(' '));
        Run::of(command.current_dir(self.bench.path(".")))
    }
}

/// Layers that have stages and writers on threads of their own; the third is read twice, for a hard
/// link to a file of the first.
fn write_image(bench: &Bench, name: &str, count: u64) {
    let layer = |number: u64| {
        let mut layer = LayerBuilder::new().dir("d", 0o755);
        for file in 0..8 {
            let bytes = noise(number * 100 + file, 100_000);
            layer = layer.file(format!("d/{number}-{file}"), 0o644, bytes);
        }
        if number == 2 {
            layer = layer.hardlink("d/link", "d/0-0");
        }
        layer.finish()
    };
    let kinds = [Compression::Gzip, Compression::Plain, Compression::Zstd];
    let layers: Vec<_> = (0..count)
        .map(|number| (layer(number), kinds[number as usize % 3]))
        .collect();
    oci::write_layout(&bench.path(name), "1", &layers);
}

/// What is below a directory: paths, modes and contents.
fn contents(directory: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_path_buf()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(at).expect("a directory") {
            let path = entry.expect("an entry").path();
            let metadata = fs::symlink_metadata(&path).expect("it is there");
            let bytes = match metadata.is_file() {
                true => fs::read(&path).expect("a file"),
                false => Vec::new(),
            };
            if metadata.is_dir() {
                todo.push(path.clone());
            }
            let name = path.strip_prefix(directory).expect("it is in it");
            found.push((name.into(), metadata.mode(), bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn a_store_is_the_same_whatever_threads_the_system_grants() {
    let Some(few) = Few::new() else {
        return;
    };
    let bench = &few.bench;
    write_image(bench, "image", 4);
    let unpack = "unpack oci:image --userxattr --owners=caller --sync=none";
    let mut first = None;
    for threads in 0..=ENOUGH {
        let run = few.run(threads, &format!("-j4 --store store {unpack}"));
        assert_eq!(run.status, 0, "{threads} threads: {run:?}");
        assert!(!run.stderr.contains("hint"), "{threads} threads: {run:?}");
        let made = contents(&bench.path("store/layers"));
        assert!(made.len() > 32, "{made:?}");
        assert!(
            *first.get_or_insert_with(|| made.clone()) == made,
            "{threads} threads"
        );
        let run = few.run(threads, "-j4 --store store verify --all");
        assert_eq!(run.status, 0, "{threads} threads: {run:?}");
        fs::remove_dir_all(bench.path("store")).expect("it is there");
    }
}

#[test]
fn verbs_do_without_any_thread() {
    let Some(few) = Few::new() else {
        return;
    };
    let bench = &few.bench;
    write_image(bench, "image", 3);
    write_image(bench, "grown", 1);
    let layer = LayerBuilder::new()
        .file("f", 0o644, noise(1, 400_000))
        .finish();
    bench.write("layer.tar.gz", Compression::Gzip.compress(&layer));
    fs::create_dir(bench.path("upper")).expect("a directory");
    bench.write("upper/f", noise(2, 400_000));
    few.granted.give_away(&bench.path("."));
    for verb in [
        "-j4 --store store unpack oci:image --userxattr --owners=caller --sync=none",
        "-j4 unpack-layer --base layer.tar.gz layer --userxattr --owners=caller",
        "-j4 translate layer.tar.gz translated",
        "-j4 pack upper --userxattr --base -o packed --compression zstd",
        "-j4 pack upper --userxattr --base --append oci:grown",
        "-j4 ls oci:image",
        "-j4 diff oci:image oci:grown",
        "-j4 export oci:image --format=composefs-dump",
        "-j4 flatten oci:image flat --owners=caller",
        "-j4 --store store stack oci:image",
        "-j4 --store store verify --all",
        "-j4 --store store images",
        "-j4 --store store rm image:1",
    ] {
        for threads in [0, 1, 3] {
            for made in ["layer", "translated", "packed", "flat"] {
                let path = bench.path(made);
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
            let run = few.run(threads, verb);
            // What is removed is not there a second time.
            if !verb.contains(" rm ") || threads == 0 {
                assert_eq!(run.status, 0, "{verb}, {threads} threads: {run:?}");
            }
        }
    }
}

/// `-j N`: N threads that take layers, four for their stages, and the first; a thread that has done its
/// work may be there a moment longer.
#[test]
fn jobs_bound_the_threads_of_a_run() {
    let bench = Bench::new();
    write_image(&bench, "image", 20);
    for (jobs, most) in [(1, 2), (2, 7), (16, 21)] {
        let store = format!("store{jobs}");
        let mut child = program::lowerdir()
            .args([&format!("-j{jobs}"), "--store", &store])
            .args(["unpack", "oci:image", "--userxattr", "--owners=caller"])
            .args(["--sync=none", "--quiet"])
            .current_dir(bench.path("."))
            .stdout(Stdio::null())
            .spawn()
            .expect("the command is there");
        let mut seen = 0;
        while child.try_wait().expect("it is ours").is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
            let status = status.unwrap_or_default();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Threads:"));
            seen = seen.max(line.map_or(0, |count| count.trim().parse().expect("a number")));
        }
        assert!(child.wait().expect("it is ours").success());
        assert!((2..=most + 2).contains(&seen), "-j{jobs}: {seen} threads");
    }
}
