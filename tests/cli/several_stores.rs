//! Several stores, of which one is written to and the others are read; and one that can only be read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::{Layout, MANIFEST, named};
use crate::tarball::LayerBuilder;
use crate::touched::snapshot;
use support::program;

const UNPACK: [&str; 3] = ["--userxattr", "--owners=caller", "--sync=none"];

fn file(name: &str) -> Vec<u8> {
    LayerBuilder::new().file(name, 0o644, name).finish()
}

/// Two images with one lowest layer: `one` is in the store `low`, alone.
fn bench() -> Bench {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("images"));
    let image = |name: &str| {
        let manifest = layout.manifest(&[file("base"), file(name)]);
        named(layout.document(MANIFEST, &manifest), name)
    };
    layout.index(&[image("one"), image("two")]);
    unpack(&bench, &["low"], "one").lines();
    bench
}

fn on(bench: &Bench, stores: &[&str], arguments: &[&str]) -> Run {
    let stores = stores.iter().flat_map(|store| ["--store", store]);
    let arguments: Vec<&str> = stores.chain(arguments.iter().copied()).collect();
    bench.run(&arguments)
}

fn unpack(bench: &Bench, stores: &[&str], image: &str) -> Run {
    let image = format!("oci:images:{image}");
    on(bench, stores, &[&["unpack", &image][..], &UNPACK].concat())
}

/// The name of the store that each layer directory is in, topmost first.
fn places(bench: &Bench, directories: &[&str]) -> Vec<String> {
    let root = bench.path("").canonicalize().expect("it is there");
    let place = |directory: &&str| {
        let inside = Path::new(directory)
            .strip_prefix(&root)
            .expect("it is inside");
        let store = inside.iter().next().expect("a name");
        store.to_string_lossy().into_owned()
    };
    directories.iter().map(place).collect()
}

#[test]
fn layers_of_a_lower_store_are_used_and_not_unpacked_again() {
    let bench = bench();
    let before = snapshot(&bench.path("low"));
    for stores in [["top", "low"], ["./low/../top", "low"]] {
        let run = unpack(&bench, &stores, "two");
        assert_eq!(places(&bench, &run.lines()), ["top", "low"]);
        let run = on(&bench, &stores, &["stack", "oci:images:two"]);
        let line = run.lines()[0].to_string();
        let directories: Vec<&str> = line.split(':').collect();
        assert_eq!(places(&bench, &directories), ["top", "low"]);
    }
    assert_eq!(bench.names(Path::new("top/layers/sha256")).len(), 1);
    assert_eq!(snapshot(&bench.path("low")), before);
    let run = on(&bench, &["top"], &["stack", "oci:images:two"]);
    run.fails(1, &["layer 1", "not in the store"]);
}

#[test]
fn the_first_store_that_can_be_written_to_is_the_one() {
    let bench = bench();
    let run = unpack(&bench, &["low", "top"], "two");
    // `top` was not there, and is only read then.
    run.fails(1, &["opening the store top"]);
    unpack(&bench, &["top"], "one").lines();
    let before = snapshot(&bench.path("top"));
    let run = unpack(&bench, &["low", "top"], "two");
    assert_eq!(places(&bench, &run.lines()), ["low", "low"]);
    assert_eq!(snapshot(&bench.path("top")), before);
}

