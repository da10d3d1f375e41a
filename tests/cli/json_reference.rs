//! `docs/json.md` documents every member that the verbs print, and they print every member that it
//! documents, of each type: checked in both directions. `integration/` does the same for what needs a
//! mount.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use support::program;
use support::reference::Reference;

use crate::bench::{Bench, Run};
use crate::layout::{Layout, MANIFEST, named};
use crate::oci;
use crate::tarball::{LayerBuilder, Meta};

/// Members that only `integration/` sees: mounting takes privilege.
const ELSEWHERE: [(&str, &str); 8] = [
    ("mount", ""),
    ("umount", ""),
    ("rm", "mounted[]"),
    ("rm", "pinned[]"),
    ("prune", "mounted[]"),
    ("prune", "pinned[]"),
    // `tests/registry` does.
    ("events", "`arrived`"),
    ("events", "`retry`"),
];

/// A directory whose name is UTF-8, or is not; its path replaces each `@` in what is run.
struct Place<'a> {
    bench: &'a Bench,
    name: &'static [u8],
    reference: &'a Reference,
}

impl Place<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.bench
            .path(".")
            .join(OsStr::from_bytes(self.name))
            .join(name)
    }

    fn words(&self, line: &str) -> Vec<OsString> {
        let word = |word: &str| {
            let parts: Vec<&[u8]> = word.split('@').map(str::as_bytes).collect();
            OsString::from_vec(parts.join(self.name))
        };
        let fixed = ["--store", "@/store", "--json", "--progress=json"];
        fixed.into_iter().chain(line.split(' ')).map(word).collect()
    }

    fn run(&self, line: &str) -> Run {
        let run = self.bench.run(&self.words(line));
        for event in run.stderr.lines() {
            self.reference.check("events", &parsed(event));
        }
        run
    }

    /// Runs a verb, and checks each line that it prints.
    fn check(&self, line: &str) -> Vec<Value> {
        let run = self.run(line);
        assert!([0, 3].contains(&run.status), "{run:?}");
        let section = line.split(' ').next().expect("a verb");
        let lines: Vec<Value> = run.stdout.lines().map(parsed).collect();
        lines
            .iter()
            .for_each(|line| self.reference.check(section, line));
        lines
    }

    /// Runs a verb whose result is an event, and another that fails.
    fn check_events(&self, line: &str, status: i32) {
        let run = self.run(line);
        assert_eq!(run.status, status, "{run:?}");
    }

    /// Runs a verb while something has locked a file, up to its event `wait`.
    fn check_wait(&self, line: &str, lock: &str) {
        let lock = File::create(self.path(lock)).or_else(|_| File::open(self.path(lock)));
        let lock = lock.expect("a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("it is free");
        let mut command = program::lowerdir();
        command
            .args(self.words(line))
            .current_dir(self.bench.path("."));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command is there");
        let stderr = child.stderr.take().expect("a pipe");
        for event in BufReader::new(stderr).lines() {
            let event = parsed(&event.expect("text"));
            self.reference.check("events", &event);
            if event["event"] == "wait" {
                flock(&lock, FlockOperation::Unlock).expect("it is locked");
            }
        }
        assert!(child.wait().expect("it ends").success());
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} is no JSON"))
}

/// An image with everything that `ls` and `diff` show of a path.
fn rich(place: &Place<'_>) {
    let low = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/x", 0o644, "")
        .file(
            "f",
            Meta::new(0o644)
                .xattr("user.k", "v")
                .xattr(b"user.\xff", b"\xfe"),
            "one",
        )
        .file(b"\xff", 0o644, "")
        .hardlink("g", "f")
        .hardlink(b"\xff\xff", b"\xff")
        .symlink("s", "f")
        .symlink("t", b"\xff")
        .chardev("c", 0o600, (1, 3));
    let high = LayerBuilder::new()
        .opaque("d")
        .file("d/y", 0o644, "")
        .file("f", 0o600, "two")
        .file(b"\xfe", 0o644, "")
        .whiteout("s");
    let layers = [low.finish(), high.finish()];
    let mut config = oci::config(&oci::diff_ids(&layers));
    let step = json!({
        "created": "2020-01-01T00:00:00Z", "created_by": "step", "author": "a", "comment": "c",
    });
    config["history"] = json!([step, { "empty_layer": true }, {}]);
    let layout = Layout::new(place.path("rich"));
    layout.image(&layout.manifest_with_config(&layers, &config));
}

