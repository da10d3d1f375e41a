//! `verify` finds every change, says which path and what, and `--repair` undoes it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::Value;

use crate::bench::{Bench, Run};
use crate::layout::{Layout, named};
use crate::oci;
use crate::tarball::{LayerBuilder, Meta};

/// Two layers with every type of file that anybody may make.
fn layers() -> Vec<Vec<u8>> {
    let twin = || Meta::new(0o644).xattr("user.k", "v");
    let low = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", twin(), "content")
        .file("d/twin", twin(), "content")
        .file("d/empty", 0o644, "")
        .file("d/one", 0o644, "linked")
        .hardlink("d/two", "d/one")
        .symlink("d/s", "f")
        .fifo("d/p", 0o600)
        .dir("d/sub", 0o750)
        .file("d/sub/x", 0o600, "x")
        .file(b"d/\xff\n\\", 0o644, "odd")
        .file("gone", 0o644, "")
        .finish();
    let high = LayerBuilder::new()
        .opaque("d")
        .file("d/new", 0o644, "new")
        .whiteout("gone")
        .finish();
    vec![low, high]
}

fn unpacked() -> Bench {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let manifest = layout.manifest(&layers());
    layout.index(&[named(
        layout.document(crate::layout::MANIFEST, &manifest),
        "1.0",
    )]);
    bench.unpack("oci:image").lines();
    bench
}

/// The name of the only image's directory in the store.
fn record(bench: &Bench) -> String {
    let mut names = bench.names(&bench.store().join("images"));
    names.retain(|name| name != "names.json");
    names.remove(0)
}

/// The label of each layer in an image.
fn labels() -> Vec<String> {
    let digests = layers().into_iter().enumerate();
    let label = |(index, layer)| format!("{} (sha256:{}…)", index + 1, &oci::sha256(layer)[..12]);
    digests.map(label).collect()
}

/// What is said about the paths of a layer, or about it as a whole, is found, and nothing else.
fn finds(run: &Run, layer: usize, expected: &[&str]) {
    let label = &labels()[layer];
    let lines = expected
        .iter()
        .map(|line| format!("layer {label}: {line}\n"));
    assert_eq!(run.stdout, lines.collect::<String>(), "{run:?}");
    assert_eq!(run.status, 3, "{run:?}");
    assert_eq!(run.error(), "1 of 2 layers changed");
    assert!(run.hint().contains("--repair"));
}

fn is_whole(bench: &Bench) {
    let run = bench.on_store(&["verify", "oci:image"]);
    assert_eq!(run.lines(), [""; 0], "{run:?}");
    assert!(
        run.stderr.ends_with("2 layers: nothing was changed\n"),
        "{run:?}"
    );
}

fn mtimes(directory: &Path, found: &mut BTreeMap<PathBuf, SystemTime>) {
    let time = |path: &Path| path.symlink_metadata().unwrap().modified().unwrap();
    found.insert(directory.into(), time(directory));
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap().is_dir() {
            true => mtimes(&path, found),
            false => drop(found.insert(path.clone(), time(&path))),
        }
    }
}

/// Changes something without a trace in the times.
fn without_a_trace(root: &Path, change: impl FnOnce(&Path)) {
    let mut times = BTreeMap::new();
    mtimes(root, &mut times);
    change(root);
    for (path, time) in times {
        if path.symlink_metadata().is_ok() {
            set_time(&path, time);
        }
    }
}

/// Of a link too, and of what may not be opened.
fn set_time(path: &Path, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time = Timespec {
        tv_sec: since.as_secs().try_into().unwrap(),
        tv_nsec: since.subsec_nanos().into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A new file with the attributes of the image's files.
fn write(path: PathBuf, content: &str) {
    fs::write(&path, content).unwrap();
    set_mode(path.clone(), 0o644);
    set_time(&path, SystemTime::UNIX_EPOCH);
}

struct Case {
    layer: usize,
    change: fn(&Path),
    expected: &'static [&'static str],
}

const fn case(layer: usize, change: fn(&Path), expected: &'static [&'static str]) -> Case {
    Case {
        layer,
        change,
        expected,
    }
}

