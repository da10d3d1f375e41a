//! A database that is lost, damaged or older than the directories: nothing that a container wrote is
//! removed, and an error says what to do. Only what the database knows to be removed goes.

use std::fs;
use std::path::{Path, PathBuf};

use lowerdir::snapshotter::Code;
use lowerdir::snapshotter::{Failure, Snapshotter};

use crate::place::{Place, labels};

/// What the database keeps its pages in.
const PAGE: usize = 4096;

fn database(place: &Place) -> PathBuf {
    place.config.root.join("metadata.redb")
}

fn open(place: &Place) -> Result<Snapshotter, Failure> {
    Snapshotter::open(&place.config, Box::new(|_| {}))
}

/// Makes an active snapshot in which a container wrote a file; returns that file.
fn written(snapshotter: &Snapshotter, key: &str) -> PathBuf {
    let mounts = snapshotter.prepare(key, None, labels([])).unwrap();
    let file = Path::new(&mounts[0].source).join("precious");
    fs::write(&file, key).unwrap();
    file
}

fn refused(place: &Place, what: &str) -> Failure {
    match open(place) {
        Err(failure) => failure,
        Ok(_) => panic!("it opens with {what}"),
    }
}

#[test]
fn without_a_database_no_directory_is_removed() {
    let place = Place::new();
    let precious = written(&place.open(), "key");
    let whole = fs::read(database(&place)).unwrap();
    fs::remove_file(database(&place)).unwrap();
    let absent = refused(&place, "no database");
    assert!(absent.text.contains("is absent, but"), "{absent}");
    assert!(absent.text.ends_with("snapshots: 1"), "{absent}");
    // No new one is left in its place.
    assert!(!database(&place).exists());
    fs::write(database(&place), "").unwrap();
    let empty = refused(&place, "an empty database");
    assert!(empty.text.contains("is empty, but"), "{empty}");
    for failure in [absent, empty] {
        assert_eq!(failure.code, Code::DataLoss);
        let hint = failure.hint.unwrap();
        assert!(
            hint.contains("from a backup; to start afresh, move /"),
            "{hint}"
        );
    }
    assert!(precious.exists());
    // Both things that the hint names help.
    let aside = place.path().join("aside");
    let snapshots = place.config.root.join("snapshots");
    fs::rename(&snapshots, &aside).unwrap();
    drop(open(&place).unwrap());
    fs::remove_dir(&snapshots).unwrap();
    fs::rename(&aside, &snapshots).unwrap();
    fs::write(database(&place), whole).unwrap();
    assert_eq!(open(&place).unwrap().list(&[]).unwrap().len(), 1);
    assert!(precious.exists());
}

#[test]
fn an_older_database_removes_nothing_that_is_newer() {
    let place = Place::new();
    let older = written(&place.open(), "older");
    let backup = fs::read(database(&place)).unwrap();
    let newer = written(&place.open(), "newer");
    fs::write(database(&place), backup).unwrap();
    let failure = refused(&place, "an older database");
    assert_eq!(failure.code, Code::DataLoss);
    assert!(
        failure.text.contains("has no record of 2 in /"),
        "{failure}"
    );
    assert!(
        failure
            .hint
            .unwrap()
            .contains("move these directories away")
    );
    assert!(older.exists() && newer.exists());
    fs::rename(
        place.config.root.join("snapshots/2"),
        place.path().join("2"),
    )
    .unwrap();
    let snapshotter = open(&place).unwrap();
    assert!(snapshotter.mounts("older").is_ok());
}

/// What comes while the program runs is left alone, and does not get a snapshot's number.
#[test]
fn a_directory_that_nothing_explains_is_told_of_and_stays() {
    let place = Place::new();
    let snapshotter = place.open();
    let stray = place.config.root.join("snapshots/1/fs/deep");
    fs::create_dir_all(&stray).unwrap();
    snapshotter.cleanup().unwrap();
    assert!(place.told.lock().unwrap()[0].contains("directory 1 belongs to no snapshot"));
    assert!(snapshotter.prepare("key", None, labels([])).is_err());
    assert!(stray.exists());
    fs::remove_dir(&stray).unwrap();
    snapshotter.prepare("key", None, labels([])).unwrap();
}

#[test]
fn a_directory_of_a_change_that_was_not_committed_goes() {
    let place = Place::new();
    drop(place.open());
    let snapshots = place.config.root.join("snapshots");
    for parts in ["1/fs", "1/work", "2/fs", "3"] {
        fs::create_dir_all(snapshots.join(parts)).unwrap();
    }
    let snapshotter = place.open();
    assert!(place.directories().is_empty());
    fs::create_dir_all(snapshots.join("1/fs")).unwrap();
    snapshotter.prepare("key", None, labels([])).unwrap();
    fs::create_dir_all(snapshots.join("2/fs")).unwrap();
    snapshotter.cleanup().unwrap();
    assert_eq!(place.directories().len(), 1);
    assert!(place.told.lock().unwrap().is_empty());
}

