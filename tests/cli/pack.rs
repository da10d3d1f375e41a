//! `pack`: an upperdir becomes a layer, and an image gets it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use lowerdir::internals::Archive;
use lowerdir::internals::Decoder;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::oci::{self, Compression};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

/// What is in an archive, in order.
pub fn names(archive: &Path) -> Vec<String> {
    let mut archive = Archive::new(Decoder::open(File::open(archive).unwrap()).unwrap());
    let mut names = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        names.push(entry.path.to_string());
    }
    names
}

pub fn whiteout(path: &Path) {
    let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
    mknodat(CWD, path, kind, mode, makedev(0, 0)).unwrap();
}

pub fn is_whiteout(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| found.file_type().is_char_device())
}

/// An upperdir with a new file, a deletion and an opaque directory.
pub fn upper(bench: &Bench) {
    fs::create_dir_all(bench.path("upper/d")).unwrap();
    bench.write("upper/d/new", "new");
    bench.write("upper/z", "z");
    whiteout(&bench.path("upper/gone"));
    xattr::set(bench.path("upper/d"), "user.overlay.opaque", b"y").unwrap();
}

pub fn lower(bench: &Bench) {
    fs::create_dir_all(bench.path("lower/d/sub")).unwrap();
    bench.write("lower/d/new", "old");
    bench.write("lower/d/old", "old");
}

fn pack(bench: &Bench, options: &[&str]) -> Run {
    bench.run(&[&["pack", "upper", "--userxattr"], options].concat())
}

#[test]
fn without_the_layers_below_every_mark_is_written() {
    let bench = Bench::new();
    upper(&bench);
    let run = pack(&bench, &["-o", "layer"]);
    let layer = fs::read(bench.path("layer")).unwrap();
    assert_eq!(
        run.lines()[0],
        format!("digest   sha256:{}", oci::sha256(&layer))
    );
    assert_eq!(run.lines()[2], format!("size     {}", layer.len()));
    assert_eq!(
        names(&bench.path("layer")),
        [".", ".wh.gone", "d", "d/.wh..wh..opq", "d/new", "z"]
    );
}

#[test]
fn with_them_what_is_opaque_is_deleted_name_by_name() {
    let bench = Bench::new();
    upper(&bench);
    lower(&bench);
    let run = pack(&bench, &["--lower", "lower", "-o", "layer", "--json"]);
    let told: Value = serde_json::from_str(run.lines()[0]).unwrap();
    assert_eq!(
        (&told["deletions"], &told["opaque"]),
        (&2.into(), &0.into())
    );
    assert_eq!(
        names(&bench.path("layer")),
        [".", "d", "d/.wh.old", "d/.wh.sub", "d/new", "z"]
    );
    pack(&bench, &["--base", "-o", "base"]).lines();
    assert_eq!(names(&bench.path("base")), [".", "d", "d/new", "z"]);
}

#[test]
fn a_layer_goes_to_standard_output_and_tells_the_rest_beside_it() {
    let bench = Bench::new();
    upper(&bench);
    let output = program::lowerdir()
        .args(["pack", "--userxattr", "--compression=zstd", "-o", "-"])
        .arg(bench.path("upper"))
        .output()
        .unwrap();
    assert!(output.stdout.starts_with(b"\x28\xb5\x2f\xfd"));
    let digest = oci::sha256(&output.stdout);
    assert!(String::from_utf8(output.stderr).unwrap().contains(&digest));
}

#[test]
fn times_after_the_clamp_become_it() {
    let bench = Bench::new();
    upper(&bench);
    pack(
        &bench,
        &["-o", "layer", "--clamp-mtime", "77", "--compression=none"],
    )
    .lines();
    let bytes = fs::read(bench.path("layer")).unwrap();
    let mut archive = Archive::new(&bytes[..]);
    while let Some(entry) = archive.next_entry().unwrap() {
        assert!(entry.meta.mtime.seconds <= 77, "{entry:?}");
    }
}

