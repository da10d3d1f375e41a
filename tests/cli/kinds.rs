//! Each kind of failure, reached through the program: its name in JSON and its exit status.

use lowerdir::Kind;
use serde_json::Value;

use crate::bench::Bench;
use crate::oci::{self, Compression};
use crate::tarball::LayerBuilder;

/// Those that no run can be brought to here: there is no network; what is internal never happens; an
/// interruption is in `remove` and `terminal`.
const ELSEWHERE: [Kind; 3] = [Kind::Network, Kind::Internal, Kind::Cancelled];

/// What fails, with which kind.
const TABLE: [(Kind, u8, &[&str]); 8] = [
    (Kind::Refused, 3, &["unpack-layer", "outside.tar", "d"]),
    (
        Kind::Mismatch,
        3,
        &["unpack-layer", "layer.tar", "d", "--digest", NONE],
    ),
    (
        Kind::Limit,
        4,
        &["unpack-layer", "layer.tar", "d", "--max-entries=1"],
    ),
    (Kind::Usage, 2, &["unpack", "oci:image@sha256:12"]),
    (Kind::NotFound, 1, &["unpack", "oci:image:nowhere"]),
    (Kind::Conflict, 1, &["unpack-layer", "layer.tar", "full"]),
    (
        Kind::Unsupported,
        1,
        &["mount", "oci:image", "/a\tb", "--print=systemd"],
    ),
    (Kind::System, 1, &["unpack-layer", "nowhere.tar", "d"]),
];
const NONE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn each_kind_has_its_name_and_its_status() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .file("f", 0o644, "x")
        .dir("d", 0o755)
        .finish();
    let outside = LayerBuilder::new().file("../f", 0o644, "x").finish();
    bench.write("outside.tar", outside);
    bench.write("layer.tar", &layer);
    std::fs::create_dir_all(bench.path("full/d")).unwrap();
    oci::write_layout(
        &bench.path("image"),
        "latest",
        &[(layer, Compression::Plain)],
    );
    bench.unpack("oci:image").lines();
    for (kind, status, arguments) in TABLE {
        let store = bench.store().to_str().unwrap();
        let start = ["--store", store, "--progress=json"];
        let mut arguments = [&start[..], arguments].concat();
        if arguments.iter().any(|word| word.starts_with("unpack")) {
            arguments.extend(["--owners=caller", "--userxattr"]);
        }
        let run = bench.run(&arguments);
        let last = run.stderr.lines().last().unwrap_or_default();
        let event: Value = serde_json::from_str(last).unwrap_or_default();
        assert_eq!(event["kind"], kind.name(), "{arguments:?}: {run:?}");
        assert_eq!(event["status"], status, "{run:?}");
        assert_eq!(run.status, i32::from(status), "{run:?}");
    }
}

#[test]
fn no_kind_is_missing_from_the_table() {
    for kind in Kind::ALL {
        let is_known = ELSEWHERE.contains(&kind) || TABLE.iter().any(|(known, ..)| *known == kind);
        assert!(is_known, "{kind:?}");
    }
}
