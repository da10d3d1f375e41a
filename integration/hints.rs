//! Errors that the system is the cause of, each with a hint at what the user can do.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use rustix::mount::{MountFlags, mount};
use tempfile::TempDir;

use crate::oci::{self, Compression};
use crate::scratch::{Mounted, Scratch};
use crate::tarball::{LayerBuilder, Meta};
use support::program;

const NOBODY: u32 = 65534;

/// An image that takes a megabyte, an opaque directory and an owner.
fn image(scratch: &Scratch) -> TempDir {
    let site = scratch.site();
    let low = LayerBuilder::new()
        .dir("d", 0o755)
        .file("d/f", 0o644, [7; 1 << 20]);
    let high = LayerBuilder::new().opaque("d").file("d/g", 0o644, "");
    let layers = [low, high].map(|layer| (layer.finish(), Compression::Plain));
    oci::write_layout(&site.path().join("image"), "latest", &layers);
    let passable = || fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.path().parent().unwrap(), passable()).unwrap();
    fs::set_permissions(site.path(), passable()).unwrap();
    site
}

/// Runs `lowerdir`, after the words of another program that changes who runs it.
fn run(before: &[&str], site: &Path, arguments: &[&str]) -> Output {
    let program = program::path();
    let words = before.iter().copied().chain([program, "--progress=none"]);
    let words: Vec<&OsStr> = words
        .chain(arguments.iter().copied())
        .map(OsStr::new)
        .collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(site);
    command
        .env_remove("LOWERDIR_STORE")
        .output()
        .expect("the program is there")
}

fn fails(output: &Output, error: &str, hint: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let mut lines = text.lines();
    assert!(
        lines.next().is_some_and(|line| line.contains(error)),
        "{text}"
    );
    let hinted = lines.next().and_then(|line| line.strip_prefix("hint: "));
    assert!(hinted.is_some_and(|line| line.contains(hint)), "{text}");
}

const AS_NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--",
];

#[test]
fn a_full_disk_is_told_and_nothing_is_left_on_it() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = image(&scratch);
    let small = Mounted::nothing(site.path());
    mount(
        "tmpfs",
        &small.0,
        "tmpfs",
        MountFlags::empty(),
        c"size=512k",
    )
    .unwrap();
    let store = small.0.join("store");
    let arguments = ["--store", store.to_str().unwrap(), "unpack", "oci:image"];
    let output = run(&[], site.path(), &arguments);
    fails(
        &output,
        "d/f: writing its data: no space left on device",
        "free some space",
    );
    for directory in ["staging", "layers/sha256", "images"] {
        assert_eq!(
            fs::read_dir(store.join(directory)).unwrap().count(),
            0,
            "{directory}"
        );
    }
}

#[test]
fn who_is_not_root_is_told_what_takes_root() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = image(&scratch);
    let own = site.path().join("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let unpack = ["--store", "own/store", "unpack", "oci:image"];
    let output = run(&AS_NOBODY, site.path(), &unpack);
    fails(
        &output,
        "setting xattr trusted.overlay.opaque: operation not permitted",
        "--rootless",
    );
    let output = run(
        &AS_NOBODY,
        site.path(),
        &[&unpack[..], &["--rootless"]].concat(),
    );
    assert!(output.status.success(), "{output:?}");

    fs::create_dir(site.path().join("target")).unwrap();
    let mount = ["--store", "own/store", "mount", "oci:image", "target"];
    let output = run(&AS_NOBODY, site.path(), &mount);
    fails(&output, "mounting on", "mount as root");
    let output = run(
        &AS_NOBODY,
        site.path(),
        &["--store", "/nowhere", "unpack", "oci:image"],
    );
    fails(&output, "making the store /nowhere", "LOWERDIR_STORE");
}

#[test]
fn an_id_that_a_user_namespace_lacks_is_told() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = image(&scratch);
    let layer = LayerBuilder::new().file("f", Meta::new(0o644).owner(5, 6), "");
    let layers = [(layer.finish(), Compression::Plain)];
    oci::write_layout(&site.path().join("owned"), "latest", &layers);
    let arguments = ["--store", "s", "unpack", "oci:owned"];
    let output = run(
        &["unshare", "--user", "--map-root-user"],
        site.path(),
        &arguments,
    );
    fails(
        &output,
        "f: setting the owner 5:6: invalid argument",
        "--owners=caller",
    );
}

