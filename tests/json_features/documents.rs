//! Every document that is kept has its members sorted, whatever cargo features serde_json has.

support::start!();

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::layout::Layout;
use support::program::Run;
use support::tarball::LayerBuilder;
use tempfile::TempDir;

fn run(directory: &Path, arguments: &[&str]) {
    let mut command = support::program::lowerdir();
    command.args(["--store", "store", "--progress=none"]);
    command.args(arguments).current_dir(directory);
    Run::of(&mut command).text().unwrap();
}

/// The documents below a directory.
fn documents(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            documents(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path)
            && text.starts_with(['{', '['])
        {
            found.push((path, text));
        }
    }
}

/// This crate's serde_json keeps the order of members, too.
fn is_sorted(document: &Value) -> bool {
    match document {
        Value::Array(elements) => elements.iter().all(is_sorted),
        Value::Object(members) => members.keys().is_sorted() && members.values().all(is_sorted),
        _ => true,
    }
}

#[test]
fn these_are_the_features() {
    let text = r#"{"b":1.10,"a":1}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(value.to_string(), text);
    assert!(!is_sorted(&value));
}

#[test]
fn the_members_of_every_document_are_sorted() {
    let place = TempDir::new().expect("a temporary directory");
    let path = place.path();
    let layout = Layout::new(path.join("image"));
    let layer = LayerBuilder::new()
        .dir("etc", 0o755)
        .file("etc/f", 0o644, "x");
    let layers = [layer.finish()];
    let mut config = support::oci::config(&support::oci::diff_ids(&layers));
    config["config"] = json!({ "Labels": { "z": "1", "a": "2" }, "Cmd": ["/x"] });
    config["z"] = serde_json::from_str(r#"{"b":1.10,"a":-0}"#).unwrap();
    layout.image(&layout.manifest_with_config(&layers, &config));

    let rootless = ["unpack", "oci:image", "--userxattr", "--owners=caller"];
    run(path, &rootless);
    run(path, &["bundle", "oci:image", "box", "--overlay=config"]);
    run(path, &["flatten", "oci:image", "oci:flat:1"]);
    run(
        path,
        &[
            "export",
            "--format=containers-storage",
            "oci:image",
            "storage",
        ],
    );
    fs::create_dir(path.join("upper")).unwrap();
    fs::write(path.join("upper/new"), "").unwrap();
    let pack = [
        "pack",
        "upper",
        "--userxattr",
        "--append",
        "oci:flat:1",
        "--tag=2",
    ];
    run(path, &pack);
    // The seals hold.
    run(path, &["verify", "--all"]);

    let mut own = Vec::new();
    documents(&path.join("image"), &mut own);
    for (directory, least) in [("store", 2), ("box", 1), ("flat", 5), ("storage", 2)] {
        let mut found = Vec::new();
        documents(&path.join(directory), &mut found);
        // The image's own documents are kept as they are.
        let is_own = |(_, text): &(PathBuf, String)| own.iter().any(|(_, known)| known == text);
        found.retain(|document| !is_own(document));
        assert!(found.len() >= least, "{directory}: {found:?}");
        for (path, text) in found {
            let document = serde_json::from_str(&text).expect("it was JSON");
            assert!(is_sorted(&document), "{}: {text}", path.display());
        }
    }
}
