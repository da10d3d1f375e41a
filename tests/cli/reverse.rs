//! The verbs that go the other way, or stay: `pack`, `translate`, `convert`.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lowerdir::internals::Decoder;
use lowerdir::internals::{Archive, EntryKind};
use lowerdir::meta::Device;
use lowerdir::options::{Dialect, Namespace};
use lowerdir::repack::convert::{Form, Options, convert};
use lowerdir::{Progress, Silent};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::oci::{self, Compression};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

/// What is in an archive, in order.
fn names(archive: &Path) -> Vec<String> {
    let mut archive = Archive::new(Decoder::open(File::open(archive).unwrap()).unwrap());
    let mut names = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        names.push(entry.path.to_string());
    }
    names
}

fn whiteout(path: &Path) {
    let (kind, mode) = (FileType::CharacterDevice, Mode::empty());
    mknodat(CWD, path, kind, mode, makedev(0, 0)).unwrap();
}

fn is_whiteout(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| found.file_type().is_char_device())
}

/// An upperdir with a new file, a deletion and an opaque directory.
fn upper(bench: &Bench) {
    fs::create_dir_all(bench.path("upper/d")).unwrap();
    bench.write("upper/d/new", "new");
    bench.write("upper/z", "z");
    whiteout(&bench.path("upper/gone"));
    xattr::set(bench.path("upper/d"), "user.overlay.opaque", b"y").unwrap();
}

fn lower(bench: &Bench) {
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
fn a_layer_is_translated_from_pipe_to_pipe() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .whiteout("a/gone")
        .file("d/f", 0o644, "f")
        .opaque("d")
        .dir("d", Meta::new(0o700).xattr("trusted.overlay.opaque", "z"))
        .finish();
    let run = bench.run_with_input(&["translate"], &Compression::Gzip.compress(&layer));
    assert_eq!(run.status, 0);
    let mut archive = Archive::new(run.stdout.as_bytes());
    let mut deletions = Vec::new();
    let mut marks = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        if entry.kind == EntryKind::CharDevice(Device::WHITEOUT) {
            deletions.push(entry.path.to_string());
        }
        if entry.path.as_bytes() == b"d" {
            let xattrs = entry.meta.xattrs.iter();
            marks = xattrs
                .map(|xattr| (xattr.name.clone(), xattr.value.clone()))
                .collect();
        }
    }
    assert_eq!(deletions, ["a/gone"]);
    let mark = |name: &[u8], value: &[u8]| (name.into(), value.into());
    assert_eq!(
        marks,
        [
            mark(b"trusted.overlay.opaque", b"y"),
            mark(b"trusted.overlay.overlay.opaque", b"z")
        ]
    );
    let back = bench.run_with_input(
        &["translate", "--to=oci", "-", "back"],
        run.stdout.as_bytes(),
    );
    assert!(
        back.stderr.contains("1 deletion, 1 opaque directory"),
        "{back:?}"
    );
    assert!(names(&bench.path("back")).contains(&"a/.wh.gone".into()));
}

#[test]
fn a_layer_that_cannot_be_translated_leaves_no_archive() {
    let bench = Bench::new();
    let file = |name: &str| LayerBuilder::new().file(name, 0o644, "x");
    let damaged = file("f").finish()[..600].to_vec();
    for (layer, words) in [
        (
            LayerBuilder::new().opaque("").finish(),
            "the root is opaque",
        ),
        (
            file("f").hardlink("l", "below").finish(),
            "not earlier in this layer",
        ),
        (
            file("d/f").file("d", 0o644, "").finish(),
            "a directory of this layer",
        ),
        (
            LayerBuilder::new().chardev("c", 0, (0, 0)).finish(),
            "a character device 0:0",
        ),
        (damaged, "truncated"),
    ] {
        bench.write("layer", layer);
        bench
            .run(&["translate", "layer", "out"])
            .fails(3, &["layer: ", words]);
        assert_eq!(bench.names("".as_ref()), ["layer"]);
    }
    bench.write("layer", file(".wh.f").finish());
    let run = bench.run(&["translate", "--to=oci", "layer", "out"]);
    run.fails(3, &["starts with .wh."]);
}

