//! What is made for other programs, tried with every version of them that can be had: bundles with runc
//! and crun, with root and without.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::bundles::{self, READ_ONLY, Shop};
use crate::engines::runtimes;
use crate::tarball::LayerBuilder;
use support::program;

const ABSENT: &str = "/absent/working/directory";

/// The default form: read-only, with changes in a directory, and in memory. The working directory is in
/// no layer, and gets into no changes.
#[test]
fn every_runtime_starts_every_default_bundle() {
    let mut parameters = bundles::parameters();
    parameters["WorkingDir"] = ABSENT.into();
    let command = parameters["Cmd"].clone();
    let shell = ["/bin/sh", "-c"].map(|word| json!(word));
    let command = [&shell[..], command.as_array().expect("a list")].concat();
    parameters["Entrypoint"] = json!([""]);
    parameters["Cmd"] = command.into();
    let Some(shop) = Shop::open("runc", &bundles::layers(), parameters) else {
        return;
    };
    let [upper, work] = ["upper", "work"].map(|name| shop.path(name));
    let changes = ["--upper", text(&upper), "--work", text(&work)];
    let forms = [
        ("read-only", &[][..]),
        ("memory", &["--tmpfs=10m"]),
        ("changes", &changes),
    ];
    let rootfs = forms.map(|(name, options)| {
        shop.bundle(name, options);
        shop.rootfs(name)
    });
    let expected = bundles::SEEN.replacen("/srv", ABSENT, 1) + READ_ONLY;
    let mut tried = 0;
    for runtime in runtimes() {
        if !bundles::works(&runtime, shop.site.path()) {
            continue;
        }
        for (name, _) in forms {
            let printed = bundles::run_by(&runtime, &shop.path("state"), &shop.path(name));
            assert_eq!(printed.as_ref(), Ok(&expected), "{}: {name}", runtime.label);
            tried += 1;
        }
    }
    eprintln!("{tried} containers ran");
    drop(rootfs);
    let names = fs::read_dir(&upper).expect("it was made");
    let names: Vec<_> = names
        .map(|entry| entry.expect("a name").file_name())
        .collect();
    assert_eq!(
        names,
        ["srv"],
        "neither mount points nor the working directory"
    );
}

/// With the mount of its own that a script makes, also as root, every time anew: what the container did
/// to the root directory stays.
#[test]
fn a_script_mounts_the_layers_anew_and_leaves_the_changes_as_they_are() {
    let mut parameters = bundles::parameters();
    parameters["User"] = "".into();
    let Some(shop) = Shop::open("runc", &layers("script"), parameters) else {
        return;
    };
    if !bundles::runc_works(shop.site.path()) {
        return;
    }
    let (upper, work) = (shop.path("upper"), shop.path("work"));
    let changes = ["--upper", text(&upper), "--work", text(&work)];
    let script = "stat -c %a /; busybox chmod 711 /; echo more >> /kept; cat /kept";
    let options = [&["--overlay=script"], &changes[..], &["--", script]].concat();
    shop.bundle("box", &options);
    let with_rootfs = shop.path("box/with-rootfs");
    let run = || {
        let mut command = std::process::Command::new(&with_rootfs);
        command.args(["runc", "--root", text(&shop.path("state"))]);
        command.args(["run", "--bundle", text(&shop.path("box"))]);
        let name = format!("lowerdir-script-{}", std::process::id());
        crate::scratch::Run::of(command.arg(name)).text()
    };
    assert_eq!(run(), Ok("755\nmore\n".into()));
    assert_eq!(run(), Ok("711\nmore\nmore\n".into()));
    let mode = fs::metadata(&upper)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o711);
    // No mount is left: the bundle can be removed, and the layers as well.
    fs::remove_dir_all(shop.path("box")).expect("nothing is mounted in it");
    shop.lowerdir(&["rm", "image:it"]);
}

/// What a bundle is mounted from is in use, until the mount is taken down.
#[test]
fn rm_leaves_the_layers_of_a_mounted_bundle() {
    let Some(shop) = Shop::open("busybox", &layers("rm"), bundles::parameters()) else {
        return;
    };
    shop.bundle("box", &[]);
    let rootfs = shop.rootfs("box");
    let rm = |options: &[&str]| {
        let mut command = program::lowerdir();
        command.arg("--store").arg(shop.path("store"));
        crate::scratch::Run::of(command.args(["rm", "image:it"]).args(options))
    };
    let refused = rm(&[]).complaint("the layers are in use");
    assert!(refused.contains("in use by the mount on"), "{refused}");
    shop.lowerdir(&["verify", "--all"]);
    shop.lowerdir(&["umount", text(&rootfs.0)]);
    fs::remove_dir_all(shop.path("box")).expect("nothing is mounted in it");
    rm(&[]).text().expect("nothing needs them");
}

/// Layers of one test alone: others do not keep them in use.
fn layers(test: &str) -> Vec<Vec<u8>> {
    let lowest = LayerBuilder::new().file("test", 0o644, test).finish();
    [vec![lowest], bundles::layers()].concat()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
