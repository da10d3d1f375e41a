//! A limit on the size of files (`ulimit -f`) is an error with a hint, and no death by SIGXFSZ.

use crate::bench::{Bench, Run};
use crate::oci;
use crate::tarball::LayerBuilder;
use support::program;

/// Runs the command where a file may have 100 blocks, of 512 or 1024 bytes.
fn limited(bench: &Bench, arguments: &str, input: &[u8]) -> Run {
    let mut command = program::shell(format!("ulimit -f 100; exec \"$0\" {arguments}"));
    Run::with_input(command.current_dir(bench.path(".")), input)
}

fn is_an_error(run: &Run, words: &str) {
    run.fails(1, &[words, "file too large"]);
    assert!(run.hint().contains("ulimit -f"), "{run:?}");
}

#[test]
fn a_file_of_the_image_is_too_large() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .file("small", 0o644, "")
        .file("large", 0o644, vec![1; 1 << 20])
        .finish();
    let archive = oci::docker_archive("image:1", std::slice::from_ref(&layer));
    bench.write("image.tar", &archive);
    bench.write("layer.tar", &layer);
    let options = "--userxattr --owners=caller --sync=none";
    let unpack = format!("--store store unpack image.tar {options}");
    is_an_error(&limited(&bench, &unpack, b""), "large: writing its data");
    assert_eq!(bench.layers_in_store(), 0);
    let unpack = format!("unpack-layer layer.tar out {options}");
    is_an_error(&limited(&bench, &unpack, b""), "large: writing its data");
    assert!(!bench.path("out").exists());
    // What comes through a pipe is written to a temporary file first.
    let unpack = format!("--store store unpack - {options}");
    is_an_error(
        &limited(&bench, &unpack, &archive),
        "writing a temporary file",
    );
}