/// Kernels link all whiteouts of a mount to one inode, and GNU tar says so.
#[test]
fn a_hard_link_to_a_deletion_is_one() {
    let bench = Bench::new();
    let archive = LayerBuilder::new()
        .chardev("a", 0, (0, 0))
        .hardlink("b", "a");
    bench.write("archive", archive.finish());
    bench
        .run(&["translate", "--to=oci", "archive", "layer"])
        .lines();
    assert_eq!(names(&bench.path("layer")), [".wh.a", ".wh.b"]);
}

/// A tree as an image has it, with each kind of marker.
fn tree(bench: &Bench) {
    for directory in ["tree/o", "tree/n", "outside"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    for name in [
        ".wh.a",
        "o/.wh..wh..opq",
        "o/.wh.b",
        ".wh.n",
        "n/f",
        "f",
        ".wh.f",
    ] {
        bench.write(&format!("tree/{name}"), "");
    }
    bench.write("outside/.wh.x", "");
    symlink("../outside", bench.path("tree/link")).unwrap();
}

fn opaque(bench: &Bench, name: &str) -> Option<Vec<u8>> {
    xattr::get(bench.path(name), "user.overlay.opaque").unwrap()
}

#[test]
fn marker_files_become_what_a_mount_obeys() {
    let bench = Bench::new();
    tree(&bench);
    let time = fs::metadata(bench.path("tree/o"))
        .unwrap()
        .modified()
        .unwrap();
    let dry = bench.run(&["convert", "tree", "--to=user", "-n"]);
    let mut lines = dry.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "deletion  a",
            "needless  f",
            "needless  o/b",
            "opaque    n",
            "opaque    o"
        ]
    );
    assert!(bench.path("tree/.wh.a").exists());

    bench.run(&["convert", "tree", "--to=user"]).lines();
    assert_eq!(bench.names("tree".as_ref()), ["a", "f", "link", "n", "o"]);
    assert!(is_whiteout(&bench.path("tree/a")));
    assert_eq!(opaque(&bench, "tree/o").unwrap(), b"y");
    assert_eq!(opaque(&bench, "tree/n").unwrap(), b"y");
    assert!(bench.names("tree/o".as_ref()).is_empty());
    assert_eq!(
        fs::metadata(bench.path("tree/o"))
            .unwrap()
            .modified()
            .unwrap(),
        time
    );
    // No link is followed.
    assert_eq!(bench.names("outside".as_ref()), [".wh.x"]);

    let run = bench.run(&["convert", "tree", "--from=user", "--to=oci"]);
    assert!(run.lines().is_empty());
    let names = bench.names("tree".as_ref());
    assert_eq!(names, [".wh.a", "f", "link", "n", "o"]);
    assert_eq!(bench.names("tree/n".as_ref()), [".wh..wh..opq", "f"]);
    assert_eq!(opaque(&bench, "tree/o"), None);
}

#[test]
fn fuse_overlayfs_marks_are_read_and_written() {
    let bench = Bench::new();
    tree(&bench);
    let to_fuse = ["convert", "tree", "--from=oci", "--to=fuse-overlayfs"];
    bench.run(&to_fuse).lines();
    let mark = |name: &str| xattr::get(bench.path(name), "user.fuseoverlayfs.opaque").unwrap();
    assert!(mark("tree/o").is_some() && mark("tree/n").is_some());
    assert_eq!(bench.names("tree/n".as_ref()), [".wh..wh..opq", "f"]);
    bench
        .run(&["convert", "tree", "--from=fuse-overlayfs", "--to=user"])
        .lines();
    assert!(mark("tree/o").is_none() && opaque(&bench, "tree/o").is_some());
    assert_eq!(bench.names("tree/n".as_ref()), ["f"]);
    assert!(is_whiteout(&bench.path("tree/a")));
}

