//! What `--print` prints mounts the same: it is run, and the mount is looked at.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use super::seccomp::Kernel;
use super::{Unpacked, mounts_on, os};
use crate::scratch::{Mounted, Scratch};

fn printed(image: &Unpacked, target: &Path, options: &[&str]) -> Vec<u8> {
    let options: Vec<_> = options.iter().map(|option| os(option)).collect();
    let output = image.mount(Kernel::AsItIs, target, &options);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(mounts_on(target), [], "it only prints");
    output.stdout
}

fn works(command: &mut Command) {
    let output = command.output().expect("the program is there");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn shell(command: Vec<u8>) {
    works(
        Command::new("sh")
            .arg("-c")
            .arg(OsString::from_vec(command)),
    );
}

#[test]
fn the_command_mounts_every_depth() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for (store, layers) in [("store", 1), ("store", 2), ("a,b: c'd", 3), ("store", 500)] {
        let image = Unpacked::new(&scratch, os(store), layers);
        let (upper, work) = (image.site.path().join("u u"), image.site.path().join("w'w"));
        let (upper, work) = (upper.to_str().unwrap(), work.to_str().unwrap());
        for options in [
            &[][..],
            &["--upper", upper, "--work", work],
            &["--tmpfs=10m"],
        ] {
            let target = Mounted::nothing(image.site.path());
            let options = [&["--print=cmd"], options].concat();
            shell(printed(&image, &target.0, &options));
            image.is_at(&target.0);
            let arguments = [os("umount"), target.0.as_os_str()];
            let output = image.run(Kernel::AsItIs, &arguments);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(mounts_on(&target.0), []);
        }
    }
}

#[test]
fn the_line_for_fstab_mounts() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    for (store, layers) in [("store", 2), ("a b", 2), ("store", 40)] {
        let image = Unpacked::new(&scratch, os(store), layers);
        let target = Mounted::nothing(image.site.path());
        let spaced = target.0.join("a b");
        fs::create_dir(&spaced).unwrap();
        let fstab = image.site.path().join("fstab");
        fs::write(&fstab, printed(&image, &spaced, &["--print=fstab"])).unwrap();
        works(Command::new("mount").arg("--fstab").arg(fstab).arg(&spaced));
        let mounted = Mounted(spaced);
        image.is_at(&mounted.0);
    }
}

#[test]
fn the_entry_for_an_oci_runtime_mounts() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 3);
    let target = Mounted::nothing(image.site.path());
    let json = printed(&image, &target.0, &["--print=json"]);
    let entry: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_string();
    let options: Vec<String> = entry["options"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    works(
        Command::new("mount")
            .args(["-t", &text(&entry["type"]), "-o", &options.join(",")])
            .args([text(&entry["source"]), text(&entry["destination"])]),
    );
    image.is_at(&target.0);
}

#[test]
fn the_unit_for_systemd_says_the_same() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("100%"), 3);
    let target = Mounted::nothing(image.site.path());
    let unit = String::from_utf8(printed(&image, &target.0, &["--print=systemd"])).unwrap();
    let value = |key: &str| {
        let mut lines = unit.lines();
        let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.expect("the key is there").replace("%%", "%")
    };
    works(
        Command::new("mount")
            .args(["-t", &value("Type"), "-o", &value("Options")])
            .args([value("What"), value("Where")]),
    );
    image.is_at(&target.0);
    let name = unit.lines().next().unwrap().trim_start_matches("# ");
    let escape = Command::new("systemd-escape")
        .args(["--path", "--suffix=mount"])
        .arg(&target.0)
        .output();
    match escape {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), name),
        // Where there is no systemd, the name is checked in tests/.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}
