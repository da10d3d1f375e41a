//! `export` into a directory: an additional image store, and a mount stack.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::bench::{Bench, Run};
use crate::layout::{Layout, MANIFEST, named};
use crate::oci;
use crate::tarball::{LayerBuilder, Meta};

/// Two layers without opaque directories, which nobody but root could mark for mounts without
/// `userxattr`.
fn layers(top: &str) -> Vec<Vec<u8>> {
    let low = LayerBuilder::new()
        .dir("d", Meta::new(0o750).time(1_000_000_000, 0))
        .file("d/a", 0o640, "a")
        .hardlink("d/b", "d/a")
        .symlink("d/c", "nowhere")
        .file("gone", 0o644, "");
    let high = LayerBuilder::new().whiteout("gone").file(top, 0o644, top);
    vec![low.finish(), high.finish()]
}

/// A layout of images with these names, whose top layers have files of these names.
fn images(bench: &Bench, names: &[&str]) {
    let layout = Layout::new(bench.path("images"));
    let manifests = names.iter().map(|name| {
        let manifest = layout.manifest(&layers(&name.replace('/', "-")));
        named(layout.document(MANIFEST, &manifest), name)
    });
    layout.index(&manifests.collect::<Vec<_>>());
    for name in names {
        let image = format!("oci:images:{name}");
        let run = bench.on_store(&["unpack", &image, "--owners=caller", "--sync=none"]);
        assert_eq!(run.status, 0, "{run:?}");
    }
}

fn export(bench: &Bench, name: &str, options: &[&str]) -> Run {
    let image = format!("oci:images:{name}");
    let fixed = ["export", "--format=containers-storage", &image, "target"];
    bench.on_store(&[&fixed, options].concat())
}

fn list(bench: &Bench, name: &str) -> Value {
    let text = fs::read(bench.path("target").join(name)).expect("a list");
    serde_json::from_slice(&text).expect("JSON")
}

/// All that is in a directory: what files hold, and where links lead.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let shown = path.display().to_string();
        let kind = path.symlink_metadata().expect("it is there").file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            all.insert(shown, target.into_os_string().into_encoded_bytes());
        } else if kind.is_dir() {
            all.extend(contents(&path));
            all.insert(shown, Vec::new());
        } else if kind.is_file() {
            all.insert(shown, fs::read(&path).expect("a file"));
        } else {
            all.insert(shown, Vec::new());
        }
    }
    all
}

