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