#[test]
fn a_removal_that_was_cut_short_is_finished() {
    let place = Place::new();
    let snapshotter = place.open();
    for key in ["one", "two"] {
        written(&snapshotter, key);
        snapshotter.remove(key).unwrap();
    }
    // As if the program had been killed while it removed the second.
    let snapshots = place.config.root.join("snapshots");
    fs::create_dir_all(snapshots.join("2/fs/precious")).unwrap();
    snapshotter.cleanup().unwrap();
    assert!(place.directories().is_empty());
    fs::create_dir_all(snapshots.join("2/fs/precious")).unwrap();
    drop(snapshotter);
    drop(place.open());
    assert!(place.directories().is_empty());
}

/// A layer that is damaged is the trouble of those who use it, not of the whole node.
#[test]
fn a_damaged_record_in_the_store_keeps_nobody_from_starting() {
    let (place, (layers, chain)) = (Place::new(), crate::place::two_layers());
    place.unpack(&layers);
    let snapshotter = place.open();
    let asked = labels([(crate::place::TARGET, chain[0].as_str())]);
    snapshotter.prepare("extract", None, asked).unwrap_err();
    drop(snapshotter);
    let hex = chain[0].strip_prefix("sha256:").unwrap();
    let record = place
        .config
        .store
        .join("layers/sha256")
        .join(hex)
        .join("layer.json");
    fs::write(record, "").unwrap();
    let snapshotter = place.open();
    assert!(place.told.lock().unwrap()[0].contains("verify --repair"));
    assert!(
        snapshotter
            .prepare("run", Some(&chain[0]), labels([]))
            .is_err()
    );
    assert!(snapshotter.prepare("other", None, labels([])).is_ok());
}

/// A database of several pages, closed or as a kill leaves it, with directories in which something is.
fn filled(is_killed: bool) -> (Place, Vec<u8>) {
    let place = Place::in_memory();
    let snapshotter = place.open();
    let long = "x".repeat(400);
    for number in 0..24 {
        let key = format!("key {number}");
        let mounts = snapshotter
            .prepare(&key, None, labels([("x", &long)]))
            .unwrap();
        fs::write(Path::new(&mounts[0].source).join("precious"), "x").unwrap();
        if number % 2 == 0 {
            snapshotter
                .commit(&format!("name {number}"), &key, labels([]))
                .unwrap();
        }
        if number % 5 == 4 {
            snapshotter
                .remove(&key)
                .or(snapshotter.remove(&format!("name {number}")))
                .unwrap();
        }
    }
    let killed = fs::read(database(&place)).unwrap();
    drop(snapshotter);
    let closed = fs::read(database(&place)).unwrap();
    (place, if is_killed { killed } else { closed })
}

/// Opens a damaged database: it is refused with words that help, or gives every snapshot whole; in
/// no case anything is removed.
fn check(place: &Place, bytes: &[u8], what: &str) -> bool {
    fs::write(database(place), bytes).unwrap();
    let precious = || {
        let all = place.directories();
        all.iter()
            .filter(|path| path.join("fs/precious").exists())
            .count()
    };
    let there = precious();
    let opened = open(place);
    match &opened {
        Err(failure) => {
            assert_eq!(failure.code, Code::DataLoss, "{what}: {failure}");
            assert!(failure.hint.is_some(), "{what}: {failure}");
        }
        Ok(snapshotter) => {
            // The last change before a kill may be undone, a removal say.
            let all = snapshotter.list(&[]).expect(what);
            let lost = all
                .iter()
                .filter(|one| snapshotter.usage(&one.name).is_err());
            assert!(lost.count() <= 1, "{what}");
            snapshotter.cleanup().expect(what);
            snapshotter.prepare("new", None, labels([])).expect(what);
            snapshotter.remove("new").expect(what);
        }
    }
    assert_eq!(precious(), there, "{what}");
    opened.is_ok()
}

#[test]
fn a_damaged_database_never_panics_and_never_removes() {
    for is_killed in [false, true] {
        let (place, whole) = filled(is_killed);
        assert!(check(&place, &whole, "nothing"));
        let is_used = |page: &usize| whole[page * PAGE..][..PAGE].iter().any(|byte| *byte != 0);
        let used: Vec<usize> = (0..whole.len() / PAGE).filter(is_used).collect();
        assert!(used.len() > 5, "{used:?}");
        for page in &used {
            for at in [0, 5, 700] {
                let mut bytes = whole.clone();
                bytes[page * PAGE + at] ^= 0x41;
                check(
                    &place,
                    &bytes,
                    &format!("page {page}, byte {at}, {is_killed}"),
                );
            }
            let mut bytes = whole.clone();
            bytes[page * PAGE..][..PAGE].fill(0);
            check(
                &place,
                &bytes,
                &format!("page {page} of zeros, {is_killed}"),
            );
        }
        // Each byte of the header once, in one of the two.
        for at in (usize::from(is_killed)..320).step_by(2) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            check(
                &place,
                &bytes,
                &format!("byte {at} of the header, {is_killed}"),
            );
        }
        for length in used
            .iter()
            .map(|page| page * PAGE)
            .chain([1, 8, 64, 319, 320, 5000])
        {
            let what = format!("{length} bytes, {is_killed}");
            // Of nothing, it is what an empty file is.
            assert!(!check(&place, &whole[..length], &what), "{what}");
        }
    }
}