/// Images for a store: two that share a layer, and one of a Docker archive.
fn simple(place: &Place<'_>) {
    let base = LayerBuilder::new()
        .file("f", 0o644, "x")
        .file(b"\xff", 0o644, "x")
        .chardev("zero", 0o600, (0, 0))
        .finish();
    let top = LayerBuilder::new()
        .file("top", 0o644, "y")
        .chardev(b"\xfe", 0o600, (0, 0))
        .finish();
    let layout = Layout::new(place.path("image"));
    let write = |layers: &[Vec<u8>], name: &str, created: Option<&str>| {
        let mut config = oci::config(&oci::diff_ids(layers));
        config["config"] = json!({ "Cmd": ["/f"], "Labels": { "run.oci.x": "y" } });
        config["created"] = created.into();
        named(
            layout.document(MANIFEST, &layout.manifest_with_config(layers, &config)),
            name,
        )
    };
    let dated = Some("2020-01-01T00:00:00Z");
    layout.index(&[
        write(&[base.clone(), top.clone()], "two", dated),
        write(std::slice::from_ref(&base), "one", None),
    ]);
    docker(place, &base);
    let foreign = |name: &[u8]| {
        let meta = Meta::new(0o644).xattr("com.apple.x", "v");
        LayerBuilder::new().file(name, meta, "x").finish()
    };
    let name = if place.name == b"plain" {
        &b"f"[..]
    } else {
        b"\xff"
    };
    fs::write(place.path("layer.tar"), foreign(name)).expect("a file");
    fs::write(place.path("base"), base).expect("a file");
    fs::write(place.path("top"), top).expect("a file");
}

/// An archive whose config does not say for which platform it is.
fn docker(place: &Place<'_>, layer: &[u8]) {
    let diff_ids = [format!("sha256:{}", oci::sha256(layer))];
    let config = json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["docker:1"], "Layers": ["l.tar"] }]);
    let archive = LayerBuilder::new()
        .file("c.json", 0o644, config.to_string())
        .file("l.tar", 0o644, layer)
        .file("manifest.json", 0o644, manifest.to_string());
    fs::write(place.path("docker.tar"), archive.finish()).expect("a file");
}

const UNPACK: &str = "--userxattr --owners=caller --sync=none --device-zero=skip";

fn store_verbs(place: &Place<'_>) {
    for image in [
        "oci:@/image:two",
        "oci:@/image:one",
        "@/docker.tar",
        "oci:@/image:one",
    ] {
        place.check(&format!("unpack {image} {UNPACK}"));
    }
    place.check("images");
    place.check("stack image:two");
    place.check("tag image:one docker:1 other");
    place.check("inspect image:one");
    place.check("inspect @/docker.tar --no-read");
    place.check("inspect oci:@/image:two");
    // A config.json is UTF-8, and so is what it names.
    let overlays: &[&str] = match place.name {
        b"plain" => &["config", "cmd", "script"],
        _ => &[],
    };
    for overlay in overlays {
        place.check(&format!(
            "bundle image:two @/{overlay} --sync=none --overlay={overlay}"
        ));
    }
    let storage = "--format=containers-storage --link=copy --name=a:1 --sync=none";
    place.check(&format!("export image:two @/storage {storage}"));
    place.check("export image:two @/stack.mstack --format=mstack --sync=none");
    place.check("verify --all --quick");
}