/// Each change, and exactly what is said about it.
const CHANGES: &[Case] = &[
    case(
        0,
        |fs| {
            File::options()
                .write(true)
                .open(fs.join("d/f"))
                .unwrap()
                .write_all_at(b"k", 0)
                .unwrap()
        },
        &["d/f: content was changed"],
    ),
    case(
        0,
        |fs| fs::write(fs.join("d/f"), "content!").unwrap(),
        &["d/f: size is 8, was 7"],
    ),
    case(
        0,
        |fs| fs::write(fs.join("d/empty"), "!").unwrap(),
        &["d/empty: size is 1, was 0"],
    ),
    case(
        0,
        |fs| fs::write(fs.join("d/two"), "LINKED").unwrap(),
        &["d/one: content was changed"],
    ),
    case(
        0,
        |fs| set_mode(fs.join("d/f"), 0o4644),
        &["d/f: mode is 4644, was 0644"],
    ),
    case(
        0,
        |fs| set_mode(fs.join("d/sub"), 0o755),
        &["d/sub: mode is 0755, was 0750"],
    ),
    case(
        0,
        |fs| set_mode(fs.to_path_buf(), 0o700),
        &[".: mode is 0700, was 0755"],
    ),
    case(
        0,
        |fs| xattr::set(fs, "user.new", b"\xff").unwrap(),
        &[".: xattr user.new was added"],
    ),
    case(
        0,
        |fs| xattr::set(fs.join("d/f"), "user.k", b"w").unwrap(),
        &["d/f: xattr user.k was changed"],
    ),
    case(
        0,
        |fs| xattr::set(fs.join("d/f"), "user.j", b"").unwrap(),
        &["d/f: xattr user.j was added"],
    ),
    case(
        0,
        |fs| xattr::remove(fs.join("d/f"), "user.k").unwrap(),
        &["d/f: xattr user.k is missing"],
    ),
    case(
        0,
        |fs| fs::remove_file(fs.join("d/empty")).unwrap(),
        &["d/empty: is missing"],
    ),
    case(
        0,
        |fs| fs::remove_dir_all(fs.join("d/sub")).unwrap(),
        &["d/sub: is missing", "d/sub/x: is missing"],
    ),
    case(
        0,
        |fs| fs::remove_file(fs.join(OsStr::from_bytes(b"d/\xff\n\\"))).unwrap(),
        &["d/\\xff\\x0a\\\\: is missing"],
    ),
    case(
        0,
        |fs| write(fs.join("d/new"), "new"),
        &["d/new: was added"],
    ),
    case(
        0,
        |fs| {
            fs::create_dir(fs.join("\x1b[31m")).unwrap();
            write(fs.join("\x1b[31m/x"), "");
        },
        &["\\x1b[31m: was added", "\\x1b[31m/x: was added"],
    ),
    case(
        0,
        |fs| {
            fs::remove_file(fs.join("d/empty")).unwrap();
            fs::create_dir(fs.join("d/empty")).unwrap();
        },
        &["d/empty: is a directory, was a file"],
    ),
    case(
        0,
        |fs| {
            fs::remove_file(fs.join("d/p")).unwrap();
            write(fs.join("d/p"), "");
        },
        &["d/p: is a file, was a named pipe"],
    ),
    case(
        0,
        |fs| {
            fs::remove_file(fs.join("d/f")).unwrap();
            symlink("twin", fs.join("d/f")).unwrap();
        },
        &["d/f: is a symbolic link, was a file"],
    ),
    case(
        0,
        |fs| {
            fs::remove_file(fs.join("d/s")).unwrap();
            symlink("twin", fs.join("d/s")).unwrap();
        },
        &["d/s: target is twin, was f"],
    ),
    case(
        0,
        |fs| {
            fs::remove_file(fs.join("d/two")).unwrap();
            write(fs.join("d/two"), "linked");
        },
        &["d/two: is no hard link to d/one any more"],
    ),
    case(
        0,
        |fs| {
            fs::remove_file(fs.join("d/twin")).unwrap();
            fs::hard_link(fs.join("d/f"), fs.join("d/twin")).unwrap();
        },
        &["d/twin: became a hard link to d/f"],
    ),
    case(
        1,
        |fs| xattr::remove(fs.join("d"), "user.overlay.opaque").unwrap(),
        &["d: xattr user.overlay.opaque is missing"],
    ),
    case(
        1,
        |fs| {
            fs::remove_file(fs.join("gone")).unwrap();
            write(fs.join("gone"), "");
            set_mode(fs.join("gone"), 0);
        },
        &["gone: is a file, was a character device"],
    ),
    case(
        1,
        |fs| fs::remove_file(fs.join("gone")).unwrap(),
        &["gone: is missing"],
    ),
];

