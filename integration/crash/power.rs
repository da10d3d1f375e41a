//! A power cut: from one moment to the next, nothing reaches the disk any more. What was reported
//! done is complete when the file system is mounted again, everything else is absent.
//!
//! The file system itself is shut down, with or without its journal being written first; for what
//! the disk may lose, see [`super::replay`]. LOWERDIR_CUTS is how many cuts there are (60).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::disk::{Disk, Mount, run};
use super::snapshot::Snapshot;
use super::subject::{Subject, is_clean, is_recorded, lowerdir, output, told, verifies, works};
use super::{Chance, Verdict, tracer, wanted};
use crate::scratch::Scratch;

#[test]
fn what_was_reported_done_survives_a_power_cut_on_ext4() {
    cuts("ext4", "320M");
}

#[test]
fn what_was_reported_done_survives_a_power_cut_on_xfs() {
    cuts("xfs", "320M");
}

fn cuts(kind: &str, size: &str) {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let Some(mut plant) = Plant::new(&site, kind, size) else {
        return;
    };
    let mut outcomes = BTreeMap::new();
    for number in 0..wanted("LOWERDIR_CUTS", 60) / 2 {
        let (next, outcome) = plant
            .cut_once(number)
            .unwrap_or_else(|what| panic!("{kind}, cut {number}: {what}"));
        *outcomes.entry(outcome).or_insert(0) += 1;
        plant = next;
    }
    assert!(outcomes.len() > 1, "all cuts came {outcomes:?}");
    println!("{kind}: cuts by what the run had come to: {outcomes:?}");
}

/// A disk under power.
pub struct Plant<'a> {
    site: &'a TempDir,
    disk: Disk,
    mount: Mount,
    subject: Subject,
    /// What each image is when it is complete.
    whole: BTreeMap<&'static str, Snapshot>,
    lasts: Duration,
}

impl<'a> Plant<'a> {
    pub fn new(site: &'a TempDir, kind: &str, size: &str) -> Option<Plant<'a>> {
        let subject = Subject::write(site.path(), 300);
        let disk = Disk::make(site.path(), kind, size, &[]);
        let mount = Mount::of(&disk.file, &site.path().join("mount"))?;
        let (mut whole, mut lasts) = (BTreeMap::new(), Duration::MAX);
        let unpack = |image| {
            let run = lowerdir(mount.place(), &["unpack", &subject.image(image)]);
            works(run).expect("it is undisturbed");
            Snapshot::of_place(mount.place())
        };
        for image in ["one", "two"] {
            empty(mount.place());
            let started = Instant::now();
            whole.insert(image, unpack(image));
            lasts = lasts.min(started.elapsed());
        }
        whole.insert("both", unpack("one"));
        empty(mount.place());
        Some(Plant {
            site,
            disk,
            mount,
            subject,
            whole,
            lasts,
        })
    }

    /// A run where there is no store, or in one with another image; a cut, and what came of it.
    fn cut_once(self, number: usize) -> Result<(Plant<'a>, &'static str), String> {
        let mut chance = Chance::new((number + self.disk.file.as_os_str().len()) as u64);
        let image = if number.is_multiple_of(2) {
            "one"
        } else {
            "two"
        };
        let before = number % 4 == 1;
        if before {
            works(lowerdir(
                self.mount.place(),
                &["unpack", &self.subject.image("one")],
            ))?;
        }
        let mut run = lowerdir(self.mount.place(), &["unpack", &self.subject.image(image)]);
        let mut run = run
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        // One in three comes after the end, when all was reported done.
        match number % 3 {
            0 => drop(run.wait()),
            _ => thread::sleep(chance.within(self.lasts)),
        }
        let ended_before = run.try_wait().expect("it is ours").is_some();
        self.mount.cut(chance.below(2) == 0);
        // Any status 0, also one that is given a moment after the cut, was given for what is on disk.
        let done = run.wait().expect("it ends").success();
        let outcome = match (done, ended_before) {
            (true, true) => "done before",
            (true, false) => "done at that moment",
            (false, _) => "not done",
        };
        let plant = self.power_up()?;
        plant
            .holds(image, before, done)
            .map_err(|what| format!("{image}, {outcome}: {what}"))?;
        Ok((plant, outcome))
    }

    /// A run with a fault, which ends as if all were done, and a cut at that moment: what is wrong
    /// when the power is back.
    pub fn cut_at_the_end(self, fault: &str, flush: bool) -> Verdict {
        let unpack = lowerdir(self.mount.place(), &["unpack", &self.subject.image("one")]);
        let mut unpack = tracer::sabotaged(&unpack, fault, &self.site.path().join("trace"));
        let run = output(&mut unpack);
        self.mount.cut(flush);
        assert!(run.status.success(), "{}", told(&unpack, &run));
        self.power_up()?.holds("one", false, true)
    }

    fn power_up(self) -> Result<Plant<'a>, String> {
        let Plant {
            site,
            disk,
            mount,
            subject,
            whole,
            lasts,
        } = self;
        mount.unmount()?;
        let mount =
            Mount::of(&disk.file, &site.path().join("mount")).ok_or("it does not mount again")?;
        Ok(Plant {
            site,
            disk,
            mount,
            subject,
            whole,
            lasts,
        })
    }

    /// What must hold when the power is back.
    fn holds(&self, image: &str, before: bool, done: bool) -> Verdict {
        let place = self.mount.place();
        verifies(place)?;
        if before {
            is_recorded(place, "one")?;
        }
        if done {
            is_recorded(place, image)?;
        }
        works(lowerdir(place, &["unpack", &self.subject.image(image)]))?;
        is_clean(place)?;
        let whole = if before { "both" } else { image };
        Snapshot::of_place(place).same(&self.whole[whole])?;
        empty(place);
        Ok(())
    }
}

/// Removes the store, and waits until that is on disk.
fn empty(place: &Path) {
    if place.join("store").exists() {
        fs::remove_dir_all(place.join("store")).expect("it is there");
    }
    run("sync", &["-f", place.to_str().expect("a plain path")]).expect("a disk that works");
}
