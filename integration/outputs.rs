//! Outputs that only root can set up: devices, files of others, full and read-only file systems.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use tempfile::TempDir;

use crate::oci::{self, Compression};
use crate::scratch::{Mounted, Scratch};
use crate::tarball::LayerBuilder;
use support::dice::noise;
use support::{directory, program};

const NOBODY: u32 = 65534;

/// An image, a layer and an upperdir with a megabyte that does not compress.
fn site(scratch: &Scratch) -> TempDir {
    let site = scratch.site();
    let noise = noise(1, 1 << 20);
    let layer = LayerBuilder::new().file("f", 0o644, noise.clone()).finish();
    fs::write(site.path().join("layer.tar"), &layer).expect("a layer");
    oci::write_layout(
        &site.path().join("image"),
        "latest",
        &[(layer, Compression::Plain)],
    );
    fs::create_dir(site.path().join("upper")).expect("a directory");
    fs::write(site.path().join("upper/f"), noise).expect("a file");
    site
}

fn run(site: &Path, verb: &str) -> Output {
    let mut command = program::lowerdir();
    command.args(["--store", "store", "--progress=none"]);
    command.args(verb.split(' ')).current_dir(site);
    command.env("TMPDIR", site).stdin(Stdio::null());
    command.output().expect("the program is there")
}

fn fails(output: &Output, error: &str, hint: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(error), "no {error:?} in {text}");
    let hinted = text.lines().find_map(|line| line.strip_prefix("hint: "));
    assert!(hinted.is_some_and(|line| line.contains(hint)), "{text}");
    assert!(!text.contains("damaged"), "{text}");
}

const VERBS: [&str; 2] = ["translate layer.tar", "pack upper --base -o"];

#[test]
fn a_device_is_written_into_and_stays() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    for (name, minor) in [("null", 3), ("full", 7)] {
        let device = site.path().join(name);
        let mode = Mode::from_raw_mode(0o666);
        let made = mknodat(
            CWD,
            &device,
            FileType::CharacterDevice,
            mode,
            makedev(1, minor),
        );
        made.expect("root makes devices");
        if fs::OpenOptions::new().write(true).open(&device).is_err() {
            crate::skip("devices of this mount cannot be opened");
            return;
        }
        for verb in VERBS {
            let output = run(site.path(), &format!("{verb} {name}"));
            match name {
                "null" => assert!(output.status.success(), "{output:?}"),
                _ => fails(&output, "writing to full: no space left", "free some space"),
            }
            let found = fs::symlink_metadata(&device).expect("it is there");
            assert!(found.file_type().is_char_device(), "{verb} replaced {name}");
            assert_eq!(found.rdev(), makedev(1, minor));
        }
    }
    assert_eq!(
        names(site.path()),
        ["full", "image", "layer.tar", "null", "upper"]
    );
}

/// All but the store.
fn names(below: &Path) -> Vec<String> {
    let mut names = directory::names(below);
    names.retain(|name| name != "store");
    names
}

#[test]
fn a_file_of_somebody_else_stays_theirs() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    let out = site.path().join("out");
    for verb in VERBS {
        fs::write(&out, "old").expect("a file");
        chown(&out, Some(NOBODY), Some(NOBODY)).expect("root may");
        fs::set_permissions(&out, fs::Permissions::from_mode(0o640)).expect("root may");
        let output = run(site.path(), &format!("{verb} out"));
        assert!(output.status.success(), "{output:?}");
        let found = fs::metadata(&out).expect("it is there");
        let owner = (found.uid(), found.gid(), found.mode() & 0o7777);
        assert_eq!(owner, (NOBODY, NOBODY, 0o640), "{verb}");
        assert!(found.len() > 1 << 20);
    }
}

#[test]
fn a_full_disk_is_no_damage_and_keeps_what_was_there() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    let small = site.path().join("small");
    fs::create_dir(&small).expect("a directory");
    let full = Mounted(small.clone());
    mount("tmpfs", &full.0, "tmpfs", MountFlags::empty(), c"size=512k").expect("a tmpfs");
    fs::write(small.join("old"), "old").expect("there is room for that");
    for verb in [
        "translate layer.tar small/new",
        "translate layer.tar small/old",
        "pack upper --base -o small/old",
        "pack upper --base -o small/old --compression none",
        "pack upper --base -o small/old --compression zstd",
        "flatten oci:image small/new",
        "flatten oci:image oci:small/layout:flat",
        "flatten oci:image oci:small/layout:flat --compression zstd",
        "unpack-layer --base layer.tar small/new",
    ] {
        let output = run(site.path(), verb);
        fails(&output, "no space left on device", "free some space");
        assert!(!small.join("new").exists(), "{verb}");
        assert_eq!(
            fs::read(small.join("old")).expect("it is there"),
            b"old",
            "{verb}"
        );
        let blobs = fs::read_dir(small.join("layout/blobs/sha256"));
        assert_eq!(blobs.map_or(0, Iterator::count), 0, "{verb}");
        assert_eq!(files_left(&small), Vec::<String>::new(), "{verb}");
    }
    // What is read through a pipe is spooled.
    let mut spooling = Command::new("sh");
    let program = program::path();
    let script = format!("cat layer.tar | {program} unpack-layer --base - new");
    spooling.args(["-c", &script]).current_dir(site.path());
    let output = spooling.env("TMPDIR", &small).output().expect("a shell");
    if !output.status.success() {
        fails(&output, "writing a temporary file", "TMPDIR");
    }
}

