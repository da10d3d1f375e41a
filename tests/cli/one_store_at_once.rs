//! Several processes and one store: each layer is unpacked once, whoever comes first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use crate::bench::Bench;
use crate::layout::Layout;
use crate::tarball::LayerBuilder;
use support::program;

/// A layer that takes a while.
fn layer(name: &str, entries: usize) -> Vec<u8> {
    let files = 0..entries;
    let layer = files.fold(LayerBuilder::new(), |layer, number| {
        layer.file(format!("{name}/{number}"), 0o644, "")
    });
    layer.finish()
}

fn image(bench: &Bench, name: &str, layers: &[Vec<u8>]) {
    let layout = Layout::new(bench.path(name));
    layout.image(&layout.manifest(layers));
}

fn start(bench: &Bench, image: &str) -> Child {
    program::lowerdir()
        .args(["--store", bench.store().to_str().unwrap()])
        .args([
            "unpack",
            image,
            "--userxattr",
            "--owners=caller",
            "--sync=none",
        ])
        .arg("--progress=json")
        .current_dir(bench.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command is there")
}

/// The layers that a process has unpacked itself, and what it printed.
fn finish(child: Child) -> (usize, String) {
    let output = child.wait_with_output().expect("it ends");
    let events = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{events}");
    let stdout = String::from_utf8(output.stdout).expect("text");
    (events.matches(r#""event":"end""#).count(), stdout)
}

#[test]
fn processes_that_want_the_same_image_unpack_it_once() {
    let bench = Bench::new();
    image(
        &bench,
        "image",
        &[layer("a", 3000), layer("b", 3000), layer("c", 10)],
    );
    let children: Vec<Child> = (0..8).map(|_| start(&bench, "oci:image")).collect();
    let results: Vec<(usize, String)> = children.into_iter().map(finish).collect();
    assert_eq!(
        results.iter().map(|(unpacked, _)| unpacked).sum::<usize>(),
        3
    );
    assert!(results.iter().all(|(_, stdout)| *stdout == results[0].1));
    assert_eq!(bench.layers_in_store(), 3);
    assert!(bench.names(&bench.store().join("locks")).is_empty());
}

#[test]
fn images_that_share_layers_unpack_them_once() {
    let bench = Bench::new();
    let (a, b) = (layer("a", 3000), layer("b", 1000));
    image(&bench, "one", &[a.clone(), b.clone(), layer("c", 1000)]);
    image(&bench, "two", &[a.clone(), b, layer("d", 1000)]);
    image(&bench, "three", &[a]);
    let images = ["oci:one", "oci:two", "oci:three"].repeat(3);
    let children: Vec<Child> = images.iter().map(|image| start(&bench, image)).collect();
    let unpacked: usize = children.into_iter().map(|child| finish(child).0).sum();
    assert_eq!(unpacked, 4);
    assert_eq!(bench.layers_in_store(), 4);
}

/// Reads events up to the first of a kind.
fn wait_for(events: &mut BufReader<ChildStderr>, kind: &str) {
    let mut line = String::new();
    while !line.contains(&format!(r#""event":"{kind}""#)) {
        line.clear();
        assert_ne!(events.read_line(&mut line).unwrap(), 0, "no {kind}");
    }
}

#[test]
fn the_work_of_a_killed_process_is_taken_over() {
    let bench = Bench::new();
    image(&bench, "image", &[layer("a", 10), layer("b", 100_000)]);
    let mut first = start(&bench, "oci:image");
    // Nobody listens to the first one any more: it works on.
    wait_for(&mut BufReader::new(first.stderr.take().unwrap()), "read");
    let mut second = start(&bench, "oci:image");
    let mut events = BufReader::new(second.stderr.take().unwrap());
    wait_for(&mut events, "wait");
    first.kill().unwrap();
    first.wait().unwrap();
    wait_for(&mut events, "begin");
    std::io::copy(&mut events, &mut std::io::sink()).unwrap();
    assert!(second.wait().unwrap().success());
    // Who opens the store next removes what the dead one left.
    bench.stack("oci:image").lines();
    assert_eq!(bench.layers_in_store(), 2);
}

#[test]
fn the_locks_of_dead_processes_are_removed_and_no_others() {
    let bench = Bench::new();
    image(&bench, "image", &[layer("a", 1)]);
    finish(start(&bench, "oci:image"));
    let name = |digit: &str| format!("sha256-{}", digit.repeat(64));
    let (dead, alive) = (name("a"), name("b"));
    let locks = bench.store().join("locks");
    for name in [&dead, &alive] {
        fs::write(locks.join(name), "").unwrap();
    }
    let held = fs::File::open(locks.join(&alive)).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    bench.stack("oci:image").lines();
    assert_eq!(bench.names(&locks), [alive]);
}