#[test]
fn a_layer_put_onto_an_image_is_its_topmost_and_in_its_history() {
    let bench = Bench::new();
    upper(&bench);
    let base = LayerBuilder::new().file("gone", 0o644, "gone").finish();
    oci::write_layout(&bench.path("layout"), "1", &[(base, Compression::Gzip)]);
    let options = [
        "--append",
        "oci:layout:1",
        "--tag",
        "2",
        "--created-by",
        "a test",
    ];
    let told = pack(&bench, &[&options[..], &["--clamp-mtime", "0"]].concat());
    let image = told.lines()[3]
        .strip_prefix("image    sha256:")
        .unwrap()
        .to_owned();

    let blob = |digest: &Value| {
        let hex = digest.as_str().unwrap().replace("sha256:", "");
        let bytes = fs::read(bench.path("layout/blobs/sha256").join(hex)).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    };
    let manifest = blob(&Value::from(image));
    let config = blob(&manifest["config"]["digest"]);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    // Docker 25 and umoci crash on an entry without a time.
    let unknown = serde_json::json!({
        "created": "1970-01-01T00:00:00Z", "created_by": "unknown",
        "comment": "the image says nothing of this layer",
    });
    assert_eq!(config["history"][0], unknown);
    let entry = serde_json::json!({ "created": "1970-01-01T00:00:00Z", "created_by": "a test" });
    assert_eq!(config["history"][1], entry);

    assert_eq!(bench.unpack("oci:layout:2").lines().len(), 2);
    assert_eq!(bench.unpack("oci:layout:1").lines().len(), 1);
    pack(&bench, &["--append", "oci:layout:1"]).lines();
    assert_eq!(bench.unpack("oci:layout:1").lines().len(), 2);
    let left = bench.names("layout".as_ref());
    assert_eq!(left, ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn an_image_that_is_not_there_gets_no_layer() {
    let bench = Bench::new();
    upper(&bench);
    oci::write_layout(&bench.path("layout"), "1", &[]);
    pack(&bench, &["--append", "oci:layout:2"]).fails(1, &["no image is named 2"]);
    pack(&bench, &["--append", "docker-archive:x"]).fails(2, &["oci:DIR[:TAG]"]);
    pack(&bench, &["--append", "oci:nothing"]).fails(1, &["opening nothing"]);
}

#[test]
fn what_a_layer_cannot_say_is_refused_and_nothing_is_left() {
    let bench = Bench::new();
    let cases: [(&str, &str, &[&str]); 3] = [
        ("user.overlay.redirect", "/there", &["renamed by the mount"]),
        ("user.overlay.metacopy", "", &["only its attributes"]),
        ("user.a=b", "", &["no tar archive can hold"]),
    ];
    for (name, value, words) in cases {
        fs::create_dir_all(bench.path("upper/d")).unwrap();
        bench.write("upper/d/f", "f");
        let of_file = name.ends_with("metacopy");
        let path = bench.path(if of_file { "upper/d/f" } else { "upper/d" });
        xattr::set(&path, name, value.as_bytes()).unwrap();
        pack(&bench, &["-o", "layer"]).fails(3, words);
        assert_eq!(bench.names("".as_ref()), ["upper"]);
        fs::remove_dir_all(bench.path("upper")).unwrap();
    }
    fs::create_dir(bench.path("upper")).unwrap();
    bench.write("upper/.wh.x", "");
    let run = pack(&bench, &["-o", "layer"]);
    run.fails(3, &["upper: .wh.x: a name that starts with .wh."]);
    assert!(run.hint().contains("convert"));
    assert_eq!(pack(&bench, &[]).status, 2);
}

#[test]
fn a_renamed_directory_is_written_in_full() {
    let bench = Bench::new();
    lower(&bench);
    fs::create_dir_all(bench.path("upper/moved/sub")).unwrap();
    whiteout(&bench.path("upper/d"));
    whiteout(&bench.path("upper/moved/old"));
    xattr::set(bench.path("upper/moved"), "user.overlay.redirect", b"d").unwrap();
    pack(&bench, &["--lower", "lower", "-o", "layer"]).lines();
    assert_eq!(
        names(&bench.path("layer")),
        [".", ".wh.d", "moved", "moved/new", "moved/sub"]
    );
    xattr::set(bench.path("upper/moved"), "user.overlay.redirect", b"../d").unwrap();
    pack(&bench, &["--lower", "lower", "-o", "other"]).fails(3, &["moved: a damaged redirect"]);
    let long = "x".repeat(256);
    for redirect in [long.as_bytes(), b"d\0", b"", b".."] {
        xattr::set(bench.path("upper/moved"), "user.overlay.redirect", redirect).unwrap();
        let run = pack(&bench, &["--lower", "lower", "-o", "other"]);
        run.fails(3, &["moved: a damaged redirect"]);
    }
}

#[test]
fn a_socket_is_left_out_with_a_warning() {
    let bench = Bench::new();
    fs::create_dir(bench.path("upper")).unwrap();
    std::os::unix::net::UnixListener::bind(bench.path("upper/s")).unwrap();
    let run = pack(&bench, &["-o", "layer"]);
    assert!(run.stderr.contains("1 x sockets left out"), "{run:?}");
    assert_eq!(names(&bench.path("layer")), ["."]);
}

#[test]
fn layers_may_be_compressed_each_way() {
    let bench = Bench::new();
    upper(&bench);
    let mut diff_ids = Vec::new();
    for compression in ["gzip", "zstd", "none"] {
        let run = pack(&bench, &["-o", compression, "--compression", compression]);
        diff_ids.push(run.lines()[1].to_owned());
        let mut bytes = Vec::new();
        let file = File::open(bench.path(compression)).unwrap();
        Decoder::open(file)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(
            diff_ids[0],
            format!("diff ID  sha256:{}", oci::sha256(&bytes))
        );
    }
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1);
}

#[test]
fn pack_maps_ids_back() {
    let bench = Bench::new();
    upper(&bench);
    let own = rustix::process::geteuid().as_raw();
    let group = rustix::fs::stat(bench.path("upper")).unwrap().st_gid;
    let maps = [
        format!("--uid-map=7:{own}:1"),
        format!("--gid-map=8:{group}:1"),
    ];
    let run = pack(
        &bench,
        &["-o", "layer.tar", "--compression=none", &maps[0], &maps[1]],
    );
    assert_eq!(run.status, 0, "{run:?}");
    let mut archive = Archive::new(File::open(bench.path("layer.tar")).unwrap());
    let mut owners = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        owners.push((entry.path.to_string(), entry.meta.uid, entry.meta.gid));
    }
    let expected = [
        (".", 7, 8),
        (".wh.gone", 0, 0),
        ("d", 7, 8),
        ("d/.wh..wh..opq", 0, 0),
    ];
    for (path, uid, gid) in expected {
        let expected = (path.to_string(), uid, gid);
        assert!(owners.contains(&expected), "{expected:?} in {owners:?}");
    }
    let other = format!("--uid-map=0:{}:1", own + 1);
    let run = pack(&bench, &["-o", "no.tar", &other]);
    run.fails(3, &["no id map has the user", "of the host"]);
    assert!(!bench.path("no.tar").exists());
}