#[test]
fn images_are_listed_with_their_store() {
    let bench = bench();
    let run = on(&bench, &["low"], &["images"]);
    assert!(!run.stdout.contains("STORE"), "{run:?}");
    unpack(&bench, &["top", "low"], "two").lines();
    let run = on(&bench, &["top", "low"], &["images"]);
    let lines = run.lines();
    assert!(lines[0].contains("STORE") && lines.len() == 3, "{run:?}");
    for (line, store, name) in [
        (lines[2], "top", "images:two"),
        (lines[1], "low", "images:one"),
    ] {
        let path = bench.path(store).canonicalize().expect("it is there");
        let words: Vec<&str> = line.split_whitespace().collect();
        let ends = [words[0], words[words.len() - 1]];
        assert_eq!(ends, [name, path.to_str().expect("text")]);
    }
    let run = on(&bench, &["top", "low"], &["images", "--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
    assert_eq!(told["complete"], json!(true));
    assert!(told["store"].as_str().expect("a path").ends_with("/top"));
    let run = on(&bench, &["top"], &["images"]);
    assert!(run.lines()[1].ends_with("(incomplete)"), "{run:?}");
}

#[test]
fn only_the_store_that_is_written_to_loses_anything() {
    let bench = bench();
    let both = ["top", "low"];
    unpack(&bench, &both, "two").lines();
    let before = snapshot(&bench.path("low"));
    let run = on(&bench, &both, &["rm", "images:one"]);
    run.fails(
        1,
        &["images:one is in the store", "low, which is only read"],
    );
    assert_eq!(on(&bench, &both, &["prune"]).lines(), Vec::<&str>::new());
    assert_eq!(on(&bench, &both, &["rm", "images:two"]).lines().len(), 1);
    assert_eq!(bench.names(Path::new("top/layers/sha256")).len(), 0);
    assert_eq!(snapshot(&bench.path("low")), before);
    on(&bench, &both, &["rm", "images:two"])
        .fails(1, &["no image in the store is named images:two"]);
}

/// An image of the other store may have been unpacked on top of this one.
#[test]
fn layers_that_an_image_of_another_store_needs_stay() {
    let bench = bench();
    unpack(&bench, &["top", "low"], "two").lines();
    assert_eq!(
        on(&bench, &["low", "top"], &["rm", "images:one"])
            .lines()
            .len(),
        1
    );
    assert_eq!(bench.names(Path::new("low/layers/sha256")).len(), 1);
    on(&bench, &["top", "low"], &["stack", "oci:images:two"]).lines();
}

#[test]
fn verify_looks_into_every_store_and_repairs_one() {
    let bench = bench();
    let both = ["top", "low"];
    let run = unpack(&bench, &both, "two");
    let directories: Vec<String> = run.lines().iter().map(ToString::to_string).collect();
    let all = |stores: &[&str]| on(&bench, stores, &["verify", "--all"]);
    assert_eq!(all(&both).status, 0);
    assert!(all(&both).stderr.contains("3 layers"));

    let write = |directory: &str, name: &str| {
        fs::write(Path::new(directory).join(name), "changed").expect("a file");
    };
    write(&directories[0], "two");
    let repair = ["verify", "--repair", "oci:images:two", "--sync=none"];
    let run = on(&bench, &both, &repair);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.stdout.contains("/top: two: "), "{run:?}");
    assert_eq!(all(&both).status, 0);

    write(&directories[1], "base");
    let run = all(&both);
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.stdout.contains("/low: base: "), "{run:?}");
    let run = on(&bench, &both, &repair);
    assert_eq!(run.status, 1, "{run:?}");
    assert!(
        run.error()
            .contains("low is damaged, and that store is read-only"),
        "{run:?}"
    );
    let run = on(&bench, &both, &["verify", "--all", "--json", "--quiet"]);
    let told: Value =
        serde_json::from_str(run.stdout.lines().next().expect("a line")).expect("JSON");
    assert!(
        told["store"].as_str().expect("a path").ends_with("/low"),
        "{told}"
    );
}

#[test]
fn what_is_damaged_in_one_store_is_taken_from_the_next() {
    let bench = bench();
    let run = unpack(&bench, &["top"], "one");
    let top = Path::new(run.lines()[0])
        .parent()
        .expect("it is in one")
        .to_path_buf();
    fs::write(top.join("layer.json"), "{}").expect("a file");
    let run = on(&bench, &["top", "low"], &["stack", "oci:images:one"]);
    let line = run.lines()[0].to_string();
    let directories: Vec<&str> = line.split(':').collect();
    assert_eq!(places(&bench, &directories), ["low", "top"]);
    on(&bench, &["top"], &["stack", "oci:images:one"]).fails(1, &["layer.json"]);
}

#[test]
fn a_store_that_is_named_twice_is_one() {
    let bench = bench();
    let run = on(&bench, &["low", "./low", "low"], &["rm", "images:one"]);
    assert_eq!(run.lines().len(), 2);
}

#[test]
fn the_environment_names_stores_like_a_path() {
    let bench = bench();
    unpack(&bench, &["top", "low"], "two").lines();
    let images = |list: &str, arguments: &[&str]| {
        let mut command = program::lowerdir();
        command
            .args(arguments)
            .arg("images")
            .env("LOWERDIR_STORE", list);
        let output = command
            .current_dir(bench.path(""))
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout)
            .expect("text")
            .lines()
            .count()
    };
    assert_eq!(images("top:low", &[]), 3);
    assert_eq!(images("low", &[]), 2);
    assert_eq!(images("top:low", &["--store", "low"]), 2);
}