#[test]
fn every_change_is_told_exactly_and_repaired() {
    let bench = unpacked();
    is_whole(&bench);
    for Case {
        layer,
        change,
        expected,
    } in CHANGES
    {
        let fs = bench.layer("oci:image", *layer).join("fs");
        without_a_trace(&fs, change);
        finds(&bench.on_store(&["verify", "oci:image"]), *layer, expected);
        let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
        assert_eq!(run.status, 0, "{expected:?}: {run:?}");
        assert!(
            run.stderr.ends_with("1 layer was unpacked again\n"),
            "{run:?}"
        );
        is_whole(&bench);
    }
    assert_eq!(bench.layers_in_store(), 2);
}

#[test]
fn a_change_of_time_is_told_to_the_nanosecond() {
    let bench = unpacked();
    let fs = bench.layer("oci:image", 0).join("fs");
    set_time(
        &fs.join("d/f"),
        SystemTime::UNIX_EPOCH + Duration::new(1, 1),
    );
    set_time(&fs, SystemTime::UNIX_EPOCH + Duration::new(0, 5));
    finds(
        &bench.on_store(&["verify", "oci:image", "--quick"]),
        0,
        &[
            ".: time is 0.000000005, was 0.000000000",
            "d/f: time is 1.000000001, was 1613088000.000000000",
        ],
    );
}

#[test]
fn several_changes_come_in_the_order_of_paths() {
    let bench = unpacked();
    let fs = bench.layer("oci:image", 0).join("fs");
    without_a_trace(&fs, |fs| {
        write(fs.join("d-"), "");
        write(fs.join("zz"), "");
        fs::write(fs.join("d/f"), "changed").unwrap();
        set_mode(fs.join("d/f"), 0o600);
        xattr::remove(fs.join("d/f"), "user.k").unwrap();
        fs::remove_file(fs.join("gone")).unwrap();
    });
    finds(
        &bench.on_store(&["verify", "oci:image"]),
        0,
        &[
            "d/f: mode is 0600, was 0644",
            "d/f: xattr user.k is missing",
            "d/f: content was changed",
            "d-: was added",
            "gone: is missing",
            "zz: was added",
        ],
    );
}

#[test]
fn a_sparse_file_is_read_without_its_holes() {
    let bench = Bench::new();
    let size = 1_u64 << 40;
    let mut layer = LayerBuilder::new();
    let records = [
        crate::tarball::pax_record("GNU.sparse.major", "1"),
        crate::tarball::pax_record("GNU.sparse.minor", "0"),
        crate::tarball::pax_record("GNU.sparse.name", "f"),
        crate::tarball::pax_record("GNU.sparse.realsize", size.to_string()),
    ];
    let map = crate::tarball::padded(format!("1\n{}\n4\n", size - 4).as_bytes());
    layer = layer
        .raw(crate::tarball::pax_header(&records.concat()))
        .file("x", 0o644, [&map[..], b"last"].concat());
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer.finish()]));
    let file = bench.layer("oci:image", 0).join("fs/f");
    assert_eq!(bench.on_store(&["verify", "--all"]).status, 0);
    without_a_trace(file.parent().unwrap(), |_| {
        let file = File::options().write(true).open(&file).unwrap();
        // Zeros in a hole are the same content; anything else is not.
        file.write_all_at(&[0; 5000], 100).unwrap();
    });
    assert_eq!(bench.on_store(&["verify", "--all"]).status, 0);
    without_a_trace(file.parent().unwrap(), |_| {
        let file = File::options().write(true).open(&file).unwrap();
        file.write_all_at(b"x", 1 << 39).unwrap();
    });
    let run = bench.on_store(&["verify", "--all"]);
    assert!(
        run.stdout.ends_with(": f: content was changed\n"),
        "{run:?}"
    );
}