#[test]
fn what_an_upperdir_remembers_is_obeyed_and_not_packed() {
    let bench = Bench::new();
    upper(&bench);
    let own = rustix::process::geteuid().as_raw();
    let name = "user.overlay.lowerdir.mounted";
    let value = format!(r#"{{"ids":{{"uids":["9:{own}:1"],"gids":[]}},"idmap":true}}"#);
    xattr::set(bench.path("upper"), name, value.as_bytes()).unwrap();
    let run = pack(&bench, &["-o", "layer.tar", "--compression=none"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(
        run.stderr
            .contains("the id maps of the mount: --uid-map=9:"),
        "{run:?}"
    );
    let layer = fs::read(bench.path("layer.tar")).unwrap();
    let text = String::from_utf8_lossy(&layer);
    assert!(!text.contains("lowerdir.mounted"));
    let mut archive = Archive::new(File::open(bench.path("layer.tar")).unwrap());
    assert_eq!(archive.next_entry().unwrap().unwrap().meta.uid, 9);
    let without = match rustix::process::geteuid().is_root() {
        true => "its deletions would not be seen",
        false => "shows only to CAP_SYS_ADMIN",
    };
    for (options, words) in [
        (
            &["--userxattr", "--uid-map=0:1:1"][..],
            "with other id maps",
        ),
        (&[], without),
    ] {
        let run = bench.run(&[&["pack", "upper", "-o", "no.tar"], options].concat());
        run.fails(1, &[words]);
        assert!(run.hint().len() > 10, "{run:?}");
    }
    xattr::set(bench.path("upper"), name, b"{}").unwrap();
    let run = pack(&bench, &["-o", "no.tar"]);
    run.fails(1, &["reading xattr user.overlay.lowerdir.mounted"]);
}

/// Read as `trusted.*`, its opaque directory is none, and what it deletes comes back.
#[test]
fn marks_of_the_other_namespace_are_told_of() {
    let bench = Bench::new();
    upper(&bench);
    let other = "marks of overlayfs in the other xattr namespace";
    xattr::set(bench.path("upper/z"), "user.overlay.metacopy", b"").unwrap();
    if rustix::process::geteuid().is_root() {
        let run = bench.run(&["pack", "upper", "-o", "layer.tar"]);
        assert_eq!(run.status, 0, "{run:?}");
        assert!(run.stderr.contains("2 x marks"), "{run:?}");
        let run = bench.run(&["convert", "upper", "--to=oci"]);
        run.fails(1, &["user.overlay.* marks", "--from does not say"]);
        assert!(run.hint().contains("--from user"), "{run:?}");
        assert!(is_whiteout(&bench.path("upper/gone")));
    }
    let archive = LayerBuilder::new()
        .dir("d", Meta::new(0o755).xattr("user.overlay.opaque", "y"))
        .finish();
    bench.write("upper.tar", archive);
    let run = bench.run(&["translate", "--to=oci", "upper.tar", "out.tar"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert!(run.stderr.contains(other), "{run:?}");
    let run = bench.run(&[
        "translate",
        "--to=oci",
        "--userxattr",
        "upper.tar",
        "out.tar",
    ]);
    assert!(!run.stderr.contains(other), "{run:?}");
}

/// A mount lists such a name and cannot open it: no tree is what it shows.
#[test]
fn every_verb_refuses_an_xattr_whiteout_in_a_directory_without_the_mark_for_it() {
    let bench = Bench::new();
    for tree in ["upper", "tree"] {
        fs::create_dir_all(bench.path(tree).join("d")).unwrap();
        bench.write(&format!("{tree}/d/gone"), "");
        let path = bench.path(&format!("{tree}/d/gone"));
        xattr::set(path, "user.overlay.whiteout", b"").unwrap();
    }
    bench.write("blob", LayerBuilder::new().whiteout("d/gone").finish());
    let convert = ["convert", "tree", "--from=user-xattr", "--to=oci"];
    let below = ["unpack-layer", "blob", "out", "--lower", "upper"];
    let options = ["--userxattr", "--owners=caller"];
    let runs = || {
        [
            pack(&bench, &["-o", "layer"]),
            bench.run(&convert),
            bench.run(&[&below[..], &options].concat()),
        ]
    };
    for value in [None, Some("y"), Some("xx")] {
        if let Some(value) = value {
            for tree in ["upper", "tree"] {
                let directory = bench.path(tree).join("d");
                xattr::set(directory, "user.overlay.opaque", value.as_bytes()).unwrap();
            }
        }
        for run in runs() {
            run.fails(3, &["d/gone: xattr user.overlay.whiteout"]);
            assert!(run.hint().contains("user.overlay.opaque -v x"), "{run:?}");
        }
    }
    for tree in ["upper", "tree"] {
        xattr::set(bench.path(tree).join("d"), "user.overlay.opaque", b"x").unwrap();
    }
    runs().iter().for_each(|run| drop(run.lines()));
    assert_eq!(names(&bench.path("layer")), [".", "d", "d/.wh.gone"]);
    assert_eq!(bench.names("tree/d".as_ref()), [".wh.gone"]);
    // What is deleted already needs no deletion, and no directory for one.
    assert!(bench.names("out".as_ref()).is_empty());
}

/// Of an upperdir's own redirects the layer has the content; of one below, `--lower` does not.
#[test]
fn a_directory_below_that_refers_to_others_is_refused_by_name() {
    let bench = Bench::new();
    upper(&bench);
    lower(&bench);
    xattr::set(bench.path("lower/d"), "user.overlay.redirect", b"/x").unwrap();
    let run = pack(&bench, &["--lower", "lower", "-o", "layer"]);
    run.fails(3, &["layer lower: d: xattr user.overlay.redirect"]);
    assert!(!bench.path("layer").exists());
}
