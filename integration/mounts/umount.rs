//! `umount` takes down what `mount` made, and nothing else.

use std::fs;
use std::process::Command;

use super::seccomp::Kernel;
use super::{Unpacked, mounts_on, os, stderr};
use crate::scratch::{Mounted, Scratch};

fn umount(image: &Unpacked, target: &std::path::Path) -> std::process::Output {
    image.run(Kernel::AsItIs, &[os("umount"), target.as_os_str()])
}

#[test]
fn our_mounts_go_however_they_were_made() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    for kernel in [Kernel::AsItIs, Kernel::WithoutFsopen] {
        let target = image.mounted(kernel, &[]);
        assert_eq!(mounts_on(&target.0).len(), 1);
        assert!(umount(&image, &target.0).status.success());
        assert_eq!(mounts_on(&target.0), []);
    }
}

#[test]
fn two_mounts_on_one_directory_go_one_by_one() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = image.mounted(Kernel::AsItIs, &[]);
    assert!(image.mount(Kernel::AsItIs, &target.0, &[]).status.success());
    for left in [1, 0] {
        assert!(umount(&image, &target.0).status.success());
        assert_eq!(mounts_on(&target.0).len(), left);
    }
}

#[test]
fn others_mounts_stay() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let layers = [image.site.path().to_path_buf()];
    let foreign = Mounted::stack(&layers, false, &tempfile::tempdir().unwrap().keep()).unwrap();
    let output = umount(&image, &foreign.0);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("did not make"), "{output:?}");
    assert_eq!(mounts_on(&foreign.0).len(), 1);

    for (target, words) in [
        (image.site.path().join("image"), "nothing is mounted on"),
        (image.site.path().join("absent"), "no such file"),
        ("/proc".into(), "not an overlay mount"),
    ] {
        let output = umount(&image, &target);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains(words), "{output:?}");
    }
}

#[test]
fn a_directory_in_a_mount_is_no_mount() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = image.mounted(Kernel::AsItIs, &[os("--tmpfs")]);
    fs::create_dir(target.0.join("d")).unwrap();
    let output = umount(&image, &target.0.join("d"));
    assert!(
        stderr(&output).contains("nothing is mounted on"),
        "{output:?}"
    );
    assert_eq!(mounts_on(&target.0).len(), 1);
}

#[test]
fn a_mount_in_use_stays_and_the_error_says_so() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = image.mounted(Kernel::AsItIs, &[]);
    // Not a file that is open here: whatever another test starts holds it until its exec.
    let mut user = Command::new("sleep")
        .arg("60")
        .current_dir(&target.0)
        .spawn()
        .unwrap();
    let output = umount(&image, &target.0);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("hint: something in it is still in use"));
    user.kill().unwrap();
    user.wait().unwrap();
    let output = umount(&image, &target.0);
    assert!(output.status.success(), "{output:?}");
}
