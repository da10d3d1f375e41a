//! No text of an image reaches a terminal as an order: every string of every document, and every
//! name in a layer, is hostile once, and every verb runs on it.

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::{INDEX, Layout, MANIFEST, named, on};
use crate::oci;
use crate::tarball::{LayerBuilder, Meta};
use crate::terminal::Terminal;

/// Sets a window's title, rings, ends the line, deletes, and begins a sequence in one byte.
const HOSTILE: &str = "\x1b]0;title\x07\r\n\t\x08\x7f\u{9b}31m";

fn hostile(text: &str) -> String {
    format!("{text}{HOSTILE}")
}

/// Copies of a document, each with one hostile string: a value, or a key of a map.
fn variants(document: &Value) -> Vec<Value> {
    match document {
        Value::String(text) => vec![hostile(text).into()],
        Value::Array(values) => {
            let at = |index: usize| {
                variants(&values[index]).into_iter().map(move |value| {
                    let mut copy = values.clone();
                    copy[index] = value;
                    Value::Array(copy)
                })
            };
            (0..values.len()).flat_map(at).collect()
        }
        Value::Object(members) => {
            let mut copies = Vec::new();
            for (name, value) in members {
                copies.extend(variants(value).into_iter().map(|value| {
                    let mut copy = members.clone();
                    copy.insert(name.clone(), value);
                    Value::Object(copy)
                }));
                let mut copy = members.clone();
                copy.insert(hostile(name), value.clone());
                copies.push(Value::Object(copy));
            }
            copies
        }
        _ => Vec::new(),
    }
}

fn layer() -> Vec<u8> {
    let meta = Meta::new(0o644).xattr("user.name", HOSTILE);
    LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", meta, "text")
        .file(format!("d/{}", HOSTILE.replace('/', "")), 0o644, "text")
        .symlink("d/link", HOSTILE)
        .finish()
}

fn config() -> Value {
    let mut config = oci::config(&oci::diff_ids([&layer()]));
    config["created"] = "2020-01-02T03:04:05Z".into();
    config["author"] = "author".into();
    config["variant"] = "v1".into();
    config["os.version"] = "1".into();
    config["config"] = json!({
        "User": "0",
        "Env": ["A=b"],
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c"],
        "WorkingDir": "/d",
        "Volumes": { "/d/volume": {} },
        "ExposedPorts": { "80/tcp": {} },
        "Labels": { "run.oci.label": "value" },
        "StopSignal": "SIGTERM",
    });
    config["history"] = json!([{ "created_by": "step", "comment": "comment" }]);
    config
}

/// The verbs that take an image, and those that show what the store remembers of it.
const VERBS: [&str; 20] = [
    "inspect IMAGE",
    "inspect IMAGE --json",
    "ls IMAGE -l",
    "ls IMAGE --json",
    "diff IMAGE IMAGE",
    "diff IMAGE --layer 1",
    "unpack IMAGE --userxattr --owners=caller --sync=none --progress=plain --verbose",
    "images",
    "images --json",
    "stack IMAGE",
    "mount IMAGE mnt --print=cmd",
    "mount IMAGE mnt --print=fstab",
    "mount IMAGE mnt --print=json",
    "mount IMAGE mnt --print=systemd",
    "bundle IMAGE box --sync=none",
    "verify --all",
    "export IMAGE --format mtree",
    "export IMAGE --format composefs-dump",
    "export IMAGE storage --format containers-storage --sync=none",
    "flatten IMAGE oci:flat:v1 --sync=none",
];

/// Those that read each document, or remember it: what the others say of an image that cannot be
/// opened, these say too.
const READERS: [&str; 5] = [
    "inspect IMAGE",
    "unpack IMAGE --userxattr --owners=caller --sync=none --progress=plain --verbose",
    "images",
    "bundle IMAGE box --sync=none",
    "export IMAGE storage --format containers-storage --sync=none",
];

