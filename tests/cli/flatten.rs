//! `flatten` and `export`: one tree out of many layers, and what a user may change of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::bench::{Bench, Run};
use crate::ls::{crfs, image};
use crate::oci;
use crate::tarball::{LayerBuilder, Meta};

/// Two layers, where the upper one hides, replaces and links.
fn busy(bench: &Bench) {
    let low = LayerBuilder::new()
        .dir("usr", Meta::new(0o711).time(9, 0))
        .file(
            "usr/tool",
            Meta::new(0o4755).xattr("user.k", "v").time(5, 500),
            "old tool",
        )
        .file("var/cache/a/big", 0o644, "cached")
        .file("var/cache/b", 0o644, "cached")
        .file("etc/hosts", 0o644, "one\n")
        .file("etc/gone", 0o644, "");
    let high = LayerBuilder::new()
        .hardlink("usr/same", "usr/tool")
        .file("etc/hosts", Meta::new(0o600).time(100, 0), "two\n")
        .whiteout("etc/gone")
        .symlink("etc/link", "../usr");
    image(bench, "busy", vec![low, high]);
}

/// Flattens into a directory `flat` that was not there.
fn flatten(bench: &Bench, image: &str, options: &[&str]) -> Run {
    let fixed = ["flatten", image, "flat", "--owners=caller", "--sync=none"];
    let run = bench.run(&[&fixed[..], options].concat());
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{run:?}");
    run
}

/// Every path of the flattened tree, read back by `ls` from an archive of it.
fn paths(bench: &Bench, image: &str, options: &[&str]) -> Vec<String> {
    let target = ["flatten", image, "oci:paths:it", "--sync=none"];
    let run = bench.run(&[&target[..], options].concat());
    assert_eq!(run.status, 0, "{run:?}");
    let run = bench.run(&["ls", "oci:paths:it"]);
    let name = |line: &str| {
        line.splitn(7, ' ')
            .last()
            .expect("a column")
            .trim()
            .to_string()
    };
    let lines = run.lines();
    let last = |line: &&str| {
        line.split_once(" 1 ")
            .map_or_else(|| name(line), |at| at.1.into())
    };
    lines.iter().map(last).collect()
}

fn content(bench: &Bench, path: &str) -> String {
    fs::read_to_string(bench.path("flat").join(path)).expect(path)
}

#[test]
fn a_directory_holds_what_wins_and_nothing_else() {
    let bench = Bench::new();
    busy(&bench);
    let run = flatten(&bench, "oci:busy", &[]);
    assert!(run.stderr.ends_with("12 entries, 24 B\n"), "{run:?}");
    assert_eq!(content(&bench, "etc/hosts"), "two\n");
    assert_eq!(content(&bench, "usr/same"), "old tool");
    assert!(!bench.path("flat/etc/gone").exists());
    let tool = fs::metadata(bench.path("flat/usr/tool")).expect("a file");
    let same = fs::metadata(bench.path("flat/usr/same")).expect("a file");
    assert_eq!((tool.ino(), tool.nlink()), (same.ino(), 2));
    assert_eq!(
        (tool.mode() & 0o7777, tool.mtime(), tool.mtime_nsec()),
        (0o4755, 5, 500)
    );
    let usr = fs::metadata(bench.path("flat/usr")).expect("a directory");
    assert_eq!((usr.mode() & 0o7777, usr.mtime()), (0o711, 9));
    assert_eq!(bench.names(Path::new("")), ["busy", "flat"]);
}

#[test]
fn an_archive_is_the_same_bytes_each_time() {
    let bench = Bench::new();
    busy(&bench);
    let target = |tag: &str| format!("oci:out:{tag}");
    for (tag, jobs) in [("one", "-j1"), ("two", "-j3")] {
        let run = bench.run(&["flatten", "oci:busy", &target(tag), jobs, "--json"]);
        assert_eq!(run.status, 0, "{run:?}");
    }
    let again = bench.run(&["flatten", "oci:out:one", &target("three"), "--json"]);
    assert_eq!(again.status, 0, "{again:?}");
    let told = |tag: &str| {
        let run = bench.run(&["inspect", &target(tag), "--json"]);
        let told: serde_json::Value = serde_json::from_str(&run.stdout).expect("an object");
        told["layers"].clone()
    };
    assert_eq!(told("one"), told("two"));
    assert_eq!(
        told("one"),
        told("three"),
        "a flattened image is flat already"
    );
    let run = bench.run(&["diff", "oci:busy", &target("one")]);
    assert_eq!((run.status, run.stdout.as_str()), (0, ""), "{run:?}");
}

