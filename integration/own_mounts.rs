//! The tests mount in a namespace of their own, which nothing is copied out of: a file system that is
//! unmounted here is not kept in use by a program that made a namespace meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::crash::disk::{Disk, Mount};

#[test]
fn a_namespace_that_another_program_makes_has_no_copy_of_a_mount() {
    let site = tempfile::tempdir().expect("a directory");
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("readable");
    let is_shared = |line: &&str| line.contains(" shared:") || line.contains(" master:");
    assert_eq!(mountinfo.lines().find(is_shared), None);
    let disk = Disk::make(site.path(), "ext4", "16M", &[]);
    let Some(mount) = Mount::of(&disk.file, &site.path().join("mount")) else {
        return;
    };
    // Of who started the tests.
    let parent = rustix::process::getppid()
        .expect("a parent")
        .as_raw_nonzero();
    let seen = fs::read_to_string(format!("/proc/{parent}/mountinfo")).expect("readable");
    assert!(
        !seen.contains(site.path().to_str().expect("text")),
        "{seen}"
    );
    let mut other = Command::new("nsenter")
        .args(["--target", &parent.to_string(), "--mount"])
        .args([
            "unshare",
            "--mount",
            "sh",
            "-c",
            "echo copied; exec sleep 60",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("nsenter, of util-linux");
    let mut line = String::new();
    let stdout = other.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let left = mount.unmount();
    other.kill().expect("it is ours");
    other.wait().expect("it is ours");
    left.expect("no other program has it");
    assert_eq!(line, "copied\n");
}