#[test]
fn what_has_no_counterpart_is_refused_before_anything_is_changed() {
    let bench = Bench::new();
    for (name, words) in [
        ("z/.wh.", "a whiteout of no name"),
        (".wh..wh..opq", "the root is opaque"),
    ] {
        tree(&bench);
        fs::create_dir_all(bench.path("tree/z")).unwrap();
        bench.write(&format!("tree/{name}"), "");
        bench
            .run(&["convert", "tree", "--to=user"])
            .fails(3, &[words]);
        assert!(bench.path("tree/.wh.a").exists());
        fs::remove_dir_all(bench.path("tree")).unwrap();
    }
    for marker in [".wh.x", "d/.wh..wh..opq"] {
        fs::create_dir_all(bench.path("tree").join(marker).join("in")).unwrap();
        let run = bench.run(&["convert", "tree", "--to=user"]);
        run.fails(3, &["a directory with something in it"]);
        fs::remove_dir_all(bench.path("tree")).unwrap();
    }
    fs::create_dir(bench.path("tree")).unwrap();
    bench.write("tree/.wh.a", "");
    let run = bench.run(&["convert", "tree", "--from=user", "--to=oci"]);
    run.fails(3, &[".wh.a: a name that starts with .wh."]);
    let same = bench.run(&["convert", "tree", "--from=user", "--to=user"]);
    same.fails(2, &["both forms are the same"]);
}

#[test]
fn an_opaque_root_deletes_what_the_layers_below_have() {
    let bench = Bench::new();
    lower(&bench);
    tree(&bench);
    bench.write("tree/.wh..wh..opq", "");
    bench
        .run(&["convert", "tree", "--to=user", "--parent", "lower"])
        .lines();
    assert!(is_whiteout(&bench.path("tree/d")));
    assert!(!bench.path("tree/.wh..wh..opq").exists());
    assert_eq!(opaque(&bench, "tree/o"), None);
}

/// Rule O3: else the files of the old directory would be back.
#[test]
fn under_an_opaque_root_what_is_a_directory_below_is_opaque() {
    let bench = Bench::new();
    for directory in ["lower/o/sub", "lower/n", "lower/gone"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    bench.write("lower/f", "");
    tree(&bench);
    fs::create_dir_all(bench.path("tree/o/sub")).unwrap();
    bench.write("tree/o/sub/.wh.x", "");
    bench.write("tree/.wh..wh..opq", "");
    bench.write("tree/.wh.gone", "");
    let run = bench.run(&["convert", "tree", "--to=user", "--parent", "lower", "-v"]);
    let mut lines = run.lines();
    lines.sort_unstable();
    let expected = [
        "deletion  gone",
        "needless  a",
        "needless  o/b",
        "needless  o/sub/x",
        "opaque    n",
        "opaque    o",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        bench.names("tree".as_ref()),
        ["f", "gone", "link", "n", "o"]
    );
    assert_eq!(opaque(&bench, "tree/o").unwrap(), b"y");
    assert_eq!(opaque(&bench, "tree/n").unwrap(), b"y");
    assert_eq!(opaque(&bench, "tree/o/sub"), None);
    assert_eq!(opaque(&bench, "tree"), None);
}

/// Everything in a directory: names, types, targets and modes, sizes, times and xattrs.
fn listing(top: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![top.to_path_buf()];
    while let Some(path) = todo.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let target = fs::read_link(&path).ok();
        let xattrs: Vec<_> = match found.is_symlink() {
            true => Vec::new(),
            false => xattr::list(&path)
                .unwrap()
                .map(|name| (name.clone(), xattr::get(&path, &name).unwrap()))
                .collect(),
        };
        let (mode, time) = (found.mode(), (found.mtime(), found.mtime_nsec()));
        lines.push(format!("{path:?} {mode:o} {time:?} {target:?} {xattrs:?}"));
        if found.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|name| name.unwrap().path()),
            );
        }
    }
    lines.sort_unstable();
    lines
}

