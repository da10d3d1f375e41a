//! Many processes in one store, one in four of them killed; and an attacker who changes the staging
//! directory under the hands of the one who unpacks.
//!
//! LOWERDIR_ROUNDS is how many rounds of 16 processes there are (20).

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::snapshot::Snapshot;
use super::subject::{Subject, is_clean, is_recorded, lowerdir, output, told, verifies, works};
use super::{Chance, tracer, wanted};
use crate::oci::{Compression, write_layout};
use crate::scratch::Scratch;
use crate::tarball::{LayerBuilder, Meta};

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

#[test]
fn an_attacker_in_the_staging_directory_reaches_nothing_outside() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let court = Court::new(site.path());
    let (mut swaps, mut done) = (0, 0);
    let runs = wanted("LOWERDIR_ROUNDS", 20);
    let slow = "mknodat,mkdirat,openat,symlinkat:delay_exit=300";
    for run in 0..runs {
        // Every other run is slowed down after each call that makes something.
        let fault = (run % 2 == 1 && tracer::is_able()).then_some(slow);
        let (swapped, is_done) = court.attack(fault).expect("nothing outside is touched");
        swaps += swapped;
        done += usize::from(is_done);
    }
    println!("{swaps} swaps in {runs} runs, of which {done} ended as if nobody had been there");
    assert!(swaps > runs, "the attacker was too slow: {swaps}");
}

/// Much of each type of file, in few directories.
fn attacked_image(place: &Path) -> String {
    let made = (0..60).fold(LayerBuilder::new(), |layer, number| {
        let path = |kind: &str| format!("{}/{kind}{number}", number % 3);
        let meta = Meta::new(0o4755).owner(7, 7).xattr("trusted.a", "b");
        layer
            .fifo(path("pipe"), meta.clone())
            .chardev(path("null"), meta.clone(), (1, 3))
            .file(path("data"), meta.clone(), "data")
            .dir(path("new"), meta)
            .symlink(path("link"), "/")
    });
    let changed = (0..60).fold(LayerBuilder::new(), |layer, number| {
        let path = |kind: &str| format!("{}/{kind}{number}", number % 3);
        layer
            .whiteout(path("data"))
            .opaque(path("new"))
            .hardlink(path("again"), path("null"))
    });
    let layers = [made, changed].map(|layer| (layer.finish(), Compression::Gzip));
    let layout = place.join("attacked");
    write_layout(&layout, "it", &layers);
    format!("oci:{}", layout.display())
}

/// A canary, with a store that is being attacked beside it.
pub struct Court {
    place: PathBuf,
    image: String,
    canary: PathBuf,
    before: Snapshot,
}

impl Court {
    pub fn new(place: &Path) -> Court {
        let canary = place.join("canary/fs");
        for directory in [
            "", "0", "1", "2", "3", "etc", "srv", "srv/full", "new", "one",
        ] {
            fs::create_dir_all(canary.join(directory)).expect("a directory");
            for name in ["file", "pipe", "null", "data", "first"] {
                fs::write(canary.join(directory).join(name), "canary").expect("a file");
            }
        }
        Court {
            place: place.into(),
            image: attacked_image(place),
            before: Snapshot::of(&place.join("canary")),
            canary,
        }
    }

    /// Unpacks under attack. How many swaps were made, and whether the run ended well nevertheless.
    pub fn attack(&self, fault: Option<&str>) -> Result<(usize, bool), String> {
        let store = self.place.join("store");
        let _ = fs::remove_dir_all(&store);
        let mut command = lowerdir(&self.place, &["unpack", "--sync=none", &self.image]);
        if let Some(fault) = fault {
            command = tracer::sabotaged(&command, fault, &self.place.join("trace"));
        }
        let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
        let run = thread::scope(|scope| {
            let attacker = Attacker {
                links: self.place.join("links"),
                canary: &self.canary,
                swaps: &swaps,
                stop: &stop,
            };
            scope.spawn(move || attacker.swap_all(&store.join("staging")));
            let run = output(&mut command);
            stop.store(true, Ordering::Relaxed);
            run
        });
        Snapshot::of(&self.place.join("canary")).same(&self.before)?;
        match run.status.code() {
            Some(code @ (0 | 1 | 3)) => Ok((swaps.load(Ordering::Relaxed), code == 0)),
            _ => Err(told(&command, &run)),
        }
    }
}

/// Puts symbolic links to a canary in the place of directories and files, and back again.
struct Attacker<'a> {
    links: PathBuf,
    canary: &'a Path,
    swaps: &'a AtomicUsize,
    stop: &'a AtomicBool,
}

impl Attacker<'_> {
    fn swap_all(&self, staging: &Path) {
        let mut chance = Chance::new(0);
        fs::create_dir_all(&self.links).expect("a directory");
        while !self.stop.load(Ordering::Relaxed) {
            self.swap_below(staging, 0, &mut chance);
        }
    }

    fn swap_below(&self, directory: &Path, depth: usize, chance: &mut Chance) {
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if depth >= 2 {
                self.swap(&entry.path(), chance);
            }
            if is_directory {
                self.swap_below(&entry.path(), depth + 1, chance);
            }
        }
    }

    /// There for a moment, then back.
    fn swap(&self, path: &Path, chance: &mut Chance) {
        let link = self.links.join("link");
        let _ = fs::remove_file(&link);
        let name = path.file_name().expect("it has a name");
        let target = [self.canary.join(name), self.canary.join("file")];
        let target = target
            .iter()
            .find(|target| target.exists())
            .expect("a canary");
        if std::os::unix::fs::symlink(target, &link).is_err() {
            return;
        }
        let swap = || {
            let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
            renameat_with(CWD, &*link, CWD, &*path, RenameFlags::EXCHANGE)
        };
        if swap().is_ok() {
            self.swaps.fetch_add(1, Ordering::Relaxed);
            let moment = chance.within(Duration::from_micros(600));
            thread::sleep(moment);
            let _ = swap();
        }
        // What was swapped last may be a tree of the layer.
        let _ = fs::remove_dir_all(&link);
    }
}