fn files_left(directory: &Path) -> Vec<String> {
    let mut left = names(directory);
    left.retain(|name| name.starts_with('.'));
    left
}

#[test]
fn a_read_only_file_system_is_told() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    let place = site.path().join("place");
    fs::create_dir(&place).expect("a directory");
    fs::write(place.join("old"), "old").expect("a file");
    let mounted = Mounted(place);
    mount_bind(&mounted.0, &mounted.0).expect("a bind mount");
    mount_remount(&mounted.0, MountFlags::BIND | MountFlags::RDONLY, "").expect("read-only");
    for verb in [
        "translate layer.tar place/old",
        "pack upper --base -o place/new",
        "flatten oci:image place/new",
        "flatten oci:image oci:place/new:flat",
        "unpack-layer --base layer.tar place/new",
        "man --dir place",
    ] {
        let output = run(site.path(), verb);
        fails(&output, "read-only file system", "mount this one writable");
    }
    assert_eq!(names(&mounted.0), ["old"]);
}

#[test]
fn who_may_not_write_is_told() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    let passable = || fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.path().parent().expect("it has one"), passable()).expect("root may");
    fs::set_permissions(site.path(), passable()).expect("root may");
    fs::write(site.path().join("old"), "old").expect("a file");
    for verb in [
        "translate layer.tar new",
        "translate layer.tar old",
        "man --dir new",
    ] {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--",
        ]);
        command.arg(program::path()).args(verb.split(' '));
        let output = command.current_dir(site.path()).output().expect("setpriv");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("permission denied") && !text.contains("damaged"),
            "{text}"
        );
    }
    assert_eq!(
        fs::read(site.path().join("old")).expect("it is there"),
        b"old"
    );
    assert_eq!(names(site.path()), ["image", "layer.tar", "old", "upper"]);
}

/// What is mounted where something is cleaned up is not ours: not where a dead run seems to have been, not
/// in the staging of a store, and not in a layer that is removed.
#[test]
fn what_is_mounted_in_the_way_of_a_removal_is_kept() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    let place = |path: &str| site.path().join(path);
    let output = run(site.path(), "unpack oci:image");
    assert!(output.status.success(), "{output:?}");
    let layer = String::from_utf8(output.stdout).expect("a path of ours");
    let layer = layer.trim_end();
    fs::create_dir(place("tree")).expect("a directory");
    fs::write(place("tree/.wh.x"), "").expect("a marker");
    fs::create_dir_all(place("data/sub")).expect("a directory");
    fs::write(place("data/sub/f"), "precious").expect("a file");
    let dead = ".lowerdir-0123456789abcdef";
    for (mount_point, verbs) in [
        (
            dead.to_string(),
            &[
                "unpack-layer --base layer.tar new",
                "flatten oci:image new",
                "convert tree",
            ][..],
        ),
        (
            format!("{dead}/below"),
            &["unpack-layer --base layer.tar new", "convert tree --to=oci"],
        ),
        (
            "store/staging/0123456789abcdef".into(),
            &["unpack oci:image", "images"],
        ),
        (format!("{layer}/mounted"), &["rm latest"]),
        (format!("{layer}/{}mounted", "d/".repeat(200)), &["prune"]),
    ] {
        for verb in verbs {
            fs::create_dir_all(place(&mount_point)).expect("a directory");
            if mount_point.starts_with(dead) {
                let only = fs::Permissions::from_mode(0o700);
                fs::set_permissions(place(dead), only).expect("it is ours");
            }
            mount_bind(place("data"), place(&mount_point)).expect("root may");
            let output = run(site.path(), verb);
            assert!(place("data/sub/f").exists(), "{verb}: {output:?}");
            let _ =
                rustix::mount::unmount(place(&mount_point), rustix::mount::UnmountFlags::empty());
            assert!(place("data/sub/f").exists(), "{verb}: {output:?}");
            let _ = fs::remove_dir_all(place("new"));
        }
    }
}

/// A layer of a store is one wherever it is mounted.
#[test]
fn nothing_is_written_into_a_layer_by_another_mount_of_it() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = site(&scratch);
    let output = run(site.path(), "unpack oci:image");
    assert!(output.status.success(), "{output:?}");
    let layer = String::from_utf8(output.stdout).expect("a path of ours");
    for name in ["there", "target"] {
        fs::create_dir(site.path().join(name)).expect("a directory");
    }
    mount_bind(layer.trim_end(), site.path().join("there")).expect("root may");
    let _mounted = Mounted(site.path().join("there"));
    for verb in [
        "pack upper --base -o there/out",
        "unpack-layer --base layer.tar there/new",
        "flatten oci:image there/new",
        "mount oci:image target --upper there/u --work there/w",
        "mount oci:image there",
        "bundle oci:image there/new",
    ] {
        let output = run(site.path(), verb);
        fails(&output, "would be inside the store", "outside the store");
    }
    assert_eq!(
        fs::read_dir(site.path().join("there"))
            .expect("a layer")
            .count(),
        1
    );
}