/// Changes what is in the store, and removes it.
fn damage_and_removal(place: &Place<'_>) {
    let two = place
        .check(&format!("unpack oci:@/image:two {UNPACK}"))
        .remove(0);
    let layer = |number: usize| {
        let chain = two["layers"][number]["chain_id"]
            .as_str()
            .expect("a digest");
        place
            .path("store/layers/sha256")
            .join(chain.trim_start_matches("sha256:"))
    };
    for name in [&b"f"[..], b"\xff"] {
        fs::remove_file(layer(0).join("fs").join(OsStr::from_bytes(name))).expect("a file");
    }
    fs::remove_file(layer(1).join("tree.zst")).expect("the listing");
    place.check("verify image:two");
    place.check("verify oci:@/image:two --repair --sync=none");
    place.check("rm image:one -n");
    place.check("rm other image:one docker:1 image:two --sync=none");
    let again = place
        .check(&format!("unpack oci:@/image:one {UNPACK}"))
        .remove(0);
    let digest = again["digest"]
        .as_str()
        .expect("a digest")
        .replace(':', "-");
    let record = place.path("store/images").join(digest).join("image.json");
    fs::write(record, "{").expect("a record");
    place.check("verify --all");
    // Layers of images that are forgotten.
    fs::remove_dir_all(place.path("store/images")).expect("it is there");
    place.check("prune --sync=none");
}

fn other_verbs(place: &Place<'_>) {
    for line in [
        "ls oci:@/rich",
        "ls oci:@/rich --layer=2",
        "diff oci:@/rich --layer=2",
        "flatten oci:@/rich @/flat --sync=none --owners=caller",
        "flatten oci:@/rich oci:@/flattened:v1 --sync=none",
        "pull oci:@/rich oci:@/copied:v1",
        "inspect oci:@/rich --no-read",
        "unpack-layer @/base @/layer --base --userxattr --owners=caller --device-zero=skip",
        "translate @/layer.tar @/overlay",
        "convert @/layer --from=user --to=oci",
    ] {
        place.check(line);
    }
    fs::create_dir(place.path("upper")).expect("a directory");
    let name: &[u8] = if place.name == b"plain" {
        b"s"
    } else {
        b"s\xff"
    };
    let socket = place.path("upper").join(OsStr::from_bytes(name));
    drop(UnixListener::bind(socket).expect("a socket"));
    place.check("pack @/upper -o @/packed");
    place.check("pack @/upper --append oci:@/flattened:v1");
}

fn events(place: &Place<'_>) {
    for line in [
        "flatten oci:@/rich -",
        "pack @/upper -o -",
        "translate @/layer.tar -",
    ] {
        place.check_events(line, 0);
    }
    for layer in ["base", "top"] {
        place.check_events(
            &format!("unpack-layer @/{layer} @/none --owners=caller --userxattr"),
            3,
        );
    }
    place.check_events("ls oci:@/none", 1);
    place.check_events("translate @/none @/new", 1);
    place.check_events("ls store:none --layer=0", 1);
    place.check_events("unpack oci:@/rich --owners=caller --userxattr", 0);
    place.check_wait("images", "store/locks");
}

#[test]
fn all_that_is_printed_is_documented_and_the_other_way_round() {
    let bench = Bench::new();
    let reference = Reference::read();
    for name in [&b"plain"[..], b"b\xff"] {
        let reference = &reference;
        let bench = &bench;
        let place = Place {
            bench,
            name,
            reference,
        };
        fs::create_dir(place.path("")).expect("a directory");
        rich(&place);
        simple(&place);
        store_verbs(&place);
        damage_and_removal(&place);
        other_verbs(&place);
        events(&place);
    }
    let is_elsewhere = |unseen: &&[String; 3]| {
        let is = |&(section, member): &(&str, &str)| {
            unseen[0] == section && (member.is_empty() || unseen[1..].iter().any(|it| it == member))
        };
        ELSEWHERE.iter().any(is)
    };
    let mut unseen = reference.unseen();
    unseen.retain(|unseen| !is_elsewhere(&unseen));
    assert!(
        unseen.is_empty(),
        "documented, but not printed: {unseen:#?}"
    );
}
