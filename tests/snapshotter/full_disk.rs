//! A disk that is full: requests say so, nothing is lost, and once there is room they are done again,
//! without a restart. A limit on the size of files stands for the disk, so that no privilege is needed.

use std::path::PathBuf;

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::Failure;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::place::{Place, labels};

/// Names the place, in the process whose files are limited.
const PLACE: &str = "LOWERDIR_TEST_FULL";

/// No test: what the limited process does.
#[test]
fn driver() {
    let Some(root) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return;
    };
    let mut place = Place::new();
    place.config.root = root.join("root");
    place.config.store = root.join("store");
    let snapshotter = place.open();
    let long = "x".repeat(4000);
    let prepare = |number: usize| -> Result<(), Failure> {
        let label = labels([("x", &long)]);
        snapshotter
            .prepare(&format!("key {number}"), None, label)
            .map(drop)
    };
    prepare(0).unwrap();
    let mut limit = getrlimit(Resource::Fsize);
    let all = limit.maximum;
    limit.current = Some(1 << 20);
    setrlimit(Resource::Fsize, limit).unwrap();
    let full = (1..2000).find_map(|number| Some((number, prepare(number).err()?)));
    let (number, failure) = full.expect("the file grows");
    assert_ne!(failure.code, Code::NotFound, "{failure}");
    // It goes on saying so, and what there is can be read.
    assert!(prepare(number).is_err());
    assert!(snapshotter.list(&[]).unwrap().len() >= number);
    assert!(snapshotter.mounts("key 0").is_ok());
    limit.current = all;
    setrlimit(Resource::Fsize, limit).unwrap();
    for number in number..number + 10 {
        prepare(number).unwrap();
    }
    let there = snapshotter.list(&[]).unwrap().len();
    assert_eq!(there, number + 10);
    drop(snapshotter);
    assert_eq!(place.open().list(&[]).unwrap().len(), there);
    println!("done");
}

#[test]
fn a_full_disk_is_told_of_and_over_when_it_is() {
    let place = Place::new();
    let test = std::env::current_exe().unwrap();
    // Else the signal that comes with the limit ends it.
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" --exact full_disk::driver --nocapture",
        ])
        .arg(test)
        .env(PLACE, place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("done"), "{said}{errors}");
}