#[test]
fn quick_does_not_read_files() {
    let bench = unpacked();
    let fs = bench.layer("oci:image", 0).join("fs");
    without_a_trace(&fs, |fs| fs::write(fs.join("d/f"), "CONTENT").unwrap());
    let run = bench.on_store(&["verify", "--quick", "oci:image"]);
    assert_eq!(run.lines(), [""; 0]);
    assert!(
        run.stderr.contains("--quick compares no content"),
        "{run:?}"
    );
    without_a_trace(&fs, |fs| fs::remove_file(fs.join("d/s")).unwrap());
    let run = bench.on_store(&["verify", "--quick", "oci:image"]);
    finds(&run, 0, &["d/s: is missing"]);
}

/// Every byte of the listing and of the record counts.
#[test]
fn damage_to_the_bookkeeping_is_found_and_repaired() {
    let bench = unpacked();
    for (name, words) in [("tree.zst", "tree.zst: "), ("layer.json", "layer.json: ")] {
        let file = bench.layer("oci:image", 0).join(name);
        let good = fs::read(&file).unwrap();
        for position in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[position] ^= 0x10;
            fs::write(&file, &bad).unwrap();
            let run = bench.on_store(&["verify", "oci:image"]);
            assert_eq!(run.status, 3, "{name}, byte {position}: {run:?}");
            assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
            assert!(run.stdout.contains(words), "byte {position}: {run:?}");
        }
        for cut in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&file, &good[..cut]).unwrap();
            let run = bench.on_store(&["verify", "oci:image"]);
            // The last byte of a record is the end of its line.
            let is_whole = name == "layer.json" && cut == good.len() - 1;
            assert_eq!(run.status, if is_whole { 0 } else { 3 }, "{name}: {run:?}");
        }
        fs::remove_file(&file).unwrap();
        let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
        assert!(
            run.stdout.contains(words) && run.stdout.contains("no such file"),
            "{run:?}"
        );
        assert_eq!(run.status, 0, "{run:?}");
        is_whole(&bench);
    }
}

#[test]
fn the_bookkeeping_of_another_layer_is_found() {
    let bench = unpacked();
    let (one, two) = (bench.layer("oci:image", 0), bench.layer("oci:image", 1));
    let listing = fs::read(one.join("tree.zst")).unwrap();
    fs::copy(two.join("tree.zst"), one.join("tree.zst")).unwrap();
    finds(
        &bench.on_store(&["verify", "oci:image"]),
        0,
        &["tree.zst: it is not the listing that layer.json names"],
    );
    fs::write(one.join("tree.zst"), listing).unwrap();
    fs::copy(two.join("layer.json"), one.join("layer.json")).unwrap();
    let chain = two.file_name().unwrap().to_str().unwrap();
    let expected = format!("layer.json: it is of layer sha256:{chain}");
    finds(&bench.on_store(&["verify", "oci:image"]), 0, &[&expected]);
}

/// `layer.json` with another value is refused by every verb, not believed.
#[test]
fn a_record_that_was_edited_is_not_believed() {
    let bench = unpacked();
    let record = bench.layer("oci:image", 1).join("layer.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"user\"", "\"trusted\"")).unwrap();
    let run = bench.stack("oci:image");
    run.fails(1, &["layer 2 (", "layer.json", "not as it was written"]);
    assert!(run.hint().contains("verify --repair"), "{run:?}");
    let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(fs::read_to_string(&record).unwrap(), text);
}

/// The only layer cannot tell how it was translated: the record of the image does.
#[test]
fn a_repaired_layer_is_translated_as_it_was() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&layers()[..1]));
    let layer = bench.layer("oci:image", 0);
    let good = fs::read(layer.join("layer.json")).unwrap();
    fs::write(layer.join("layer.json"), "{").unwrap();
    let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(fs::read(layer.join("layer.json")).unwrap(), good);
}

#[test]
fn what_is_not_where_it_should_be_is_found_and_repaired() {
    let bench = unpacked();
    let layer = bench.layer("oci:image", 0);
    let repair = || {
        let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
        assert_eq!(run.status, 0, "{run:?}");
        is_whole(&bench);
    };
    fs::remove_dir_all(&layer).unwrap();
    let run = bench.on_store(&["verify", "oci:image"]);
    finds(&run, 0, &["not in the store"]);
    repair();
    fs::rename(layer.join("fs"), bench.path("fs")).unwrap();
    let run = bench.on_store(&["verify", "oci:image"]);
    finds(
        &run,
        0,
        &["opening its directory: no such file or directory"],
    );
    repair();
    fs::remove_dir_all(&layer).unwrap();
    fs::write(&layer, "").unwrap();
    finds(
        &bench.on_store(&["verify", "oci:image"]),
        0,
        &["not in the store"],
    );
    repair();
}