#[test]
fn layers_have_the_ids_links_and_lowers_that_storage_gives_them() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    let run = export(&bench, "it", &["--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");

    let diff_ids = oci::diff_ids(&layers("it"));
    let hex: Vec<&str> = diff_ids.iter().map(|id| &id["sha256:".len()..]).collect();
    let above = oci::sha256(format!("{}+{}", hex[0], hex[1]));
    assert_eq!(told["layers"], json!([hex[0], above]));
    assert_eq!(told["new_layers"], json!(2));
    assert_eq!(told["names"], json!(["localhost/it:latest"]));

    let overlay = bench.path("target/overlay");
    let read = |path: String| fs::read_to_string(overlay.join(path)).expect("a file");
    let (low, high) = (
        read(format!("{}/link", hex[0])),
        read(format!("{above}/link")),
    );
    assert_eq!((low.len(), high.len()), (26, 26));
    assert!(!overlay.join(hex[0]).join("lower").exists());
    assert_eq!(read(format!("{above}/lower")), format!("l/{low}"));
    let target = fs::read_link(overlay.join("l").join(&high)).expect("a link");
    assert_eq!(target, Path::new(&format!("../{above}/diff")));
    assert!(overlay.join("l").join(&low).join("d/a").is_file());

    let known = list(&bench, "overlay-layers/layers.json");
    assert_eq!(known[1]["parent"], json!(hex[0]));
    assert_eq!(known[1]["diff-digest"], json!(diff_ids[1]));
    let image = &list(&bench, "overlay-images/images.json")[0];
    assert_eq!(
        (&image["layer"], &image["id"]),
        (&json!(above), &told["id"])
    );
    let directory = format!(
        "overlay-images/{}/manifest",
        told["id"].as_str().expect("text")
    );
    assert_eq!(list(&bench, &directory)["schemaVersion"], json!(2));
    for lock in ["overlay-layers/layers.lock", "overlay-images/images.lock"] {
        assert_eq!(
            fs::read(bench.path("target").join(lock))
                .expect("a lock")
                .len(),
            64
        );
    }
    assert_eq!(
        bench.names(Path::new("target")),
        ["overlay", "overlay-images", "overlay-layers"]
    );
    let mode = fs::metadata(bench.path("target"))
        .expect("it is there")
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn several_images_share_a_directory_and_their_layers() {
    let bench = Bench::new();
    images(&bench, &["one", "two"]);
    export(&bench, "one", &[]).lines();
    let lock = || fs::read(bench.path("target/overlay-images/images.lock")).expect("a lock");
    let before = lock();
    let run = export(&bench, "two", &["--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
    assert_eq!(told["new_layers"], json!(1));
    assert_ne!(
        lock(),
        before,
        "a reader must see that there is something new"
    );
    assert_eq!(
        list(&bench, "overlay-layers/layers.json")
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    assert_eq!(
        list(&bench, "overlay-images/images.json")
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    // Once more is the same, but for the locks.
    let before = contents(&bench.path("target"));
    export(&bench, "two", &[]).lines();
    let after = contents(&bench.path("target"));
    let is_lock = |path: &String| path.ends_with(".lock");
    assert!(before.keys().eq(after.keys()));
    assert!(
        before
            .iter()
            .all(|(path, text)| is_lock(path) || after[path] == *text)
    );
}

#[test]
fn exports_at_once_into_a_new_directory_all_count() {
    let bench = Bench::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    images(&bench, &names);
    // One more fails where there are no reflinks, and takes nothing away from the others.
    std::thread::scope(|scope| {
        scope.spawn(|| export(&bench, "a", &["--link=reflink"]));
        for name in names {
            let bench = &bench;
            scope.spawn(move || export(bench, name, &[]).lines().len());
        }
    });
    let images = list(&bench, "overlay-images/images.json");
    assert_eq!(images.as_array().map(Vec::len), Some(names.len()));
    let layers = list(&bench, "overlay-layers/layers.json");
    assert_eq!(layers.as_array().map(Vec::len), Some(names.len() + 1));
}

/// Readers refuse a list in which two images have one name.
#[test]
fn a_name_goes_from_one_image_to_the_next() {
    let bench = Bench::new();
    images(&bench, &["one", "two"]);
    export(&bench, "one", &["--name=a/b:1", "--name=x.io/c"]).lines();
    export(&bench, "two", &["--name=a/b:1"]).lines();
    export(&bench, "two", &["--name=d"]).lines();
    let list = list(&bench, "overlay-images/images.json");
    assert_eq!(list[0]["names"], json!(["x.io/c:latest"]));
    assert_eq!(list[0]["names-history"], json!(["localhost/a/b:1"]));
    assert_eq!(
        list[1]["names"],
        json!(["localhost/a/b:1", "localhost/d:latest"])
    );
}

#[test]
fn a_name_of_no_use_is_left_out_or_refused() {
    let bench = Bench::new();
    images(&bench, &["It"]);
    let run = export(&bench, "It", &[]);
    run.lines();
    assert!(
        run.stderr.contains("warning: \"It\" is not an image name"),
        "{run:?}"
    );
    assert_eq!(
        list(&bench, "overlay-images/images.json")[0]["names"],
        json!([])
    );
    let run = export(&bench, "It", &["--name=UP"]);
    run.fails(2, &["\"UP\" is not an image name"]);
    assert!(run.hint().contains("small letters"), "{run:?}");
}

#[test]
fn hard_links_make_layers_of_their_own_without_data_of_their_own() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    let run = export(&bench, "it", &["--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
    let diff = |number: usize| {
        let id = told["layers"][number].as_str().expect("an ID");
        bench.path("target/overlay").join(id).join("diff")
    };
    assert!(diff(0).symlink_metadata().expect("it is there").is_dir());
    let run = bench.on_store(&["stack", "oci:images:it"]);
    let stored: Vec<&Path> = run.lines()[0].split(':').rev().map(Path::new).collect();
    for (number, stored) in stored.iter().enumerate() {
        assert!(contents(stored).len() > 1);
        let shown = |directory: &Path| -> BTreeMap<String, (u64, u32, i64)> {
            let prefix = directory.display().to_string();
            let paths = contents(directory).into_keys();
            let found = paths.map(|path| {
                let found = fs::symlink_metadata(&path).expect("it is there");
                let number = if found.is_dir() { 0 } else { found.ino() };
                (
                    path[prefix.len()..].into(),
                    (number, found.mode(), found.mtime()),
                )
            });
            found.collect()
        };
        assert_eq!(shown(&diff(number)), shown(stored));
    }
    // Another name of an inode is no change.
    let run = bench.on_store(&["verify", "--all"]);
    assert_eq!(run.status, 0, "{run:?}");
}

/// containers/storage mounts the directory above the layers with other ids: symbolic links lead out of it.
#[test]
fn layers_are_directories_by_default_and_what_was_links_becomes_so() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    let id = |run: Run| -> String {
        let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
        told["layers"][0].as_str().expect("an ID").into()
    };
    let diff = |id: &str| bench.path("target/overlay").join(id).join("diff");
    let run = export(&bench, "it", &["--json", "--link=symlink"]);
    assert!(!run.stderr.contains("warning"), "{run:?}");
    assert!(diff(&id(run)).is_symlink());
    for (options, new) in [(&[][..], 2), (&[], 0), (&["--link=symlink"], 0)] {
        let run = export(&bench, "it", &[&["--json"], options].concat());
        let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
        assert_eq!(told["new_layers"], json!(new), "{options:?}");
        let diff = diff(&id(run));
        assert!(!diff.is_symlink() && diff.join("d/a").is_file());
    }
}

/// Copies have inodes of their own, with the same attributes, links and holes.
#[test]
fn copies_are_files_of_their_own() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    let run = export(&bench, "it", &["--link=copy", "--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
    let id = told["layers"][0].as_str().expect("an ID");
    let copied = bench.path("target/overlay").join(id).join("diff");
    let run = bench.on_store(&["stack", "oci:images:it"]);
    let stored = Path::new(run.lines()[0].split(':').next_back().unwrap());
    let of = |directory: &Path, name: &str| {
        fs::symlink_metadata(directory.join(name)).expect("it is there")
    };
    for name in ["d/a", "d/c"] {
        let (copy, original) = (of(&copied, name), of(stored, name));
        assert_ne!(copy.ino(), original.ino());
        assert_eq!(
            (copy.mode(), copy.mtime(), copy.size(), copy.blocks()),
            (
                original.mode(),
                original.mtime(),
                original.size(),
                original.blocks()
            )
        );
    }
    assert_eq!(of(&copied, "d/a").ino(), of(&copied, "d/b").ino());
    assert_eq!(
        fs::read(copied.join("d/a")).unwrap(),
        fs::read(stored.join("d/a")).unwrap()
    );
}

/// What a reader makes of a tar-split and the layer directory: checksums are left to those who have
/// them, see integration/exporting.rs. Returns the archive, and the files that it is made of.
fn assembled(layer: &Path, tar_split: &Path) -> (Vec<u8>, Vec<String>) {
    let file = fs::File::open(tar_split).expect("a tar-split");
    let (mut archive, mut names) = (Vec::new(), Vec::new());
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    for (position, line) in lines.enumerate() {
        let part: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        assert_eq!(part["position"], json!(position));
        let bytes = |member: &str| {
            let text = part[member].as_str().expect("text");
            STANDARD.decode(text).expect("base 64")
        };
        if part["type"] == json!(2) {
            archive.extend(bytes("payload"));
            continue;
        }
        let name = match part["name"].as_str() {
            Some(name) => name.as_bytes().to_vec(),
            None => bytes("name_raw"),
        };
        let content = fs::read(layer.join(OsStr::from_bytes(&name))).expect("a file");
        assert_eq!(part["size"], json!(content.len()));
        assert_eq!(bytes("payload").len(), 8);
        archive.extend(content);
        names.push(String::from_utf8_lossy(&name).into_owned());
    }
    (archive, names)
}

#[test]
fn a_tar_split_gives_the_archive_back_and_holds_what_the_disk_does_not() {
    let bench = Bench::new();
    let big = |byte: u8| [vec![b'-'; 150_000], vec![byte; 50_000]].concat();
    let low = LayerBuilder::new()
        .file("usr/plain", 0o644, big(b'a'))
        .file("usr/twice", 0o644, big(b'b'))
        .file("usr/twice", 0o644, big(b'c'))
        .file("usr/same", 0o644, "same")
        .file("usr/same", 0o644, "same")
        .symlink("lib", "usr")
        .file("lib/behind", 0o644, "behind a link")
        .file(b"usr/\xff", 0o644, "no text")
        .file("usr/gone", 0o644, "gone")
        .file("usr/empty", 0o644, "");
    let high = LayerBuilder::new().file("usr/.wh.gone", 0o644, "no deletion has that");
    // Whatever comes behind the end belongs to the archive, too.
    let layers = [low.finish(), [high.finish(), vec![0; 5000]].concat()];
    let layout = Layout::new(bench.path("images"));
    let manifest = layout.document(MANIFEST, &layout.manifest(&layers));
    layout.index(&[named(manifest, "it")]);
    let unpack = ["unpack", "oci:images:it", "--owners=caller", "--sync=none"];
    bench.on_store(&unpack).lines();
    let run = export(&bench, "it", &["--tar-split", "--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).expect("JSON");
    let known = list(&bench, "overlay-layers/layers.json");
    let named = [
        &[
            "usr/plain",
            "usr/twice",
            "usr/same",
            "usr/\u{fffd}",
            "usr/gone",
        ][..],
        &[],
    ];
    for (number, layer) in layers.iter().enumerate() {
        let id = told["layers"][number].as_str().expect("an ID");
        let diff = bench.path("target/overlay").join(id).join("diff");
        let tar_split = bench
            .path("target/overlay-layers")
            .join(format!("{id}.tar-split.gz"));
        let (archive, names) = assembled(&diff, &tar_split);
        assert!(archive == *layer, "layer {number}");
        assert_eq!(names, named[number]);
        assert_eq!(known[number]["diff-size"], json!(layer.len()));
    }
}

#[test]
fn what_cannot_be_cloned_is_an_error_and_leaves_nothing() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    let run = export(&bench, "it", &["--link=reflink"]);
    if run.status == 0 {
        // This is a file system that can.
        return;
    }
    run.fails(1, &["layer 1 (sha256:", "d/a", "sharing its blocks"]);
    assert!(run.hint().contains("--link=copy"), "{run:?}");
    assert!(!bench.path("target").exists());
}

#[test]
fn an_export_that_fails_leaves_the_directory_as_it_was() {
    let bench = Bench::new();
    images(&bench, &["one", "two"]);
    export(&bench, "one", &[]).lines();
    fs::write(bench.path("target/overlay-images/images.json"), "[{").expect("a file");
    let before = contents(&bench.path("target"));
    export(&bench, "two", &[]).fails(1, &["reading", "images.json"]);
    assert_eq!(contents(&bench.path("target")), before);
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    fs::create_dir(bench.path("target")).expect("a directory");
    bench.write("target/mine", "kept");
    let run = export(&bench, "it", &[]);
    run.fails(1, &["target is not an image store, and not empty"]);
    assert!(run.hint().contains("absent or empty"), "{run:?}");
    assert_eq!(bench.names(Path::new("target")), ["mine"]);

    fs::remove_file(bench.path("target/mine")).expect("it was there");
    for name in ["overlay-images", "overlay-containers"] {
        fs::create_dir(bench.path("target").join(name)).expect("a directory");
    }
    export(&bench, "it", &[]).fails(1, &["a storage that containers run from"]);
    assert_eq!(
        bench.names(Path::new("target")),
        ["overlay-containers", "overlay-images"]
    );
}

#[test]
fn an_image_that_is_not_in_the_store_is_not_exported() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("images"));
    let manifest = layout.document(MANIFEST, &layout.manifest(&layers("it")));
    layout.index(&[named(manifest, "it")]);
    let run = export(&bench, "it", &[]);
    run.fails(1, &["there is no store at"]);
    assert!(run.hint().contains("lowerdir unpack"), "{run:?}");
    assert!(!bench.path("target").exists());
}

/// As systemd.mstack(7) of systemd 260 has it: one entry for each layer, sorted as versions.
#[test]
fn a_mount_stack_is_links_to_the_layers_and_nothing_else() {
    let bench = Bench::new();
    let layers: Vec<Vec<u8>> = (1..=11)
        .map(|number| {
            LayerBuilder::new()
                .file(number.to_string(), 0o644, "")
                .finish()
        })
        .collect();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers));
    let unpack = [
        "unpack",
        "oci:image",
        "--userxattr",
        "--owners=caller",
        "--sync=none",
    ];
    let run = bench.on_store(&unpack);
    let mut directories = run.lines();
    directories.reverse();
    let arguments = ["export", "--format=mstack", "oci:image", "it.mstack", "-q"];
    assert_eq!(bench.on_store(&arguments).lines(), Vec::<&str>::new());
    let stack = bench.path("it.mstack");
    let expected = directories.iter().enumerate().map(|(index, directory)| {
        let name = stack.join(format!("layer@{}", index + 1));
        (name.display().to_string(), directory.as_bytes().to_vec())
    });
    assert_eq!(contents(&stack), expected.collect());
    assert!(stack.join("layer@11/11").is_file());

    bench
        .on_store(&arguments)
        .fails(1, &["it.mstack is not empty"]);
    let json = [
        "export",
        "--format=mstack",
        "oci:image",
        "new.mstack",
        "--json",
    ];
    let told: Value = serde_json::from_str(bench.on_store(&json).lines()[0]).expect("JSON");
    assert_eq!(
        told,
        json!({ "directory": "new.mstack", "layers": directories })
    );
}

#[test]
fn a_mount_stack_that_systemd_would_not_take_is_refused() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    let arguments = ["export", "--format=mstack", "oci:images:it", "it"];
    let run = bench.on_store(&arguments);
    run.fails(2, &["it is not the name of a mount stack"]);
    assert_eq!(run.hint(), "it must end in .mstack");

    // systemd does not read `trusted.overlay.opaque`: its mount would show what is deleted.
    let arguments = ["export", "--format=mstack", "oci:images:it", "it.mstack"];
    let run = bench.on_store(&arguments);
    run.fails(1, &["trusted.overlay", "deleted files would come back"]);
    let command = "lowerdir --store DIR unpack --userxattr IMAGE";
    assert!(run.hint().ends_with(command), "{run:?}");
    assert!(!bench.path("it.mstack").exists());
}

#[test]
fn options_of_one_format_are_no_options_of_another() {
    let bench = Bench::new();
    images(&bench, &["it"]);
    export(&bench, "it", &["--exclude=d"]).fails(2, &["changes are for lists"]);
    let list = ["export", "--format=mtree", "oci:images:it", "target"];
    bench.on_store(&list).fails(2, &["standard output"]);
    let nowhere = ["export", "--format=containers-storage", "oci:images:it"];
    bench.on_store(&nowhere).fails(2, &["name DIR after IMAGE"]);
    let named = [
        "export",
        "--format=mstack",
        "oci:images:it",
        "it.mstack",
        "--name=a",
    ];
    bench
        .on_store(&named)
        .fails(2, &["--name and --tar-split are for"]);
    symlink("nowhere", bench.path("target")).expect("a link");
    export(&bench, "it", &[]).fails(1, &["opening target"]);
}