#[test]
fn root_on_an_overlay_mount_is_told_of_whiteouts_without_devices() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let low = LayerBuilder::new().file("f", 0o644, "");
    let high = LayerBuilder::new().whiteout("f");
    let layers = [low, high].map(|layer| (layer.finish(), Compression::Plain));
    oci::write_layout(&site.path().join("image"), "latest", &layers);
    for name in ["lower", "upper", "work"] {
        fs::create_dir(site.path().join(name)).unwrap();
    }
    let overlay = Mounted::nothing(site.path());
    let place = site.path().display();
    let options = format!("lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work");
    let options = std::ffi::CString::new(options).unwrap();
    mount(
        "overlay",
        &overlay.0,
        "overlay",
        MountFlags::empty(),
        &*options,
    )
    .unwrap();
    let store = overlay.0.join("store");
    let unpack = ["--store", store.to_str().unwrap(), "unpack", "oci:image"];
    let output = run(&[], site.path(), &unpack);
    fails(
        &output,
        "f: writing a whiteout: operation not permitted",
        "--whiteout=xattr",
    );
    let xattr = [&unpack[..], &["--whiteout=xattr"]].concat();
    let output = run(&[], site.path(), &xattr);
    assert!(output.status.success(), "{output:?}");
}

/// ext4 says of both that there is no space left.
#[test]
fn an_xattr_that_is_too_large_is_told_from_a_full_disk() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let disk = crate::crash::disk::Disk::make(site.path(), "ext4", "16M", &["-b", "4096"]);
    let Some(place) = crate::crash::disk::Mount::of(&disk.file, &site.path().join("disk")) else {
        return;
    };
    let large = || Meta::new(0o644).xattr("user.large", "x".repeat(8000));
    let layers = [
        LayerBuilder::new().file("f", large(), ""),
        LayerBuilder::new().file("f", 0o644, "").dir("d", large()),
    ];
    for (number, layer) in layers.into_iter().enumerate() {
        let name = format!("layer{number}");
        fs::write(site.path().join(&name), layer.finish()).unwrap();
        let new = place.place().join("new");
        let words = ["unpack-layer", &name, new.to_str().unwrap(), "--base"];
        let output = run(&[], site.path(), &words);
        let error = "setting xattr user.large of 8000 bytes: ";
        fails(&output, error, "too large for this file system: ext4");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("free some space"), "{text}");
        assert!(!new.exists());
    }
}

/// To others than root the kernel denies that there are any `trusted.*` xattrs: an opaque directory would
/// show what is below it, with status 0.
#[test]
fn marks_that_do_not_show_to_the_caller_are_not_taken_for_absent() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = image(&scratch);
    let unpack = ["--store", "store", "unpack", "oci:image"];
    let output = run(&[], site.path(), &unpack);
    assert!(output.status.success(), "{output:?}");
    let layers = String::from_utf8(output.stdout).expect("paths of ours");
    let top = layers.lines().next().expect("two layers").to_string();
    fs::write(site.path().join("layer"), LayerBuilder::new().finish()).unwrap();
    // It may be read, all but its marks.
    let open = [
        "-c",
        "mkdir tree && cp -a \"$0/.\" tree && chmod -R a+rX tree && chmod 777 . && chown 65534 tree",
    ];
    let mut sh = Command::new("sh");
    let copied = sh.args(open).arg(&top).current_dir(site.path()).status();
    assert!(copied.expect("a shell").success());
    let verbs: [&[&str]; 4] = [
        &["pack", "tree", "--base", "-o", "new"],
        &["convert", "tree", "--from=trusted", "--to=oci"],
        &["convert", "tree", "--from=trusted", "--to=oci", "--dry-run"],
        &["unpack-layer", "layer", "new", "--lower=tree"],
    ];
    for verb in verbs {
        let output = run(&AS_NOBODY, site.path(), verb);
        fails(&output, "shows only to CAP_SYS_ADMIN", "--userxattr");
        assert!(!site.path().join("new").exists(), "{verb:?}");
    }
}