#[test]
fn what_would_mount_names_layers_of_every_store() {
    let bench = bench();
    // With a comma, its layers have to be named by short names.
    let both = ["to,p", "low"];
    unpack(&bench, &both, "two").lines();
    let mount = ["mount", "oci:images:two", "nowhere", "--print=cmd"];
    let run = on(&bench, &both, &mount);
    assert!(run.lines()[0].contains("cd "), "{run:?}");
    let files = || {
        let names = bench.names(Path::new("to,p/l"));
        let files = names
            .iter()
            .map(|name| bench.names(&Path::new("to,p/l").join(name)));
        let mut files: Vec<Vec<String>> = files.collect();
        files.sort();
        files
    };
    assert_eq!(files(), [["base"], ["two"]]);
    on(&bench, &both, &["prune"]).lines();
    assert_eq!(files(), [["base"], ["two"]]);

    unpack(&bench, &["top", "low"], "two").lines();
    let mount = ["mount", "oci:images:two", "/mnt", "--print=systemd"];
    let run = on(&bench, &["top", "low"], &mount);
    let [top, low] = ["top", "low"].map(|name| bench.path(name).canonicalize().expect("there"));
    let (top, low) = (top.display(), low.display());
    let line = format!("RequiresMountsFor=\"{top}\" \"{low}\"");
    assert!(run.lines().contains(&&*line), "{run:?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn a_store_that_is_read_is_not_that_of_everybody() {
    let bench = bench();
    unpack(&bench, &["top"], "two").lines();
    let images = || on(&bench, &["top", "low"], &["images"]);
    for mode in [0o720, 0o702, 0o777] {
        set_mode(&bench.path("low"), mode);
        let run = images();
        run.fails(1, &["other users may write to the store"]);
        assert!(run.hint().contains("700"), "{run:?}");
    }
    set_mode(&bench.path("low"), 0o755);
    let told = rustix::fs::statvfs(bench.path("low")).expect("it is there");
    if told.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID) {
        assert_eq!(images().status, 0);
    } else {
        let run = images();
        run.fails(1, &["other users may enter the store"]);
        assert!(run.hint().contains("nosuid"), "{run:?}");
    }
    fs::create_dir(bench.path("none")).expect("a directory");
    set_mode(&bench.path("none"), 0o700);
    on(&bench, &["top", "none"], &["images"]).fails(1, &["none is not a store"]);
}

/// As on a read-only medium, and without root.
#[test]
fn a_store_that_its_owner_cannot_write_to_is_read() {
    if rustix::process::geteuid().is_root() {
        // Root may write wherever the file system lets anybody: see integration/read_only_media.rs.
        return;
    }
    let bench = bench();
    let low = bench.path("low");
    for directory in [
        "",
        "layers",
        "layers/sha256",
        "images",
        "staging",
        "locks",
        "l",
    ] {
        set_mode(&low.join(directory), 0o500);
    }
    let before = snapshot(&low);
    for arguments in [
        &["stack", "oci:images:one"][..],
        &["images"],
        &["verify", "--all"],
        &["verify", "one"],
        &["inspect", "oci:images:one"],
        &[&["unpack", "oci:images:one"][..], &UNPACK].concat(),
        &["mount", "oci:images:one", "nowhere", "--print=cmd"],
        &[
            "export",
            "--format=containers-storage",
            "oci:images:one",
            "target",
        ],
    ] {
        let run = on(&bench, &["low"], arguments);
        assert_eq!(run.status, 0, "{run:?}");
    }
    let changed = [&["unpack", "oci:images:two"][..], &UNPACK].concat();
    for arguments in [&["rm", "images:one"][..], &["prune"], &changed] {
        let run = on(&bench, &["low"], arguments);
        run.fails(1, &["low can only be read"]);
        assert!(run.hint().starts_with("--store DIR"), "{run:?}");
    }
    // Behind it, one that can be written to.
    let run = unpack(&bench, &["low", "top"], "two");
    assert_eq!(places(&bench, &run.lines()), ["top", "low"]);
    assert_eq!(snapshot(&low), before);
}
