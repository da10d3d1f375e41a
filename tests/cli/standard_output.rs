//! What becomes of output that nobody takes: a full device is an error with context, a closed pipe is the end.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::bench::{Bench, Run};
use crate::layout::Layout;
use crate::tarball::LayerBuilder;
use support::program;

/// Verbs that print, more than a pipe holds where it depends on the image.
const VERBS: &[&str] = &[
    "ls oci:image",
    "ls oci:image --json",
    "diff oci:image --layer=1",
    "diff oci:image --layer=1 --json",
    "inspect oci:image",
    "export --format=mtree oci:image",
    "export --format=composefs-dump oci:image",
    "flatten oci:image -",
    "images",
    "images --json",
    "stack oci:image --quiet",
    "man",
    "completions zsh",
    "help",
    "help mount",
    "--version",
];

fn bench() -> Bench {
    let bench = Bench::new();
    let mut layer = LayerBuilder::new();
    for number in 0..3_000 {
        layer = layer.file(format!("directory/{number}"), 0o644, "");
    }
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer.finish()]));
    bench.unpack("oci:image").lines();
    bench
}

fn command(bench: &Bench, verb: &str) -> Command {
    let mut command = program::lowerdir();
    command.args(verb.split(' ')).current_dir(bench.path(""));
    command.env("LOWERDIR_STORE", bench.store());
    command
}

#[test]
fn a_full_device_is_an_error_that_says_what_was_written() {
    let bench = bench();
    for verb in VERBS {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        let mut command = command(&bench, verb);
        let output = command
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb}: {told}");
        assert!(
            told.contains("standard output: no space left"),
            "{verb}: {told}"
        );
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let bench = bench();
    for verb in VERBS {
        let mut command = command(&bench, verb);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut first = [0];
        child
            .stdout
            .take()
            .expect("a pipe")
            .read_exact(&mut first)
            .expect("a byte");
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.is_empty(), "{verb}: {told}");
    }
    let run = Run::of(&mut command(&bench, "ls oci:image"));
    assert!(run.stdout.len() > 1 << 17, "it fits into a pipe");
}
