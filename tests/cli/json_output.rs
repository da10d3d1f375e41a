//! `--json`: one object on standard output, JSON lines on standard error, as lowerdir(1) says.

use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::layout::Layout;
use crate::tarball::LayerBuilder;

fn image(bench: &Bench) {
    let low = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/old", 0o644, "x")
        .file("gone", 0o644, "12345")
        .finish();
    let high = LayerBuilder::new()
        .opaque("d")
        .file("d/new", 0o644, "y")
        .whiteout("gone")
        .finish();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[low, high]));
}

fn result(run: &Run) -> Value {
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    serde_json::from_str(&run.stdout).expect("a JSON object")
}

fn events(run: &Run) -> Vec<Value> {
    let lines = run.stderr.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} is no JSON")))
        .collect()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(|key| &**key)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn unpack_tells_all_that_the_manual_promises() {
    let bench = Bench::new();
    image(&bench);
    let run = bench.unpack_with("oci:image", &["--json"]);
    let value = result(&run);
    assert_eq!(
        keys(&value),
        ["digest", "layers", "names", "platform", "seconds"]
    );
    assert_eq!(value["platform"], "linux/amd64");
    let layers = value["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let expected = [
        "bytes",
        "chain_id",
        "deletions",
        "diff_id",
        "digest",
        "directory",
        "entries",
        "opaque",
        "size",
        "warnings",
        "was_there",
    ];
    assert_eq!(keys(&layers[1]), expected);
    let counts = |layer: &Value| {
        ["entries", "bytes", "deletions", "opaque"].map(|key| layer[key].as_u64().unwrap())
    };
    assert_eq!(counts(&layers[0]), [3, 6, 0, 0]);
    assert_eq!(counts(&layers[1]), [3, 1, 1, 1]);
    // Lowest first here, topmost first in the text.
    let text = bench.unpack("oci:image");
    assert_eq!(layers[1]["directory"], text.lines()[0]);
    assert_eq!(layers[0]["diff_id"], layers[0]["chain_id"]);
    let again = result(&bench.unpack_with("oci:image", &["--json"]));
    assert_eq!(again["layers"][0]["was_there"], true);
}

#[test]
fn warnings_are_counted_with_their_first_path() {
    let bench = Bench::new();
    let zeros = LayerBuilder::new()
        .chardev("a", 0o600, (0, 0))
        .chardev("b", 0o600, (0, 0));
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[zeros.finish()]));
    let run = bench.unpack_with("oci:image", &["--json", "--device-zero=skip"]);
    let warnings = &result(&run)["layers"][0]["warnings"]["device-zero-skipped"];
    assert_eq!(
        (warnings["count"].as_u64(), &warnings["first"]),
        (Some(2), &"a".into())
    );
    let warning = events(&run)
        .into_iter()
        .find(|event| event["event"] == "warning");
    let message = warning.unwrap()["message"].as_str().unwrap().to_string();
    assert!(
        message.starts_with("2 x ") && message.contains("layer 1"),
        "{message}"
    );
}

#[test]
fn the_lines_on_standard_error_follow_each_layer() {
    let bench = Bench::new();
    image(&bench);
    for options in [&["--json"][..], &["--progress=json"]] {
        let bench = Bench::new();
        image(&bench);
        let events = events(&bench.unpack_with("oci:image", options));
        let of = |kind: &str, layer: u64| {
            let is_it = |event: &&Value| event["event"] == kind && event["layer"] == layer;
            events.iter().filter(is_it).count()
        };
        for layer in [1, 2] {
            assert_eq!((of("begin", layer), of("end", layer)), (1, 1), "{events:?}");
            assert!(of("read", layer) >= 1);
        }
        assert!(events.iter().any(|event| event["event"] == "sync"));
    }
    bench.unpack("oci:image");
    let there = events(&bench.unpack_with("oci:image", &["--json"]));
    assert_eq!(there.len(), 2);
    assert!(there.iter().all(|event| event["event"] == "was-there"));
}

#[test]
fn an_error_is_a_line_with_its_parts() {
    let bench = Bench::new();
    let bad = LayerBuilder::new()
        .chardev("dev/zero", 0o600, (0, 0))
        .finish();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[bad]));
    let run = bench.unpack_with("oci:image", &["--json"]);
    assert_eq!((run.status, &*run.stdout), (3, ""));
    let error = events(&run).pop().unwrap();
    let expected = [
        "entry", "event", "hint", "kind", "layer", "message", "status",
    ];
    assert_eq!(keys(&error), expected);
    assert_eq!(
        (&error["event"], &error["kind"]),
        (&"error".into(), &"refused".into())
    );
    assert_eq!(
        (&error["status"], &error["entry"]),
        (&3.into(), &"dev/zero".into())
    );
    assert!(error["layer"].as_str().unwrap().starts_with("1 (sha256:"));
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("--device-zero=skip")
    );
}

#[test]
fn stack_and_unpack_layer_speak_json_too() {
    let bench = Bench::with_store("s\u{e4}, \\");
    image(&bench);
    bench.unpack("oci:image");
    let store = bench.store().to_str().unwrap();
    let stack = result(&bench.run(&["--store", store, "stack", "oci:image", "--json"]));
    assert_eq!(
        keys(&stack),
        ["directories", "fits_one_page", "lowerdir", "userxattr"]
    );
    assert_eq!(stack["lowerdir"], bench.stack("oci:image").lines()[0]);
    assert_eq!(stack["directories"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&stack["userxattr"], &stack["fits_one_page"]),
        (&true.into(), &true.into())
    );

    bench.write(
        "layer.tar",
        LayerBuilder::new().file("f", 0o644, "abc").finish(),
    );
    let options = ["--base", "--userxattr", "--owners=caller", "--json"];
    let run = bench.run(&[&["unpack-layer", "layer.tar", "dir"][..], &options].concat());
    let layer = result(&run);
    let expected = [
        "bytes",
        "deletions",
        "diff_id",
        "digest",
        "directory",
        "entries",
        "opaque",
        "size",
        "warnings",
    ];
    assert_eq!(keys(&layer), expected);
    assert_eq!(
        (&layer["directory"], &layer["bytes"]),
        (&"dir".into(), &3.into())
    );
    assert_eq!(layer["digest"], layer["diff_id"]);
}

#[test]
fn quiet_says_nothing_but_errors() {
    let bench = Bench::new();
    image(&bench);
    let run = bench.unpack_with("oci:image", &["-q"]);
    assert_eq!((run.lines().len(), &*run.stderr), (2, ""));
    let run = bench.unpack_with("oci:image", &["-q", "--json"]);
    assert_eq!(run.stderr, "");
    result(&run);
    let run = bench.unpack_with("oci:nothing", &["-q"]);
    assert!(run.stderr.starts_with("lowerdir: "), "{run:?}");
}
