//! The socket, and the program that listens on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lowerdir::snapshotter::server::Socket;

use support::granted::Granted;

use crate::place::Place;
use support::program;

/// Outlives no test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(place: &Place) -> Running {
    start_as(program::snapshotter(), place)
}

fn start_as(mut program: Command, place: &Place) -> Running {
    let child = program
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
    let second = program::snapshotter()
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
    assert!(said.contains("another process listens there"), "{said}");
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
        refused.to_string().contains("another process listens"),
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
    assert!(refused.to_string().contains("is not a socket"), "{refused}");
    assert!(fs::exists(&path).unwrap());
}

#[test]
fn help_and_manual_name_each_option() {
    let say = |option: &str| {
        let mut program = program::snapshotter();
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

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = size[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

/// A literal field with a name of its own, as gRPC's C core writes it.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x40];
    for text in [name, value] {
        assert!(text.len() < 127);
        field.push(text.len() as u8);
        field.extend(text.as_bytes());
    }
    field
}

/// The kind of the first frame that answers on each of some streams: headers, or a refusal.
fn answers(connection: &mut UnixStream, count: usize) -> BTreeMap<u8, u8> {
    let limit = Some(Duration::from_secs(60));
    connection.set_read_timeout(limit).unwrap();
    let mut kinds = BTreeMap::new();
    while kinds.len() < count {
        let mut head = [0; 9];
        connection.read_exact(&mut head).expect("an answer");
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        connection.read_exact(&mut payload).expect("an answer");
        if head[8] > 0 {
            kinds.entry(head[8]).or_insert(head[3]);
        }
    }
    kinds
}

#[test]
fn the_socket_may_be_named_as_authority() {
    let place = Place::new();
    let _running = start(&place);
    let path = "/containerd.services.snapshots.v1.Snapshots/Cleanup";
    let long = "%2F".repeat(40);
    for authority in ["localhost", "run%2Fx.sock", "/run/x.sock", "a b", &long] {
        let mut connection = UnixStream::connect(place.path().join("run/sock")).unwrap();
        let mut block = literal(":path", path);
        block.extend(literal(":authority", authority));
        block.extend([0x83, 0x86]);
        block.extend(literal("content-type", "application/grpc"));
        block.extend(literal("te", "trailers"));
        // The same of the tables: the third to last field that was added is the authority.
        let again = [0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];
        let mut padded = vec![3, 0, 0, 0, 0, 16];
        padded.extend(&block);
        padded.extend([0; 3]);
        // A name of the static table, in a field that no table takes.
        let mut indexed = literal(":path", path);
        indexed.push(1);
        indexed.extend(&literal(":authority", authority)[12..]);
        indexed.extend([0x83, 0x86]);
        indexed.extend(literal("content-type", "application/grpc"));
        indexed.extend(literal("te", "trailers"));
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        let (end_of_headers, padding_and_priority) = (4, 0x28);
        for (stream, flags, block) in [
            (1, 0, &block[..]),
            (3, 0, &again[..]),
            (5, padding_and_priority, &padded[..]),
            (7, 0, &indexed[..]),
        ] {
            bytes.extend(frame(1, end_of_headers | flags, stream, block));
            bytes.extend(frame(0, 1, stream, &[0; 5]));
        }
        // In pieces that end anywhere.
        for piece in bytes.chunks(7) {
            connection.write_all(piece).unwrap();
        }
        let headers = BTreeMap::from([1, 3, 5, 7].map(|stream| (stream, 1)));
        assert_eq!(answers(&mut connection, 4), headers, "{authority}");
    }
}

/// As many requests at once as have no thread of their own.
#[test]
fn requests_are_answered_with_the_threads_that_there_are() {
    let place = Place::new();
    let Some(granted) = Granted::new(program::snapshotter_path(), place.path()) else {
        return;
    };
    let path = "/containerd.services.snapshots.v1.Snapshots/Cleanup";
    for threads in 0..4 {
        let running = start_as(granted.command(threads), &place);
        let mut connection = UnixStream::connect(place.path().join("run/sock")).unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        let streams = [1, 3, 5, 7, 9];
        for stream in streams {
            let mut block = literal(":path", path);
            block.extend(literal(":authority", "localhost"));
            block.extend([0x83, 0x86]);
            block.extend(literal("content-type", "application/grpc"));
            block.extend(literal("te", "trailers"));
            bytes.extend(frame(1, 4, stream, &block));
            bytes.extend(frame(0, 1, stream, &[0; 5]));
        }
        connection.write_all(&bytes).unwrap();
        let headers = BTreeMap::from(streams.map(|stream| (stream, 1)));
        assert_eq!(answers(&mut connection, 5), headers, "{threads} threads");
        drop(connection);
        let mut running = running;
        signal(&running, rustix::process::Signal::TERM);
        assert!(running.0.wait().unwrap().success(), "{threads} threads");
    }
}