#[test]
fn a_new_image_has_one_step_in_its_history() {
    let bench = Bench::new();
    crfs(&bench);
    let run = bench.run(&[
        "flatten",
        "oci:crfs",
        "oci:out:flat",
        "--compression=zstd",
        "--json",
    ]);
    let told: serde_json::Value = serde_json::from_str(&run.stdout).expect("an object");
    let run = bench.run(&["inspect", "oci:out:flat", "--json"]);
    let image: serde_json::Value = serde_json::from_str(&run.stdout).expect("an object");
    assert_eq!(told["digest"], image["digest"]);
    assert_eq!(told["diff_id"], image["layers"][0]["diff_id"]);
    assert_eq!(told["entries"], image["layers"][0]["entries"]);
    assert_eq!(image["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        image["layers"][0]["media_type"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    assert_eq!(image["history"][0]["created_by"], "lowerdir flatten");
    assert_eq!(image["history"][0]["created"], "1970-01-01T00:00:00Z");
    assert_eq!(
        image["config"]["architecture"],
        oci::config(&[])["architecture"]
    );
}

#[test]
fn paths_can_be_left_out() {
    let bench = Bench::new();
    busy(&bench);
    let all = [
        ".",
        "etc",
        "etc/hosts",
        "etc/link -> ../usr",
        "usr",
        "usr/same",
        "usr/tool link to usr/same",
        "var",
        "var/cache",
        "var/cache/a",
        "var/cache/a/big",
        "var/cache/b",
    ];
    assert_eq!(paths(&bench, "oci:busy", &[]), all);
    let without = |globs: &[&str]| {
        let options: Vec<String> = globs
            .iter()
            .map(|glob| format!("--exclude={glob}"))
            .collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let left = paths(&bench, "oci:busy", &options);
        let gone = all
            .iter()
            .filter(|path| !left.iter().any(|left| left == *path));
        gone.copied().collect::<Vec<_>>()
    };
    assert_eq!(
        without(&["/var/cache/*"]),
        ["var/cache/a", "var/cache/a/big", "var/cache/b"]
    );
    assert_eq!(without(&["*/b"]), [""; 0]);
    assert_eq!(without(&["**/b"]), ["var/cache/b"]);
    assert_eq!(without(&["var", "etc/h?sts"]).len(), 6);
    // The other name of a file that is left out stays.
    let left = paths(&bench, "oci:busy", &["--exclude=usr/same"]);
    assert!(left.contains(&"usr/tool".to_string()), "{left:?}");
    bench
        .run(&["flatten", "oci:busy", "flat", "--exclude=[a"])
        .fails(2, &["the pattern \"[a\""]);
}

#[test]
fn things_can_be_put_into_the_tree() {
    let bench = Bench::new();
    busy(&bench);
    bench.write("mine", "mine\n");
    let options = [
        "--replace=etc/hosts=mine",
        "--replace=usr/tool=mine",
        "--replace=etc/link/new=mine",
        "--symlink=var/cache=/tmp",
        "--ensure-dir=a/b",
        "--ensure-dir=etc",
    ];
    flatten(&bench, "oci:busy", &options);
    assert_eq!(content(&bench, "etc/hosts"), "mine\n");
    assert_eq!(content(&bench, "usr/new"), "mine\n", "through the link");
    assert_eq!(
        (content(&bench, "usr/tool"), content(&bench, "usr/same")),
        ("mine\n".into(), "old tool".into())
    );
    let hosts = fs::metadata(bench.path("flat/etc/hosts")).expect("a file");
    assert_eq!((hosts.mode() & 0o7777, hosts.mtime()), (0o600, 100));
    let tool = fs::metadata(bench.path("flat/usr/tool")).expect("a file");
    assert_eq!(tool.mode() & 0o7777, 0o755, "as after a write");
    let cache = fs::read_link(bench.path("flat/var/cache")).expect("a link");
    assert_eq!(cache, Path::new("/tmp"));
    assert_eq!(
        fs::metadata(bench.path("flat/a/b"))
            .expect("a directory")
            .mode()
            & 0o7777,
        0o755
    );
    for (option, status, words) in [
        ("--replace=x=nowhere", 1, "looking at nowhere"),
        ("--replace=x=busy", 1, "busy is not a regular file"),
        ("--replace=x", 2, "should look like --replace PATH=FILE"),
        ("--symlink=/=/tmp", 2, "the root cannot be replaced"),
        ("--ensure-dir=etc/hosts", 1, "etc/hosts is not a directory"),
        ("--ensure-dir=../x", 2, "a component `..`"),
    ] {
        let run = bench.run(&["flatten", "oci:busy", "other", option]);
        run.fails(status, &[words]);
    }
    assert!(!bench.path("other").exists());
}

#[test]
fn the_root_and_the_times_can_be_chosen() {
    let bench = Bench::new();
    busy(&bench);
    let first = |options: &[&str]| {
        let fixed = ["export", "--format=composefs-dump", "oci:busy"];
        let run = bench.run(&[&fixed[..], options].concat());
        run.lines()[0].to_string()
    };
    assert_eq!(first(&[]), "/ 0 40755 5 0 0 0 0.0 - - -");
    assert_eq!(first(&["--root-meta=usr"]), "/ 0 40711 5 0 0 0 9.0 - - -");
    assert_eq!(
        first(&["--root-meta=usr", "--clamp-mtime=7"]),
        "/ 0 40711 5 0 0 0 7.0 - - -"
    );
    assert_eq!(
        first(&["--root-meta=default"]),
        "/ 0 40755 5 0 0 0 0.0 - - -"
    );
    crfs(&bench);
    let run = bench.run(&["flatten", "oci:crfs", "flat", "--root-meta=usr"]);
    run.fails(1, &["no directory usr"]);
    let run = bench.run(&["flatten", "oci:crfs", "flat", "--clamp-mtime"]);
    run.fails(1, &["SOURCE_DATE_EPOCH, which is not set"]);
    let under = paths(&bench, "oci:crfs", &["--prefix=a/b"]);
    assert_eq!(under[..4], [".", "a", "a/b", "a/b/etc"]);
}

#[test]
fn a_directory_appears_whole_or_not_at_all() {
    let bench = Bench::new();
    busy(&bench);
    bench.write("file", "");
    fs::create_dir_all(bench.path("full/x")).expect("a directory");
    fs::create_dir(bench.path("empty")).expect("a directory");
    let run = |target: &str| {
        let fixed = ["--owners=caller", "--sync=none"];
        bench.run(&[&["flatten", "oci:busy", target], &fixed[..]].concat())
    };
    run("full").fails(1, &["full is not empty"]);
    run("file").fails(1, &["file is not a directory"]);
    run("no/where").fails(1, &["making a directory in no"]);
    assert_eq!(run("empty").status, 0);
    assert!(bench.path("empty/etc/hosts").exists());
    // Damage that shows only when the content is read for the second time cannot be had here;
    // damage that shows at once leaves nothing either.
    let blobs = fs::read_dir(bench.path("busy/blobs/sha256")).expect("blobs");
    let largest = blobs.map(|blob| blob.expect("a blob").path());
    let largest = largest.max_by_key(|blob| blob.metadata().expect("a file").len());
    crate::layout::damage(&largest.expect("a blob"));
    run("new").fails(3, &["layer "]);
    run("oci:new:tag").fails(3, &["layer "]);
    let names = bench.names(Path::new(""));
    assert_eq!(names, ["busy", "empty", "file", "full"]);
}

#[test]
fn a_target_must_make_sense() {
    let bench = Bench::new();
    crfs(&bench);
    for target in ["oci:out", "oci:out:", "oci::tag"] {
        let run = bench.run(&["flatten", "oci:crfs", target]);
        run.fails(2, &["a new image needs a name: oci:DIR:TAG"]);
    }
    let run = bench.run(&["flatten", "oci:crfs", "dir", "--compression=gzip"]);
    run.fails(2, &["--compression is for archives"]);
}

#[test]
fn a_composefs_dump_is_sorted_and_escaped() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .file("a b", 0o644, "-")
        .dir("d", Meta::new(0o1755).owner(1, 2))
        .file("d/65", Meta::new(0o644).time(3, 40), "x".repeat(65))
        .file(
            "d/64",
            0o644,
            [b"\\\n\t\r=\xff".as_slice(), &[b'x'; 58]].concat(),
        )
        .symlink("d-", "-")
        .hardlink("e", "d/65")
        .file(
            "f",
            Meta::new(0o600)
                .xattr("user.a=b", "-")
                .xattr("user.b", "c d"),
            "",
        )
        .chardev("g", 0o666, (5, 300))
        .fifo("h", Meta::new(0o600).time(-5, 0));
    image(&bench, "it", vec![layer]);
    let run = bench.run(&["export", "--format", "composefs-dump", "oci:it"]);
    // The fs-verity digest of 65 times `x`, as fsverity(1) tells it.
    let digest = DIGEST_OF_65;
    let (two, rest) = digest.split_at(2);
    let small = format!("\\\\\\n\\t\\r=\\xff{}", "x".repeat(58));
    let expected = format!(
        "\
/ 0 40755 3 0 0 0 0.0 - - -
/a\\x20b 1 100644 1 0 0 0 1613088000.0 - \\x2d -
/d 0 41755 2 1 2 0 1613088000.0 - - -
/d/64 64 100644 1 0 0 0 1613088000.0 - {small} -
/d/65 65 100644 2 0 0 0 3.40 {two}/{rest} - {digest}
/d- 1 120777 1 0 0 0 1613088000.0 \\x2d - -
/e 65 @100644 2 0 0 0 3.40 /d/65 - -
/f 0 100600 1 0 0 0 1613088000.0 - - - user.a=b\\x3d- user.b=c\\x20d
/g 0 20666 1 0 0 1049900 1613088000.0 - - -
/h 0 10600 1 0 0 0 0.0 - - -
"
    );
    assert_eq!((run.status, run.stdout), (0, expected));
}

const DIGEST_OF_65: &str = "097e39836f303d0546bb49f570157f2c38ed302d174dfdfa1a45887bcd6ad4d6";

#[test]
fn an_mtree_has_every_path_on_a_line() {
    let bench = Bench::new();
    let layer = LayerBuilder::new()
        .file("a b#", Meta::new(0o644).time(3, 40), "a")
        .symlink("l", "a=b")
        .blockdev("s", 0o660, (8, 1));
    image(&bench, "it", vec![layer]);
    let run = bench.run(&["export", "--format", "mtree", "oci:it"]);
    let expected = "\
#mtree
. type=dir mode=0755 uid=0 gid=0 time=0.000000000
./a\\040b\\043 type=file mode=0644 uid=0 gid=0 time=3.000000040 size=1 nlink=1 \
sha256digest=ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb
./l type=link mode=0777 uid=0 gid=0 time=1613088000.000000000 link=a\\075b
./s type=block mode=0660 uid=0 gid=0 time=1613088000.000000000 device=native,8,1
";
    assert_eq!((run.status, run.stdout.as_str()), (0, expected));
}

/// Into an archive, any caller may write any ids.
#[test]
fn ids_are_mapped_in_directories_and_archives() {
    let bench = Bench::new();
    let capability = [
        1, 0, 0, 2, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let layer = LayerBuilder::new()
        .file("a", Meta::new(0o644).owner(33, 34), "")
        .hardlink("b", "a")
        .file(
            "c",
            Meta::new(0o755).xattr("security.capability", capability),
            "",
        );
    image(&bench, "owned", vec![layer]);
    let maps = ["--uid-map=0:100000:1000", "--gid-map=0:200000:1000"];
    let flat = ["flatten", "owned", "oci:flat:it", "--sync=none"];
    let run = bench.run(&[&flat[..], &maps].concat());
    assert_eq!(run.status, 0, "{run:?}");
    let listed = bench.run(&["ls", "oci:flat:it", "--json"]);
    let lines = listed.stdout.lines();
    let entries: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let owner_of = |path: &str| {
        let entry = entries.iter().find(|entry| entry["path"] == path);
        let entry = entry.unwrap_or_else(|| panic!("no {path} in {entries:?}"));
        (entry["uid"].as_u64(), entry["gid"].as_u64())
    };
    assert_eq!(owner_of("a"), (Some(100_033), Some(200_034)));
    assert_eq!(owner_of("b"), (Some(100_033), Some(200_034)));
    assert_eq!(owner_of("c"), (Some(100_000), Some(200_000)));
    let refused = bench.run(&["flatten", "owned", "oci:flat:no", "--uid-map=0:9:33"]);
    refused.fails(3, &["a: no id map has the user 33"]);
    let refused = bench.run(&["flatten", "owned", "no", "--owners=caller", maps[0]]);
    refused.fails(2, &["takes no id maps"]);
    assert!(!bench.path("no").exists());
}
