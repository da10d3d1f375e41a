//! `stack` prints one line: what follows `lowerdir=`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bench::{Bench, Run};
use crate::layout::Layout;
use crate::tarball::LayerBuilder;

fn image(bench: &Bench, layers: usize) {
    let layers: Vec<Vec<u8>> = (0..layers)
        .map(|number| LayerBuilder::new().file(format!("f{number}"), 0o644, ""))
        .map(LayerBuilder::finish)
        .collect();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers));
}

fn line(run: &Run) -> &str {
    let lines = run.lines();
    assert_eq!(lines.len(), 1);
    assert!(run.stdout.ends_with('\n'));
    lines[0]
}

#[test]
fn stack_is_the_output_of_unpack_joined_by_colons() {
    let bench = Bench::new();
    image(&bench, 3);
    let unpacked = bench.unpack("oci:image").lines().join(":");
    let run = bench.stack("oci:image");
    assert_eq!(line(&run), unpacked);
    assert_eq!(run.stderr, "note: mount it with the option userxattr\n");
}

#[test]
fn colons_commas_and_backslashes_are_escaped() {
    let bench = Bench::with_store("a:b,c\\d");
    image(&bench, 2);
    let unpacked = bench.unpack("oci:image");
    for path in unpacked.lines() {
        assert!(path.contains("a:b,c\\d/layers/"), "{path}");
        assert!(fs::metadata(path).unwrap().is_dir());
    }
    let escaped = unpacked
        .lines()
        .join("\n")
        .replace('\\', "\\\\")
        .replace(':', "\\:")
        .replace(',', "\\,")
        .replace('\n', ":");
    assert_eq!(line(&bench.stack("oci:image")), escaped);
}

#[test]
fn below_a_single_layer_stands_an_empty_directory() {
    let bench = Bench::new();
    image(&bench, 1);
    let unpacked = bench.unpack("oci:image");
    let run = bench.stack("oci:image");
    let (top, below) = line(&run).split_once(':').expect("two directories");
    assert_eq!(top, unpacked.lines()[0]);
    assert!(bench.names(Path::new(below)).is_empty());
    assert!(Path::new(below).starts_with(bench.store().canonicalize().unwrap()));
}

/// Overlayfs takes neither one directory without an upperdir, nor the same one twice.
#[test]
fn an_image_without_layers_is_two_empty_directories() {
    let bench = Bench::new();
    image(&bench, 0);
    bench.unpack("oci:image").lines();
    let run = bench.stack("oci:image");
    let directories: Vec<&str> = line(&run).split(':').collect();
    assert_eq!(directories.len(), 2, "{directories:?}");
    assert_ne!(directories[0], directories[1]);
    for directory in directories {
        assert!(bench.names(Path::new(directory)).is_empty());
    }
}

/// Rule N2 holds for it too: nobody describes the root.
#[test]
fn the_root_of_an_image_without_layers_is_0755_and_of_the_epoch() {
    let bench = Bench::new();
    image(&bench, 0);
    bench.unpack("oci:image").lines();
    let run = bench.stack("oci:image");
    let top = line(&run).split(':').next().expect("a directory");
    let found = fs::metadata(top).expect("it is there");
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o755, 0));
}

#[test]
fn a_line_longer_than_a_page_is_printed_with_a_warning() {
    let bench = Bench::with_store(&"s".repeat(200));
    image(&bench, 20);
    bench.unpack("oci:image").lines();
    let run = bench.stack("oci:image");
    assert!(line(&run).len() > 4096);
    assert!(run.stderr.contains("warning: "), "{}", run.stderr);
}

#[test]
fn stack_unpacks_nothing() {
    let bench = Bench::new();
    image(&bench, 2);
    bench.stack("oci:image").fails(1, &["there is no store at"]);
    assert!(!bench.store().exists());
}
