//! Where there is no store, a verb that reads says so, and makes none; and where the store is, if no option says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::bench::{Bench, Run};
use crate::layout::{Layout, named};
use crate::tarball::LayerBuilder;
use support::program;

/// Verbs that need a store, about an image of it and about a file.
const VERBS: &[&str] = &[
    "images",
    "stack image:1",
    "stack oci:image",
    "stack store:image:1",
    "mount image:1 empty",
    "mount oci:image empty --print=cmd",
    "bundle image:1 box",
    "bundle oci:image box",
    "export oci:image --format=mstack new.mstack",
    "export oci:image --format=containers-storage new",
    "verify --all",
    "verify oci:image",
    "verify store:image:1",
    "tag image:1 other",
    "rm image:1",
    "rm -n image:1",
    "prune",
    "inspect store:image:1",
    "ls store:image:1",
    "flatten store:image:1 new",
];

fn bench() -> Bench {
    let bench = Bench::new();
    let layout = Layout::new(bench.path("image"));
    let layer = LayerBuilder::new().file("f", 0o644, "x").finish();
    let manifest = layout.manifest(&[layer]);
    layout.index(&[named(
        layout.document(crate::layout::MANIFEST, &manifest),
        "1",
    )]);
    fs::create_dir(bench.path("empty")).expect("a directory");
    bench
}

#[test]
fn verbs_that_read_make_none() {
    let bench = bench();
    let place = bench.store().display().to_string();
    let before = bench.names(&bench.path(""));
    for verb in VERBS {
        let words: Vec<&str> = verb.split(' ').collect();
        let run = bench.on_store(&words);
        run.fails(1, &[&format!("there is no store at {place}")]);
        assert!(run.hint().contains("lowerdir unpack"), "{verb}: {run:?}");
        assert_eq!(bench.names(&bench.path("")), before, "{verb}");
    }
}

/// An empty directory may become a store, and is none yet.
#[test]
fn an_empty_directory_stays_empty() {
    let bench = bench();
    fs::create_dir(bench.store()).expect("a directory");
    let run = bench.on_store(&["images"]);
    run.fails(1, &["there is no store at"]);
    assert_eq!(bench.names(bench.store()), [""; 0]);
}

/// What is wrong with an image is told whether or not there is a store.
#[test]
fn the_fault_of_an_image_comes_first() {
    let bench = bench();
    bench.write("bad.tar", "junk");
    let run = bench.on_store(&["stack", "bad.tar"]);
    run.fails(3, &["not a tar archive"]);
    let run = bench.on_store(&["stack", "oci:nowhere"]);
    run.fails(1, &["opening nowhere"]);
}

/// A file comes before a name of the store, and a note says so if that is another image.
#[test]
fn a_file_that_hides_a_name_is_said_aloud() {
    let bench = bench();
    let unpack = ["--userxattr", "--owners=caller", "--sync=none"];
    let run = bench.on_store(&[&["unpack", "oci:image"], &unpack[..]].concat());
    let first = run.lines().join(":");
    fs::rename(bench.path("image"), bench.path("other")).expect("it is there");
    let run = bench.on_store(&["stack", "image:1"]);
    assert!(run.lines()[0].starts_with(&first) && !run.stderr.contains("is a file"));
    let layout = Layout::new(bench.path("image"));
    let layer = LayerBuilder::new().file("another", 0o644, "").finish();
    let manifest = layout.manifest(&[layer]);
    layout.index(&[named(
        layout.document(crate::layout::MANIFEST, &manifest),
        "1",
    )]);
    let run = bench.on_store(&["stack", "image:1"]);
    run.fails(1, &["not in the store"]);
    assert!(
        run.stderr
            .contains("image:1 is a file; the image of that name in the store is store:image:1")
    );
    assert!(bench.on_store(&["stack", "store:image:1"]).lines()[0].starts_with(&first));
}

