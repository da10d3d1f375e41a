//! `inspect`: what an image says of itself.

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::layout::Layout;
use crate::oci;
use crate::tarball::LayerBuilder;

/// An image with a history of three steps, of which one made no layer.
fn with_history(bench: &Bench) -> Vec<Vec<u8>> {
    let layers = vec![
        LayerBuilder::new()
            .file("a", 0o644, "a")
            .file("b", 0o644, "b")
            .finish(),
        LayerBuilder::new().whiteout("a").finish(),
    ];
    let mut config = oci::config(&oci::diff_ids(&layers));
    config["created"] = "2020-01-01T00:00:00Z".into();
    config["config"] = json!({ "Cmd": ["/bin/sh"], "User": "\u{1b}[31m", "Volumes": null });
    config["history"] = json!([
        { "created_by": "ADD a b /" },
        { "created_by": "CMD [\"/bin/sh\"]", "empty_layer": true },
        { "created_by": "RUN rm a", "created": "2020-01-01T00:00:00Z" },
    ]);
    let layout = Layout::new(bench.path("it"));
    layout.image(&layout.manifest_with_config(&layers, &config));
    layers
}

#[test]
fn inspect_tells_of_layers_and_of_the_steps_that_made_them() {
    let bench = Bench::new();
    let layers = with_history(&bench);
    let store = format!("--store={}", bench.store().display());
    let inspect = |options: &[&str]| {
        let run = bench.run(&[&["inspect", "oci:it", &store], options].concat());
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
        run.stdout
    };
    let object = |options: &[&str]| -> Value {
        let text = inspect(&[options, &["--json"]].concat());
        serde_json::from_str(&text).expect("an object")
    };
    let told = object(&[]);
    let (diff_ids, bytes) = (oci::diff_ids(&layers), layers[1].len());
    let expected = json!({
        "layer": 2, "digest": diff_ids[1], "diff_id": diff_ids[1],
        "chain_id": oci::chain_ids(&diff_ids)[1],
        "media_type": "application/vnd.oci.image.layer.v1.tar", "size": bytes,
        "directory": null, "entries": 1, "bytes": 0, "deletions": 1, "opaque": 0,
    });
    assert_eq!(told["layers"][1], expected);
    assert_eq!(told["history"][1]["layer"], Value::Null);
    assert_eq!(told["history"][2]["layer"], 2);
    assert_eq!(told["history"][2]["created_by"], "RUN rm a");
    assert_eq!(told["manifest"]["schemaVersion"], 2);
    assert_eq!(told["config"]["config"]["Cmd"][0], "/bin/sh");
    assert!(!bench.store().exists(), "looking makes no store");

    let unread = object(&["--no-read"]);
    assert_eq!(unread["layers"][0].get("entries"), None);
    assert_eq!(bench.unpack("oci:it").status, 0);
    let stored = object(&["--no-read"]);
    assert_eq!(stored["layers"][1]["deletions"], 1);
    let directory = stored["layers"][1]["directory"].as_str().expect("a path");
    assert!(directory.starts_with(bench.store().to_str().expect("text")));

    let text = inspect(&[]);
    for line in [
        "platform    linux/",
        "created     2020-01-01T00:00:00Z",
        "  Cmd       [\"/bin/sh\"]",
        "  holds     2 entries, 2 B",
        "  made by   RUN rm a",
        "step        CMD [\"/bin/sh\"]",
    ] {
        assert!(text.contains(&format!("\n{line}")), "no {line:?} in {text}");
    }
    assert!(
        !text.contains('\u{1b}') && !text.contains("Volumes"),
        "{text}"
    );
}

#[test]
fn inspect_does_without_a_blob() {
    let bench = Bench::new();
    let layers = with_history(&bench);
    let blob = format!("it/blobs/sha256/{}", oci::sha256(&layers[0]));
    std::fs::remove_file(bench.path(&blob)).expect("it was there");
    let run = bench.run(&["inspect", "oci:it"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("  size      the image lacks its blob\n"),
        "{run:?}"
    );
    assert!(!run.stdout.contains("holds"), "{run:?}");
}