fn to_user() -> Options {
    let overlay = Form::Overlay(Dialect::default().namespace(Namespace::User));
    Options::new(Form::Oci, overlay)
}

/// A process that another test is starting has a copy of our lock until it executes its program.
fn convert_once_free(bench: &Bench) {
    let mut runs = (0..1000).map(|_| bench.run(&["convert", "tree", "--to=user"]));
    let is_free = |run: &Run| !run.stderr.contains("holds the lock");
    runs.find(is_free).expect("the lock is let go").lines();
}

/// Stops before each change in turn: the tree is as it was, and nothing lies beside it.
#[test]
fn a_conversion_that_stops_anywhere_leaves_the_tree_as_it_was() {
    for stop in 0.. {
        let bench = Bench::new();
        tree(&bench);
        xattr::set(bench.path("tree/f"), "user.overlay.origin", b"data").unwrap();
        let before = listing(&bench.path("tree"));
        let mut changes = 0;
        let mut tell = |_, _: &_| {
            changes += 1;
            match changes > stop {
                true => Err(lowerdir::Error::cancelled()),
                false => Ok(()),
            }
        };
        let stopped = convert(&bench.path("tree"), &to_user(), &mut tell, &Silent);
        let is_done = stopped.is_ok();
        assert_eq!(bench.names("".as_ref()), ["outside", "tree"]);
        if !is_done {
            assert_eq!(listing(&bench.path("tree")), before, "{stop}");
            convert_once_free(&bench);
        }
        assert_eq!(bench.names("tree".as_ref()), ["a", "f", "link", "n", "o"]);
        assert!(is_whiteout(&bench.path("tree/a")), "{stop}");
        assert_eq!(opaque(&bench, "tree/n").unwrap(), b"y");
        let data = xattr::get(bench.path("tree/f"), "user.overlay.overlay.origin").unwrap();
        assert_eq!(data.unwrap(), b"data");
        if is_done {
            assert!(stop > 4, "only {stop} changes");
            return;
        }
    }
}

/// Gives up when it was asked so many times whether to.
struct Impatient(AtomicUsize);

impl Progress for Impatient {
    fn is_cancelled(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0
    }
}

/// As Ctrl-C does.
#[test]
fn a_conversion_that_is_cancelled_leaves_the_tree_as_it_was() {
    for patience in 0.. {
        let bench = Bench::new();
        tree(&bench);
        let before = listing(&bench.path("tree"));
        let impatient = Impatient(AtomicUsize::new(patience));
        let top = bench.path("tree");
        let done = convert(&top, &to_user(), &mut |_, _| Ok(()), &impatient);
        assert_eq!(bench.names("".as_ref()), ["outside", "tree"]);
        match done {
            Ok(_) => return assert!(patience > 5, "only {patience} times"),
            Err(error) => assert_eq!(error.kind(), lowerdir::Kind::Cancelled),
        }
        assert_eq!(listing(&bench.path("tree")), before);
    }
}

/// Rule X1: an earlier version kept its own state in such xattrs, and obeyed those of the layer.
#[test]
fn xattrs_of_our_own_name_are_data() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("tree/d")).unwrap();
    bench.write("tree/.wh.gone", "");
    let forged: [(&str, &str, &[u8]); 3] = [
        ("tree", "user.lowerdir.convert", b"oci to user: take back"),
        ("tree", "user.lowerdir.mtime", b"7 7"),
        ("tree/d", "user.lowerdir.overlay.redirect", b"/etc"),
    ];
    for (path, name, value) in forged {
        xattr::set(bench.path(path), name, value).unwrap();
    }
    bench.run(&["convert", "tree", "--to=user"]).lines();
    assert!(is_whiteout(&bench.path("tree/gone")));
    for (path, name, value) in forged {
        assert_eq!(xattr::get(bench.path(path), name).unwrap().unwrap(), value);
    }
    let redirect = xattr::get(bench.path("tree/d"), "user.overlay.redirect");
    assert_eq!(redirect.unwrap(), None);
}