/// Runs these verbs. A control character is anything but a line end.
fn is_harmless(bench: &Bench, image: &str, verbs: &[&str]) {
    for &verb in verbs {
        let words = verb.split(' ').map(|word| word.replace("IMAGE", image));
        let words: Vec<String> = words.collect();
        let run = bench.on_store(&words.iter().map(String::as_str).collect::<Vec<_>>());
        is_clean(&run, verb);
    }
    // Who runs it again finds nothing of it.
    for left in ["box", "store", "storage", "flat"] {
        drop(std::fs::remove_dir_all(bench.path(left)));
    }
}

fn is_clean(run: &Run, verb: &str) {
    assert!(!run.stderr.contains("panicked"), "{verb}: {run:?}");
    for text in [&run.stdout, &run.stderr] {
        let raw = text.chars().find(|one| one.is_control() && *one != '\n');
        assert_eq!(raw, None, "{verb}: {run:?}");
        let forged = text.lines().find(|line| line.starts_with('\t'));
        assert_eq!(forged, None, "{verb}: {run:?}");
    }
}

/// An index, a manifest and a config, of which `change` makes one hostile.
struct Documents {
    index: Value,
    manifest: Value,
    config: Value,
}

impl Documents {
    fn write(bench: &Bench, change: impl Fn(&mut Documents)) {
        let layout = Layout::new(bench.path("image"));
        let mut documents = Documents {
            config: config(),
            manifest: Value::Null,
            index: Value::Null,
        };
        change(&mut documents);
        documents.manifest = layout.manifest_with_config(&[layer()], &documents.config);
        documents.manifest["annotations"] = json!({ "key": "value" });
        documents.manifest["layers"][0]["urls"] = json!(["https://example.com/layer"]);
        change(&mut documents);
        let descriptor = layout.document(MANIFEST, &documents.manifest);
        let mut first = named(on(descriptor.clone(), "linux", "amd64", Some("v1")), "one");
        first["annotations"]["io.containerd.image.name"] = "example.com/one:1".into();
        first["platform"]["os.version"] = "1".into();
        first["platform"]["os.features"] = json!([]);
        let mut other = named(on(descriptor, "linux", "amd64", Some("v1")), "other");
        other["artifactType"] = "application/vnd.example".into();
        documents.index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [first, other],
        });
        change(&mut documents);
        bench.write("image/index.json", documents.index.to_string());
    }
}

#[test]
fn a_hostile_config_is_harmless() {
    for variant in variants(&config()) {
        let bench = Bench::new();
        Documents::write(&bench, |documents| documents.config = variant.clone());
        is_harmless(&bench, "oci:image", &READERS);
    }
}

#[test]
fn a_hostile_manifest_is_harmless() {
    let bench = Bench::new();
    let mut honest = Value::Null;
    Documents::write(&bench, |_| ());
    for entry in std::fs::read_dir(bench.path("image/blobs/sha256")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let document: Result<Value, _> = serde_json::from_slice(&bytes);
        honest = document
            .ok()
            .filter(|document| document.get("layers").is_some())
            .unwrap_or(honest);
    }
    for variant in variants(&honest) {
        let bench = Bench::new();
        Documents::write(&bench, |documents| {
            if !documents.manifest.is_null() {
                documents.manifest = variant.clone();
            }
        });
        is_harmless(&bench, "oci:image", &READERS);
    }
}

#[test]
fn a_hostile_index_is_harmless() {
    let bench = Bench::new();
    Documents::write(&bench, |_| ());
    let honest = std::fs::read(bench.path("image/index.json")).unwrap();
    let honest: Value = serde_json::from_slice(&honest).unwrap();
    for variant in variants(&honest) {
        bench.write("image/index.json", variant.to_string());
        // By no name, by one that is not there, for a platform that is not there.
        is_harmless(&bench, "oci:image", &READERS);
        for words in [
            &["inspect", "oci:image:none"][..],
            &["inspect", "oci:image:@1"],
            &["inspect", "oci:image", "--platform=s390x"],
            &[
                "inspect",
                &format!("oci:image:one@sha256:{}", "0".repeat(64)),
            ],
        ] {
            is_clean(&bench.on_store(words), &words.join(" "));
        }
    }
}

