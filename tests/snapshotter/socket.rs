//! The socket, and the program that listens on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use lowerdir::snapshotter::server::Socket;

use crate::place::Place;

/// Outlives no test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(place: &Place) -> Running {
    let child = Command::new(env!("CARGO_BIN_EXE_lowerdir-snapshotter"))
        .arg("--socket")
        .arg(place.path().join("run/sock"))
        .arg("--root")
        .arg(&place.config.root)
        .arg("--store")
        .arg(&place.config.store)
        .args(["--userxattr", "--sync=none"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let mut line = String::new();
    BufReader::new(running.0.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(
        line.starts_with("lowerdir-snapshotter: listening on /"),
        "{line}"
    );
    running
}

fn signal(Running(child): &Running, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, signal).unwrap();
}

#[test]
fn the_program_listens_until_it_is_told_to_stop() {
    let place = Place::new();
    let socket = place.path().join("run/sock");
    for kind in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut child = start(&place);
        assert_eq!(
            fs::metadata(&socket).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        let parent = fs::metadata(place.path().join("run")).unwrap();
        assert_eq!(parent.permissions().mode() & 0o7777, 0o700);
        // Nothing else is left beside it.
        assert_eq!(fs::read_dir(place.path().join("run")).unwrap().count(), 1);
        assert!(UnixStream::connect(&socket).is_ok());
        signal(&child, kind);
        assert!(child.0.wait().unwrap().success());
        assert!(!fs::exists(&socket).unwrap());
    }
}

#[test]
fn a_killed_program_is_followed_by_the_next() {
    let place = Place::new();
    let mut child = start(&place);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert!(fs::exists(place.path().join("run/sock")).unwrap());
    let mut child = start(&place);
    // A second one finds the first.
    let second = Command::new(env!("CARGO_BIN_EXE_lowerdir-snapshotter"))
        .arg("--socket")
        .arg(place.path().join("run/sock"))
        .arg("--root")
        .arg(place.path().join("other"))
        .arg("--store")
        .arg(&place.config.store)
        .output()
        .unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(said.contains("somebody listens there"), "{said}");
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn only_a_socket_that_nobody_listens_on_is_replaced() {
    let place = Place::new();
    let path = place.path().join("sock");
    let first = Socket::bind(&path).unwrap();
    let refused = Socket::bind(&path).unwrap_err();
    assert!(
        refused.to_string().contains("somebody listens"),
        "{refused}"
    );
    // The file of a socket that is gone.
    let other = place.path().join("other");
    fs::hard_link(&path, &other).unwrap();
    drop(first);
    assert!(!fs::exists(&path).unwrap() && fs::exists(&other).unwrap());
    drop(Socket::bind(&other).unwrap());
    fs::write(&path, "").unwrap();
    let refused = Socket::bind(&path).unwrap_err();
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert!(fs::exists(&path).unwrap());
}

#[test]
fn help_and_manual_name_each_option() {
    let say = |option: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_lowerdir-snapshotter"));
        let output = program.arg(option).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout)
            .unwrap()
            .replace("\\-", "-")
    };
    for text in [say("--help"), say("--man")] {
        for option in [
            "socket",
            "root",
            "store",
            "content-root",
            "userxattr",
            "sync",
            "jobs",
            "man",
        ] {
            assert!(text.contains(&format!("--{option}")), "{option}: {text}");
        }
        assert!(text.contains("[proxy_plugins.lowerdir]"), "{text}");
    }
}