/// A run that was killed leaves its staging directory, by the name that lowerdir gives, and the
/// next run removes it.
#[test]
fn what_a_killed_conversion_left_is_removed_by_the_next() {
    let bench = Bench::new();
    tree(&bench);
    fs::create_dir_all(bench.path(".lowerdir-0123456789abcdef/fs/d")).unwrap();
    let only = fs::Permissions::from_mode(0o700);
    fs::set_permissions(bench.path(".lowerdir-0123456789abcdef"), only).unwrap();
    fs::create_dir(bench.path(".lowerdir-notes")).unwrap();
    // Ours is for its owner alone.
    fs::create_dir(bench.path(".lowerdir-aaaaaaaaaaaaaaaa")).unwrap();
    bench.run(&["convert", "tree", "--to=user"]).lines();
    let left = bench.names("".as_ref());
    let others = [".lowerdir-aaaaaaaaaaaaaaaa", ".lowerdir-notes"];
    assert_eq!(left, [&others[..], &["outside", "tree"]].concat());
}

#[test]
fn files_stay_the_same_inodes_unless_their_xattrs_change() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("tree/d")).unwrap();
    for (one, other) in [("plain", "d/plain"), ("escaped", "d/escaped")] {
        bench.write(&format!("tree/{one}"), one);
        let [one, other] = [one, other].map(|name| bench.path(&format!("tree/{name}")));
        fs::hard_link(one, other).unwrap();
    }
    fs::hard_link(bench.path("tree/plain"), bench.path("outside")).unwrap();
    xattr::set(bench.path("tree/escaped"), "user.overlay.x", b"data").unwrap();
    fs::set_permissions(bench.path("tree/d"), fs::Permissions::from_mode(0o2750)).unwrap();
    let inode = |name: &str| fs::symlink_metadata(bench.path(name)).unwrap().ino();
    let held = File::open(bench.path("tree/escaped")).unwrap();
    let plain = inode("tree/plain");
    bench.run(&["convert", "tree", "--to=user"]).lines();
    assert_eq!(inode("tree/plain"), plain);
    assert_eq!(inode("tree/d/plain"), plain);
    assert_eq!(inode("outside"), plain);
    assert_eq!(inode("tree/escaped"), inode("tree/d/escaped"));
    assert_ne!(inode("tree/escaped"), held.metadata().unwrap().ino());
    assert_eq!(fs::read(bench.path("tree/d/escaped")).unwrap(), b"escaped");
    assert_eq!(
        fs::metadata(bench.path("tree/d")).unwrap().mode() & 0o7777,
        0o2750
    );
    let names: Vec<_> = xattr::list(bench.path("tree/escaped")).unwrap().collect();
    assert_eq!(names, ["user.overlay.overlay.x"]);
}

/// A link that the user names is the user's; `.` is a directory like others; a lock is a conflict.
#[test]
fn a_tree_is_found_by_whatever_path() {
    let bench = Bench::new();
    tree(&bench);
    symlink("tree", bench.path("name")).unwrap();
    bench.run(&["convert", "name", "--to=user"]).lines();
    assert!(
        fs::symlink_metadata(bench.path("name"))
            .unwrap()
            .is_symlink()
    );
    assert!(is_whiteout(&bench.path("tree/a")));
    let held = File::open(bench.path("tree")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let back = ["convert", "tree/.", "--from=user", "--to=oci"];
    bench
        .run(&back)
        .fails(1, &["another conversion holds the lock"]);
    drop(held);
    bench.run(&back).lines();
    assert!(bench.path("tree/.wh.a").exists());
    bench
        .run(&["convert", "/", "-n"])
        .fails(1, &["/ is the root directory"]);
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
