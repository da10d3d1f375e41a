//! Changes: into an upperdir, or into memory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::seccomp::Kernel;
use super::{Unpacked, mounts_on, os, stderr};
use crate::scratch::{Mounted, Scratch};

#[test]
fn without_an_upperdir_nothing_can_be_written() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        let target = image.mounted(kernel, &[]);
        let error = fs::write(target.0.join("new"), "").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(30), "{error}");
    }
}

#[test]
fn an_empty_upperdir_looks_like_the_root_that_it_stands_for() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let (upper, work) = (image.site.path().join("u"), image.site.path().join("w"));
    for make in [false, true] {
        if make {
            fs::create_dir(&upper).unwrap();
            fs::create_dir(&work).unwrap();
        }
        let options = [
            os("--upper"),
            upper.as_os_str(),
            os("--work"),
            work.as_os_str(),
        ];
        let target = image.mounted(Kernel::AsItIs, &options);
        image.is_at(&target.0);
        let plain = image.mounted(Kernel::AsItIs, &[]);
        let (one, other) = (
            fs::metadata(&target.0).unwrap(),
            fs::metadata(&plain.0).unwrap(),
        );
        assert_eq!(one.modified().unwrap(), other.modified().unwrap());
        assert_eq!((one.uid(), one.gid()), (other.uid(), other.gid()));
        drop(target);
        fs::remove_dir_all(&upper).unwrap();
        fs::remove_dir_all(&work).unwrap();
    }
}

#[test]
fn an_upperdir_with_changes_stays_as_it_is() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let (upper, work) = (image.site.path().join("u"), image.site.path().join("w"));
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("mine"), "").unwrap();
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o750)).unwrap();
    let options = [
        os("--upper"),
        upper.as_os_str(),
        os("--work"),
        work.as_os_str(),
    ];
    let target = image.mounted(Kernel::AsItIs, &options);
    assert_eq!(fs::metadata(&target.0).unwrap().mode() & 0o7777, 0o750);
    assert!(target.0.join("mine").exists() && target.0.join("f0").exists());
}

#[test]
fn a_tmpfs_takes_the_changes_and_goes_with_the_mount() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let overlay = ("overlay".to_string(), "lowerdir".to_string());
    let tmpfs = ("tmpfs".to_string(), "lowerdir-tmpfs".to_string());
    for (kernel, expected) in [
        (Kernel::AsItIs, vec![overlay.clone()]),
        (Kernel::WithoutFsopen, vec![tmpfs, overlay]),
    ] {
        let target = image.mounted(kernel, &[os("--tmpfs=1m")]);
        image.is_at(&target.0);
        assert_eq!(mounts_on(&target.0), expected);
        fs::write(target.0.join("new"), "text").unwrap();
        fs::remove_file(target.0.join("f0")).unwrap();
        assert!(!target.0.join("f0").exists());
        let error = fs::write(target.0.join("large"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(28),
            "the size is a limit: {error}"
        );
        let output = image.run(Kernel::AsItIs, &[os("umount"), target.0.as_os_str()]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(mounts_on(&target.0), []);
        assert_eq!(fs::read_dir(&target.0).unwrap().count(), 0);
        // The image is as it was.
        image.is_at(&image.mounted(kernel, &[]).0);
    }
}

#[test]
fn a_mount_that_fails_leaves_no_tmpfs() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        let target = Mounted::nothing(image.site.path());
        let output = image.mount(kernel, &target.0, &[os("--tmpfs=nonsense")]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains("nonsense"), "{output:?}");
        assert_eq!(mounts_on(&target.0), []);
    }
    // The layers are gone, so the overlay cannot be made.
    let layers = image.store.join("layers/sha256");
    for layer in fs::read_dir(layers).unwrap() {
        let fs = layer.unwrap().path().join("fs");
        fs::remove_dir_all(&fs).unwrap();
        fs::write(&fs, "").unwrap();
    }
    let target = Mounted::nothing(image.site.path());
    let output = image.mount(Kernel::AsItIs, &target.0, &[os("--tmpfs")]);
    assert!(!output.status.success());
    assert_eq!(mounts_on(&target.0), []);
}
