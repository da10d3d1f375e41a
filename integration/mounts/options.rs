//! `mount -o`: the mount has the options, whichever calls or words make it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::seccomp::Kernel;
use super::{Changes, Unpacked, os, stderr};
use crate::scratch::{Mounted, Scratch};

/// The options of the mount, and of the file system, that is on a directory.
fn shown(target: &Path) -> (Vec<String>, Vec<String>) {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    let words = |text: &str| text.split(',').map(String::from).collect();
    let of_line = |line: &str| {
        let (own, rest) = line.split_once(" - ")?;
        let own: Vec<&str> = own.split(' ').collect();
        let is_there = own[4] == target.to_str()?;
        is_there.then(|| {
            (
                words(own[5]),
                words(rest.split(' ').nth(2).expect("options")),
            )
        })
    };
    table
        .lines()
        .rev()
        .find_map(of_line)
        .expect("it is mounted")
}

fn has(target: &Path, expected: &[&str]) {
    let (own, of_overlay) = shown(target);
    for word in expected {
        // Linux 6.19 shows it by another name.
        let other = if *word == "volatile" {
            "fsync=volatile"
        } else {
            word
        };
        let is_there = |words: &[String]| words.iter().any(|shown| shown == word || shown == other);
        assert!(
            is_there(&own) || is_there(&of_overlay),
            "no {word} in {own:?} {of_overlay:?}"
        );
    }
}

#[test]
fn a_mount_has_its_options_by_either_call() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    for kernel in [
        Kernel::AsItIs,
        Kernel::WithoutFsopen,
        Kernel::WithoutLowerdirPlus,
    ] {
        let flags = [
            os("-o"),
            os("nosuid,nodev"),
            os("--options=noexec,noatime,xino=on"),
        ];
        let target = image.mounted(kernel, &flags);
        has(&target.0, &["ro", "nosuid", "nodev", "noexec", "noatime"]);
        image.is_at(&target.0);
        let changes = [
            os("--tmpfs"),
            os("-oindex=on,metacopy=on"),
            os("-ovolatile,nodiratime"),
        ];
        let target = image.mounted(kernel, &changes);
        has(
            &target.0,
            &["rw", "index=on", "metacopy=on", "volatile", "nodiratime"],
        );
        fs::write(target.0.join("new"), "").unwrap();
        let read_only = image.mounted(kernel, &[os("--tmpfs"), os("-orw"), os("-oro")]);
        has(&read_only.0, &["ro"]);
        assert!(fs::write(read_only.0.join("new"), "").is_err());
        let last = image.mounted(kernel, &[os("-onosuid,suid,noatime,relatime")]);
        let (own, _) = shown(&last.0);
        assert!(
            !own.iter().any(|word| word == "nosuid" || word == "noatime"),
            "{own:?}"
        );
    }
}

#[test]
fn every_printed_form_has_the_options() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 3);
    let changes = Changes::new(image.site.path().join("u"), image.site.path().join("w"));
    let expected = [
        "nosuid",
        "noexec",
        "index=on",
        "volatile",
        "metacopy=on",
        "redirect_dir=on",
    ];
    let option = format!("-o{}", expected.join(","));
    let printed = |target: &Path, form: &str| {
        let options = [&changes.options()[..], &[os(&option), os(form)]].concat();
        let output = image.mount(Kernel::AsItIs, target, &options);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let works = |command: &mut Command| {
        let output = command.output().expect("mount, of util-linux");
        assert!(output.status.success(), "{command:?}: {output:?}");
    };
    for form in [
        "--print=cmd",
        "--print=json",
        "--print=fstab",
        "--print=systemd",
    ] {
        let target = Mounted::nothing(image.site.path());
        let text = printed(&target.0, form);
        for directory in [&changes.upper, &changes.work] {
            fs::create_dir_all(directory).unwrap();
        }
        let mount = |options: &str| {
            let mut mount = Command::new("mount");
            works(
                mount
                    .args(["-t", "overlay", "lowerdir", "-o", options])
                    .arg(&target.0),
            );
        };
        match form {
            "--print=cmd" => works(Command::new("sh").arg("-c").arg(&text)),
            "--print=json" => {
                let entry: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                let options = entry["options"].as_array().expect("a list").iter();
                let options: Vec<&str> = options.map(|option| option.as_str().unwrap()).collect();
                mount(&options.join(","));
            }
            "--print=fstab" => mount(text.split(' ').nth(3).expect("options")),
            _ => {
                let line = text.lines().find_map(|line| line.strip_prefix("Options="));
                mount(line.expect("options"));
            }
        }
        has(&target.0, &expected);
        drop(target);
        fs::remove_dir_all(&changes.upper).unwrap();
        fs::remove_dir_all(&changes.work).unwrap();
    }
}

#[test]
fn options_that_mean_nothing_here_are_refused() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let image = Unpacked::new(&scratch, os("store"), 2);
    let target = Mounted::nothing(image.site.path());
    for (options, words) in [
        (&["-ovolatile"][..], "use --upper and --work, or --tmpfs"),
        (&["-oindex=on"], "use --upper and --work, or --tmpfs"),
        (&["-orw"], "use --upper and --work, or --tmpfs"),
        (
            &["--tmpfs", "-ometacopy=on,redirect_dir=off"],
            "together with",
        ),
        (
            &["--tmpfs", "-onfs_export=on", "-oindex=off"],
            "together with",
        ),
    ] {
        let options: Vec<_> = options.iter().map(|option| os(option)).collect();
        for print in [&[][..], &[os("--print=cmd")]] {
            let output = image.mount(Kernel::AsItIs, &target.0, &[&options[..], print].concat());
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(stderr(&output).contains(words), "{output:?}");
        }
    }
}