#[test]
fn a_layer_whose_blob_is_damaged_is_not_repaired() {
    let bench = unpacked();
    let fs = bench.layer("oci:image", 0).join("fs");
    fs::remove_file(fs.join("gone")).unwrap();
    let blob = oci::sha256(&layers()[0]);
    crate::layout::damage(&bench.path("image/blobs/sha256").join(blob));
    let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
    assert_eq!(run.status, 3, "{run:?}");
    assert!(run.error().contains("blob's digest"), "{run:?}");
    // What was there is there.
    assert!(fs.join("d/f").exists() && !fs.join("gone").exists());
    assert_eq!(bench.layers_in_store(), 2);
}

#[test]
fn an_owner_is_compared_too() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else may give files away.
        return;
    }
    let bench = unpacked();
    let fs = bench.layer("oci:image", 0).join("fs");
    std::os::unix::fs::chown(fs.join("d/f"), Some(7), Some(8)).unwrap();
    std::os::unix::fs::lchown(fs.join("d/s"), None, Some(9)).unwrap();
    finds(
        &bench.on_store(&["verify", "oci:image"]),
        0,
        &["d/f: owner is 7:8, was 0:0", "d/s: owner is 0:9, was 0:0"],
    );
}

#[test]
fn an_image_is_known_by_name_digest_digits_and_archive() {
    let bench = unpacked();
    let digest = record(&bench).replace('-', ":");
    let digits = digest.trim_start_matches("sha256:");
    for name in [
        "image:1.0",
        "store:image:1.0",
        &digest,
        digits,
        &digits[..4],
        &digest[..19],
        "oci:image",
        "oci:image:1.0",
        "image",
    ] {
        let run = bench.on_store(&["verify", name]);
        assert_eq!(run.status, 0, "{name}: {run:?}");
        assert!(run.stderr.contains("2 layers: "), "{run:?}");
    }
    for unknown in ["2.0", &digits[..3], "sha256:", "ffff"] {
        let run = bench.on_store(&["verify", unknown]);
        run.fails(1, &["neither a file nor an image in the store", unknown]);
        assert!(run.hint().contains("lowerdir images"), "{run:?}");
    }
    let run = bench.on_store(&["verify", "store:image:1.0", "--repair"]);
    run.fails(1, &["no blobs to repair the image from"]);
    assert!(run.hint().contains("name the archive"), "{run:?}");
}