#[test]
fn a_hostile_docker_archive_is_harmless() {
    let bench = Bench::new();
    let config = config().to_string();
    let saved = |tag: &str| json!({ "Config": "config.json", "RepoTags": [tag], "Layers": ["a/layer.tar"] });
    for documents in [json!([saved("a:1")]), json!([saved("a:1"), saved("b:1")])] {
        for variant in variants(&documents) {
            let mut archive = LayerBuilder::new()
                .file("config.json", 0o644, &config)
                .file("a/layer.tar", 0o644, layer());
            for file in ["config.json", "a/layer.tar"] {
                archive = archive.symlink(hostile(file), file.rsplit('/').next().unwrap());
            }
            let archive = archive.file("manifest.json", 0o644, variant.to_string());
            bench.write("image.tar", archive.finish());
            is_harmless(&bench, "image.tar", &READERS);
            is_clean(&bench.on_store(&["inspect", "image.tar:none"]), "inspect");
        }
    }
}

/// An image all of whose texts are hostile that may be, and that opens all the same.
fn write_hostile(bench: &Bench) {
    let mut config = config();
    for member in ["author", "os.version"] {
        config[member] = HOSTILE.into();
    }
    for member in ["Env", "Entrypoint", "Cmd"] {
        config["config"][member] = json!([hostile("A=b")]);
    }
    config["config"]["Labels"] = json!({ hostile("run.oci.label"): HOSTILE });
    config["config"][HOSTILE] = HOSTILE.into();
    config["history"] = json!([{ "created_by": HOSTILE, "comment": HOSTILE }]);
    let layout = Layout::new(bench.path("image"));
    let mut manifest = layout.manifest_with_config(&[layer()], &config);
    manifest["annotations"] = json!({ HOSTILE: HOSTILE });
    let mut descriptor = named(layout.document(MANIFEST, &manifest), &hostile("name"));
    descriptor["platform"] = json!({ "os": hostile("os"), "architecture": HOSTILE });
    layout.index(&[descriptor]);
}

#[test]
fn every_verb_is_harmless_with_everything_hostile_at_once() {
    let bench = Bench::new();
    write_hostile(&bench);
    assert_eq!(bench.unpack("oci:image").lines().len(), 1, "it opens");
    is_harmless(&bench, "oci:image", &VERBS);
}

#[test]
fn hostile_names_are_harmless_on_a_terminal() {
    let bench = Bench::new();
    write_hostile(&bench);
    for verb in VERBS.into_iter().chain([
        "inspect IMAGE:none",
        "inspect IMAGE --platform=s390x",
        "unpack IMAGE --userxattr --owners=caller",
        "rm sha256:0000",
    ]) {
        let words = verb
            .split(' ')
            .map(|word| word.replace("IMAGE", "oci:image"));
        let words: Vec<String> = words.collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Bars move the cursor.
        words.push("--progress=plain");
        let words = match verb.contains("--progress") {
            true => &words[..words.len() - 1],
            false => &words,
        };
        let (screen, _) = Terminal::run(&bench, words, &[("NO_COLOR", "1")]).finish();
        let text = screen.replace("\r\n", "\n");
        let raw = text.chars().find(|one| one.is_control() && *one != '\n');
        assert_eq!(raw, None, "{verb}: {screen:?}");
    }
}

/// What the user types may end in a unit, too.
#[test]
fn no_control_character_is_printed_for_systemd_or_fstab() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer()]));
    bench.unpack("oci:image").lines();
    for target in ["/a\rb", "/a\nb", "/a\x1bb", "/a\x7fb", "/a\u{9b}b", "/a\tb"] {
        let run = bench.on_store(&["mount", "oci:image", target, "--print=systemd"]);
        run.fails(1, &["--print=systemd", "control characters"]);
        is_clean(&run, "--print=systemd");
        let run = bench.on_store(&["mount", "oci:image", target, "--print=json"]);
        assert_eq!(run.lines().len(), 1);
        is_clean(&run, "--print=json");
        let entry: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(entry["destination"], target);
    }
    let run = bench.on_store(&["mount", "oci:image", "/a\r\x1b\x7fb", "--print=fstab"]);
    assert!(
        run.lines()[0].starts_with("lowerdir /a\\015\\033\\177b overlay "),
        "{run:?}"
    );
}
