//! What an error says: the layer, the path, what was being done, why it failed, what to do.

use crate::bench::Bench;
use crate::oci::{self, Compression};
use crate::tarball::{LayerBuilder, Meta};

fn image_with(bench: &Bench, second: LayerBuilder) -> String {
    let first = LayerBuilder::new().file("f", 0o644, "x").finish();
    let second = second.finish();
    let digest = oci::sha256(&second);
    let layers = [(first, Compression::Plain), (second, Compression::Plain)];
    oci::write_layout(&bench.path("image"), "latest", &layers);
    format!("layer 2 (sha256:{}…): ", &digest[..12])
}

#[test]
fn an_error_names_the_layer_and_the_path() {
    let bench = Bench::new();
    let second = LayerBuilder::new().hardlink("usr/bin/x", "usr/bin/y");
    let layer = image_with(&bench, second);
    let run = bench.unpack("oci:image");
    run.fails(3, &["usr/bin/y"]);
    let start = format!("{layer}usr/bin/x: ");
    assert!(run.error().starts_with(&start), "{}", run.error());
}

#[test]
fn an_error_has_a_hint_where_the_user_can_act() {
    let bench = Bench::new();
    let second = LayerBuilder::new().chardev("dev/zero", 0o600, (0, 0));
    let layer = image_with(&bench, second);
    let run = bench.unpack_with("oci:image", &["--progress=none"]);
    run.fails(3, &[&format!("{layer}dev/zero: ")]);
    assert!(run.hint().contains("--device-zero=skip"));
    assert_eq!(run.stderr.lines().count(), 2, "{run:?}");

    let run = bench.unpack_with("oci:image", &["--device-zero=skip"]);
    assert_eq!(run.lines().len(), 2);
    assert!(run.stderr.contains("warning: "), "{run:?}");
}

/// What the kernel refuses for its form is no fault of the system.
#[test]
fn a_malformed_acl_is_the_images_fault() {
    let name = "system.posix_acl_access";
    for value in ["1", "garbage", "\x02\0\0\0odd"] {
        let bench = Bench::new();
        let meta = Meta::new(0o644).xattr(name, value);
        let layer = image_with(&bench, LayerBuilder::new().file("d/f", meta, ""));
        let run = bench.unpack("oci:image");
        let expected = format!("{layer}d/f: xattr {name} has a malformed value");
        run.fails(3, &[&expected]);
    }
}

#[test]
fn names_in_errors_cannot_send_control_sequences() {
    let bench = Bench::new();
    let second = LayerBuilder::new().hardlink(b"a\x1b[31m\xff\n", "b\x07");
    image_with(&bench, second);
    let run = bench.unpack("oci:image");
    run.fails(3, &["a\\x1b[31m\\xff\\x0a: ", "b\\x07"]);
}

#[test]
fn of_two_bad_layers_the_lower_one_is_told() {
    let bad = |name: &str| LayerBuilder::new().hardlink(name, "nowhere").finish();
    for _ in 0..5 {
        let bench = Bench::new();
        let layers = [
            (bad("low"), Compression::Gzip),
            (bad("high"), Compression::Gzip),
        ];
        oci::write_layout(&bench.path("image"), "latest", &layers);
        bench.unpack("image").fails(3, &["layer 1 (", "low: "]);
        assert_eq!(bench.layers_in_store(), 0);
    }
}

#[test]
fn warnings_are_counted_not_repeated() {
    let bench = Bench::new();
    let with_xattr = Meta::new(0o644).xattr("user.a", "b");
    let second = (0..20).fold(LayerBuilder::new(), |layer, number| {
        layer.fifo(format!("p{number}"), with_xattr.clone())
    });
    image_with(&bench, second);
    let run = bench.unpack("oci:image");
    let warnings: Vec<_> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .collect();
    assert_eq!(warnings.len(), 1, "{run:?}");
    assert!(warnings[0].contains("20") && warnings[0].contains("p0"));
}

#[test]
fn quiet_says_nothing_but_errors() {
    let bench = Bench::new();
    image_with(&bench, LayerBuilder::new().file("g", 0o644, ""));
    let run = bench.unpack_with("oci:image", &["--quiet"]);
    assert_eq!(run.lines().len(), 2);
    assert_eq!(run.stderr, "");
    bench
        .unpack_with("oci:image:none", &["-q"])
        .fails(1, &["none"]);
}

#[test]
fn an_option_of_a_mount_that_cannot_be_chosen_is_a_usage_error() {
    let bench = Bench::new();
    for (option, words) in [
        ("volatle", "did you mean volatile?"),
        ("nosiud", "did you mean nosuid?"),
        ("redirectdir=on", "did you mean redirect_dir?"),
        ("zzz", "see the overlayfs options"),
        ("index", "index takes a value: on, off"),
        ("index=yes", "index takes on, off, not \"yes\""),
        ("volatile=on", "volatile takes no value"),
        ("lowerdir=/x", "the layers are those of the image"),
        ("upperdir=/x", "--upper names it"),
        ("workdir=/x", "--work names it"),
        ("userxattr", "as the layers in the store need it"),
        ("nosuid,,nodev", "there is no option"),
    ] {
        let run = bench.run(&["mount", "image", "target", "-o", option]);
        assert_eq!(run.status, 2, "{option}: {run:?}");
        assert!(run.stderr.contains(words), "{option}: {run:?}");
    }
}
