//! Many processes in one store, one in four of them killed.
//!
//! LOWERDIR_ROUNDS is how many rounds of 16 processes there are (20).

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use super::snapshot::Snapshot;
use super::subject::{NO_STORE, Subject, is_clean, is_recorded, lowerdir, verifies, works};
use super::{Chance, wanted};
use crate::scratch::Scratch;

const PROCESSES: usize = 16;

#[test]
fn many_processes_share_a_store_though_some_are_killed() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let place = site.path();
    let subject = Subject::write(place, 150);
    let rounds = wanted("LOWERDIR_ROUNDS", 20);
    let mut killed = 0;
    for round in 0..rounds {
        let mut chance = Chance::new(round as u64);
        let processes: Vec<Process> = (0..PROCESSES)
            .map(|number| Process::start(place, &subject, number, &mut chance))
            .collect();
        let ends = thread::scope(|scope| {
            let wait = |process: Process| scope.spawn(move || process.ends());
            let waiting: Vec<_> = processes.into_iter().map(wait).collect();
            let ends = waiting
                .into_iter()
                .map(|wait| wait.join().expect("nothing panics"));
            ends.collect::<Result<Vec<bool>, String>>()
        });
        let ends = ends.unwrap_or_else(|what| panic!("round {round}: {what}"));
        killed += ends.into_iter().filter(|&killed| killed).count();
        verifies(place).unwrap_or_else(|what| panic!("after round {round}: {what}"));
        is_clean(place).unwrap_or_else(|what| panic!("after round {round}: {what}"));
    }
    println!("{} processes, {killed} of them killed", rounds * PROCESSES);
    for image in ["one", "two"] {
        works(lowerdir(place, &["unpack", &subject.image(image)])).expect("the store works");
        is_recorded(place, image).expect("it is there");
    }
    verifies(place)
        .and_then(|()| is_clean(place))
        .expect("the store is in order");
    let alone = site.path().join("alone");
    fs::create_dir(&alone).expect("a directory");
    for image in ["one", "two"] {
        works(lowerdir(&alone, &["unpack", &subject.image(image)])).expect("it is undisturbed");
    }
    works(lowerdir(place, &["prune"])).expect("the store works");
    let there = Snapshot::of_place(place).part("store");
    there
        .same(&Snapshot::of_place(&alone))
        .expect("it is as if nobody had been killed");
}

struct Process {
    child: Child,
    words: Vec<String>,
    /// How long it may live, if it is one of those to be killed.
    lives: Option<Duration>,
}

impl Process {
    fn start(place: &Path, subject: &Subject, number: usize, chance: &mut Chance) -> Process {
        let (one, two) = (subject.image("one"), subject.image("two"));
        let words: &[&str] = match chance.below(10) {
            0..2 => &["unpack", &one],
            2..4 => &["unpack", &two],
            4..6 => &["rm", "one"],
            6..8 => &["rm", "two"],
            8 => &["prune"],
            _ => &["verify", "--all"],
        };
        let mut command = lowerdir(place, words);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Process {
            child: child.expect("it starts"),
            words: words.iter().map(ToString::to_string).collect(),
            lives: number
                .is_multiple_of(4)
                .then(|| chance.within(Duration::from_millis(80))),
        }
    }

    /// Waits for its end, and says whether it was killed.
    fn ends(mut self) -> Result<bool, String> {
        if let Some(lives) = self.lives {
            thread::sleep(lives);
            self.child.kill().expect("it is ours");
        }
        let output = self.child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            None => Ok(true),
            Some(0) => Ok(false),
            // No other one was first.
            Some(1) if self.words[0] != "unpack" && text.contains(NO_STORE) => Ok(false),
            // Another one was first.
            Some(1) if self.words[0] == "rm" && text.contains("no image in the store is named") => {
                Ok(false)
            }
            _ => Err(format!(
                "{:?}: {}\n{text}{}",
                self.words,
                output.status,
                String::from_utf8_lossy(&output.stdout)
            )),
        }
    }
}
