//! The number of the format that a root is kept in: written first, checked when it is opened.

use std::fs;

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::{Failure, Snapshotter};

use crate::place::{Place, labels};

fn refused(place: &Place) -> Failure {
    match Snapshotter::open(&place.config, Box::new(|_| {})) {
        Err(failure) => failure,
        Ok(_) => panic!("it opens"),
    }
}

fn names(place: &Place) -> Vec<String> {
    let names = fs::read_dir(&place.config.root).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_root_has_format_1() {
    let place = Place::new();
    fs::create_dir(&place.config.root).unwrap();
    fs::write(place.config.root.join(".format-killed"), "").unwrap();
    place.open().prepare("key", None, labels([])).unwrap();
    assert_eq!(names(&place), ["format", "metadata.redb", "snapshots"]);
    assert_eq!(fs::read(place.config.root.join("format")).unwrap(), b"1\n");
    assert_eq!(place.open().list(&[]).unwrap().len(), 1);
}

#[test]
fn a_root_of_another_format_is_refused_and_stays_as_it_is() {
    let place = Place::new();
    place.open().prepare("key", None, labels([])).unwrap();
    let format = place.config.root.join("format");
    let database = || fs::read(place.config.root.join("metadata.redb")).unwrap();
    let before = (names(&place), database());
    for (text, found) in [
        ("2\n", "has format 2; this version reads format 1"),
        ("", "has a format file without a number in it"),
    ] {
        fs::write(&format, text).unwrap();
        let failure = refused(&place);
        assert_eq!(failure.code, Code::FailedPrecondition);
        assert!(failure.text.contains(found), "{failure}");
        let hint = failure.hint.unwrap();
        assert_eq!(hint, "use the version that made it, or a new directory");
    }
    assert_eq!((names(&place), database()), before);
}

/// The database of an earlier version is not read, nor is a new one made in its place.
#[test]
fn a_root_without_a_format_is_an_old_one() {
    for left in [
        &["snapshots"][..],
        &["metadata.redb"],
        &["metadata.redb.new"],
        &[],
    ] {
        let place = Place::new();
        place.open().prepare("key", None, labels([])).unwrap();
        let root = &place.config.root;
        fs::remove_file(root.join("format")).unwrap();
        fs::write(root.join("metadata.redb.new"), "x").unwrap();
        for name in names(&place) {
            match name.as_str() {
                name if left.is_empty() || left.contains(&name) => {}
                "snapshots" => fs::remove_dir_all(root.join(name)).unwrap(),
                _ => fs::remove_file(root.join(name)).unwrap(),
            }
        }
        let before = names(&place);
        let failure = refused(&place);
        let found = "was made before there were format numbers";
        assert!(failure.text.contains(found), "{failure}");
        assert_eq!(names(&place), before);
    }
}

/// As redb before 3 wrote it: its version stands in each of the two slots of the header.
#[test]
fn a_database_in_an_old_file_format_is_not_emptied() {
    let place = Place::new();
    place.open().prepare("key", None, labels([])).unwrap();
    let database = place.config.root.join("metadata.redb");
    let mut bytes = fs::read(&database).unwrap();
    for slot in [64, 192] {
        assert_eq!(bytes[slot], 3);
        bytes[slot] = 2;
    }
    fs::write(&database, &bytes).unwrap();
    let failure = refused(&place);
    assert_eq!(failure.code, Code::DataLoss);
    assert!(failure.text.contains("its file format is 2"), "{failure}");
    assert_eq!(fs::read(&database).unwrap(), bytes);
}
