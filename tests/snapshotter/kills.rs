//! A process that makes and removes snapshots is killed at any moment: what it was told to be done
//! is done, and the directories, the pins and the database agree at the next start.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::dice::Dice;
use crate::place::{Place, TARGET, labels, two_layers};

/// Names the place, in the process that is to be killed.
const PLACE: &str = "LOWERDIR_TEST_PLACE";
const KILLS: u64 = 30;

/// No test: what the process does that is to be killed. It says each request that was done.
#[test]
fn driver() {
    let Some(root) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return;
    };
    let mut place = Place::new();
    place.config.root = root.join("root");
    place.config.store = root.join("store");
    let (snapshotter, (_, chain)) = (place.open(), two_layers());
    for number in 0.. {
        let key = format!("key {} {number}", std::process::id());
        let (name, run) = (format!("name {key}"), format!("run {key}"));
        snapshotter.prepare(&key, None, labels([])).unwrap();
        println!("there {key}");
        println!("going {key}");
        snapshotter.commit(&name, &key, labels([])).unwrap();
        println!("there {name}");
        let asked = labels([(TARGET, chain[0].as_str())]);
        println!("going {}", chain[0]);
        snapshotter.prepare("extract", None, asked).unwrap_err();
        println!("there {}", chain[0]);
        snapshotter
            .prepare(&run, Some(&chain[0]), labels([]))
            .unwrap();
        println!("there {run}");
        println!("going {run}");
        snapshotter.remove(&run).unwrap();
        println!("gone {run}");
        println!("going {}", chain[0]);
        // What one that was killed left may stand on it.
        if snapshotter.remove(&chain[0]).is_ok() {
            println!("gone {}", chain[0]);
        }
    }
}

fn start(place: &Place) -> Child {
    let test = std::env::current_exe().unwrap();
    Command::new(test)
        .args(["--exact", "kills::driver", "--nocapture"])
        .env(PLACE, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_done() {
    let (place, mut dice) = (Place::new(), Dice::new(7));
    place.unpack(&two_layers().0);
    let (mut done, mut requests) = (BTreeMap::new(), 0);
    for _ in 0..KILLS {
        let mut child = start(&place);
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        // On a busy machine, nothing has happened yet after any time.
        let begun = said.by_ref().map(Result::unwrap).find(|line| {
            let first = line.split(' ').next();
            first == Some("there")
        });
        sleep(Duration::from_micros(dice.below(60_000)));
        child.kill().unwrap();
        for line in begun.into_iter().chain(said.map(Result::unwrap)) {
            // What is being made or removed when it is killed may be there or not.
            match line.split_once(' ') {
                Some(("there", name)) => done.insert(name.to_string(), true),
                Some(("gone", name)) => done.insert(name.to_string(), false),
                Some(("going", name)) => done.remove(name),
                _ => continue,
            };
            requests += 1;
        }
        child.wait().unwrap();
        check(&place, &done);
    }
    assert!(requests > KILLS, "{requests} requests in {KILLS} runs");
}

fn check(place: &Place, done: &BTreeMap<String, bool>) {
    let snapshotter = place.open();
    for (name, is_there) in done {
        assert_eq!(snapshotter.stat(name).is_ok(), *is_there, "{name} was done");
    }
    let snapshots = snapshotter.list(&[]).unwrap();
    let stored = snapshots.iter().filter(|one| one.chain.is_some()).count();
    assert_eq!(place.pins(), stored);
    let mut ids: Vec<_> = snapshots
        .iter()
        .filter(|one| one.chain.is_none())
        .map(|one| one.id.to_string())
        .collect();
    ids.sort();
    let directories = place.directories();
    let names: Vec<_> = directories
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ids);
    assert!(directories.iter().all(|path| path.join("fs").is_dir()));
    assert!(place.told.lock().unwrap().is_empty());
}