/// Whatever the order, each name is on one image at the end, and none is lost.
#[test]
fn names_that_processes_give_at_once_are_all_there() {
    let bench = bench();
    let unpack = ["--userxattr", "--owners=caller", "--sync=none"];
    let digest = |name: &str, file: &str| {
        let layout = Layout::new(bench.path(name));
        let layer = LayerBuilder::new().file(file, 0o644, "").finish();
        layout.image(&layout.manifest(&[layer]));
        let run =
            bench.on_store(&[&["unpack", &format!("oci:{name}"), "--json"], &unpack[..]].concat());
        let value: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        value["digest"].as_str().expect("a digest").to_string()
    };
    let digests = [digest("one", "a"), digest("two", "b")];
    let children = (0..16).map(|number| {
        let own = format!("own:{number}");
        program::lowerdir()
            .args([
                "--store",
                bench.store().to_str().expect("text"),
                "tag",
                "--sync=none",
            ])
            .args([&digests[number % 2], "shared", &own])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts")
    });
    let children: Vec<_> = children.collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let run = bench.on_store(&["images"]);
    let count = |name: &str| {
        run.lines()
            .iter()
            .filter(|line| line.starts_with(name))
            .count()
    };
    assert_eq!((count("own:"), count("shared:latest ")), (16, 1), "{run:?}");
    for (number, digest) in (0..16).zip(digests.iter().cycle()) {
        let line = format!("own:{number} ");
        let lines = run.lines();
        let line = lines
            .iter()
            .find(|one| one.starts_with(&line))
            .expect("a name");
        assert!(line.contains(&digest[..19]), "{run:?}");
    }
}

#[test]
fn an_image_for_another_platform_is_said_aloud() {
    let bench = bench();
    let layout = Layout::new(bench.path("foreign"));
    let layer = LayerBuilder::new().file("f", 0o644, "").finish();
    let mut config = crate::oci::config(&crate::oci::diff_ids(std::slice::from_ref(&layer)));
    config["architecture"] = "s390x".into();
    layout.image(&layout.manifest_with_config(&[layer], &config));
    let unpack = [
        "unpack",
        "oci:foreign",
        "--userxattr",
        "--owners=caller",
        "--sync=none",
    ];
    let note = "the image is for linux/s390x, and this machine is linux/";
    assert!(bench.on_store(&unpack).stderr.contains(note));
    assert!(bench.on_store(&["stack", "foreign"]).stderr.contains(note));
    let asked = [&unpack[..], &["--platform=linux/s390x"]].concat();
    assert!(!bench.on_store(&asked).stderr.contains(note));
}

#[test]
fn the_users_own_store_is_the_default() {
    let bench = bench();
    let user = rustix::process::geteuid();
    let nobody = 65534;
    let home = bench.path("home");
    fs::create_dir(&home).expect("a directory");
    if user.is_root() {
        chown(&home, Some(nobody), Some(nobody)).expect("root may");
        fs::set_permissions(bench.path(""), fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let run = |variables: &[(&str, &str)]| {
        let mut command = match user.is_root() {
            true => {
                let mut command = program::other("setpriv");
                let ids = [format!("--reuid={nobody}"), format!("--regid={nobody}")];
                command.args(ids).arg("--clear-groups").arg(program::path());
                command
            }
            false => program::lowerdir(),
        };
        command.args(["unpack", "oci:image", "--rootless", "--sync=none"]);
        command.env_remove("HOME").env_remove("XDG_DATA_HOME");
        command
            .envs(variables.iter().copied())
            .current_dir(bench.path(""));
        Run::of(&mut command)
    };
    let home = home.to_str().expect("text");
    let data = format!("{home}/data");
    let first = |run: &Run| run.lines()[0].to_string();
    let at_home = run(&[("HOME", home)]);
    assert!(first(&at_home).starts_with(&format!("{home}/.local/share/lowerdir/layers/")));
    let with_xdg = run(&[("HOME", home), ("XDG_DATA_HOME", &data)]);
    assert!(first(&with_xdg).starts_with(&format!("{data}/lowerdir/layers/")));
    // The specification ignores a relative path.
    let relative = run(&[("HOME", home), ("XDG_DATA_HOME", "data")]);
    assert_eq!(first(&relative), first(&at_home));
    run(&[]).fails(2, &["neither XDG_DATA_HOME nor HOME"]);
}