#[test]
fn all_finds_what_images_lack_and_records_that_are_damaged() {
    let bench = unpacked();
    let run = bench.on_store(&["verify", "--all"]);
    assert!(
        run.stderr.ends_with("2 layers: nothing was changed\n"),
        "{run:?}"
    );
    let layer = bench.layer("oci:image", 1);
    fs::remove_dir_all(&layer).unwrap();
    let short = &layer.file_name().unwrap().to_str().unwrap()[..12];
    let run = bench.on_store(&["verify", "--all"]);
    assert_eq!(
        run.stdout,
        format!("layer sha256:{short}…: not in the store\n")
    );
    assert_eq!((run.status, run.error()), (3, "1 of 2 layers changed"));

    let name = record(&bench);
    let images = bench.store().join("images").join(&name);
    let record = images.join("image.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("linux", "Linux")).unwrap();
    let run = bench.on_store(&["verify", "--all"]);
    assert_eq!(run.status, 3);
    assert_eq!(
        run.stdout,
        format!(
            "image sha256:{}…: reading image.json: it is not as it was written\n",
            &name[7..19]
        )
    );
    assert_eq!(run.error(), "the record of an image is damaged");
    // To unpack, or to repair, is to write it anew.
    bench.unpack("oci:image").lines();
    assert_eq!(bench.on_store(&["verify", "--all"]).status, 0);
    assert_eq!(fs::read_to_string(&record).unwrap(), text);
    for document in ["image.json", "manifest.json", "config.json"] {
        for damage in [Some("junk"), None] {
            match damage {
                Some(junk) => fs::write(images.join(document), junk).unwrap(),
                None => fs::remove_file(images.join(document)).unwrap(),
            }
            let run = bench.on_store(&["verify", "--all"]);
            assert_eq!(
                (run.status, run.error()),
                (3, "the record of an image is damaged")
            );
            bench.on_store(&["stack", "store:image:1.0"]).fails(1, &[]);
            let run = bench.on_store(&["verify", "--repair", "oci:image"]);
            assert_eq!(run.status, 0, "{document}: {run:?}");
            assert_eq!(bench.on_store(&["verify", "--all"]).status, 0);
        }
    }
}

#[test]
fn json_has_a_line_for_each_change() {
    let bench = unpacked();
    let layer = bench.layer("oci:image", 0);
    without_a_trace(&layer.join("fs"), |fs| {
        fs::remove_file(fs.join("d/s")).unwrap();
        set_mode(fs.join("gone"), 0);
    });
    let run = bench.on_store(&["verify", "oci:image", "--json"]);
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let chain = format!("sha256:{}", layer.file_name().unwrap().to_str().unwrap());
    let expected = |path: &str, change: &str| {
        serde_json::json!({
            "layer": 1, "chain_id": chain, "image": null, "path": path, "change": change,
            "store": bench.store().canonicalize().unwrap(),
        })
    };
    assert_eq!(
        lines,
        [
            expected("d/s", "is missing"),
            expected("gone", "mode is 0000, was 0644"),
            serde_json::json!({ "summary": {
                "layers": 2, "changed": 1, "images": 0, "damaged_images": 0,
                "repaired": 0, "quick": false,
            } }),
        ]
    );
    let events: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let verified: Vec<u64> = events
        .iter()
        .filter(|event| event["event"] == "verified")
        .map(|event| event["changes"].as_u64().unwrap())
        .collect();
    assert_eq!(verified, [2, 0]);
    assert_eq!(events.last().unwrap()["kind"], "mismatch");
    let run = bench.on_store(&[
        "verify",
        "oci:image",
        "--json",
        "-q",
        "--repair",
        "--sync=none",
    ]);
    assert_eq!((run.status, &*run.stderr), (0, ""), "{run:?}");
    let last: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["summary"]["repaired"], 1);
}

#[test]
fn an_image_without_layers_is_whole() {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[]));
    bench.unpack("oci:image").lines();
    for arguments in [&["verify", "oci:image"][..], &["verify", "--all"]] {
        let run = bench.on_store(arguments);
        assert_eq!(run.stderr, "0 layers: nothing was changed\n");
        assert_eq!(run.status, 0);
    }
}

/// Who is not root changes their modes to look into them, and back.
#[test]
fn what_its_owner_may_not_read_is_read_all_the_same() {
    let bench = Bench::new();
    let closed = || Meta::new(0).xattr("user.k", "v");
    let layer = LayerBuilder::new()
        .dir("d", closed())
        .file("d/f", closed(), "content")
        .finish();
    let layout = Layout::new(bench.path("image"));
    layout.image(&layout.manifest(&[layer]));
    let fs = bench.layer("oci:image", 0).join("fs");
    for quick in [&[][..], &["--quick"]] {
        let run = bench.on_store(&[&["verify", "--all"], quick].concat());
        assert_eq!((run.status, &*run.stdout), (0, ""), "{run:?}");
        assert_eq!(
            fs.join("d").metadata().unwrap().permissions().mode() & 0o7777,
            0
        );
    }
    set_mode(fs.join("d"), 0o700);
    set_mode(fs.join("d/f"), 0o600);
    xattr::set(fs.join("d/f"), "user.k", b"w").unwrap();
    set_mode(fs.join("d/f"), 0);
    set_mode(fs.join("d"), 0);
    let run = bench.on_store(&["verify", "--all"]);
    assert!(
        run.stdout.ends_with(": d/f: xattr user.k was changed\n"),
        "{run:?}"
    );
    assert_eq!(run.stdout.lines().count(), 1);
    let run = bench.on_store(&["verify", "oci:image", "--repair", "--sync=none"]);
    assert_eq!(run.status, 0, "{run:?}");
    assert_eq!(bench.on_store(&["verify", "--all"]).status, 0);
}
