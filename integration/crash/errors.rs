//! A system that says no: at every call, for every reason; a file system without room or inodes; a
//! disk that fails when nobody waits for it any more. Status 0 means that all is there.
//!
//! Every call of a run is made to fail, with one reason after another in turn: LOWERDIR_ERRORS is
//! how many reasons each call gets (1 of 6).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;

use rustix::mount::{MountFlags, mount};

use super::disk::{Disk, Mount};
use super::scenario::{Scenario, Verb};
use super::subject::{Subject, is_clean, lowerdir, output, told, verifies};
use super::tracer::{self, Position};
use super::{Verdict, for_each, wanted};
use crate::scratch::{Mounted, Scratch};

const REASONS: [&str; 6] = ["ENOSPC", "EIO", "EMFILE", "EDQUOT", "EINTR", "ENOMEM"];

#[test]
fn an_error_of_any_call_is_told_or_made_good() {
    let Some(scratch) = Scratch::new().filter(|_| tracer::is_able()) else {
        return;
    };
    let site = scratch.site();
    let reasons = wanted("LOWERDIR_ERRORS", 1).min(REASONS.len());
    for verb in Verb::ALL {
        let scenario = Scenario::new(verb, site.path());
        let place = scenario.place();
        let log = place.path().join("log");
        let positions = tracer::positions(&scenario.command(place.path()), &log);
        let cases: Vec<(Position, &str)> = positions
            .all
            .into_iter()
            .enumerate()
            .flat_map(|(number, position)| {
                (0..reasons)
                    .map(move |turn| (position.clone(), REASONS[(number + turn) % REASONS.len()]))
            })
            .collect();
        let outcomes = Mutex::new(BTreeMap::new());
        for_each(
            &cases,
            |(position, reason)| format!("{verb:?}, {reason} at {position}"),
            |(position, reason)| {
                let place = scenario.place();
                let trace = site.path().join(format!("trace {position} {reason}"));
                let mut run = tracer::disturbed(
                    &scenario.command(place.path()),
                    position,
                    &format!("error={reason}"),
                    &trace,
                );
                let run = output(&mut run);
                let mut outcomes = outcomes.lock().expect("nobody panics with it");
                *outcomes.entry(run.status.code()).or_insert(0) += 1;
                drop(outcomes);
                is_told_or_done(&scenario, place.path(), &run, position)
                    .and_then(|()| scenario.nothing_is_half_done(place.path()))
                    .and_then(|()| scenario.next_run_ends_it(place.path()))
                    .map_err(|what| format!("{what}\n{}", String::from_utf8_lossy(&run.stderr)))
            },
        );
        println!(
            "{verb:?}: {} errors; runs by status: {:?}",
            cases.len(),
            outcomes.into_inner().expect("nobody panics with it")
        );
    }
}

/// Status 0: all is done. Else the error says what was being done, why it failed, and what helps.
fn is_told_or_done(
    scenario: &Scenario,
    place: &Path,
    run: &Output,
    position: &Position,
) -> Verdict {
    // Each thread has its nth write: the first one's is in the words that tell of the other's.
    let is_cut_short = position.threads && position.call == "write";
    match run.status.code() {
        Some(0) => scenario.is_done(place),
        Some(1) if is_cut_short && !run.stderr.is_empty() => Ok(()),
        Some(1) => is_told(run),
        other => Err(format!("status {other:?}")),
    }
}

fn is_told(run: &Output) -> Verdict {
    let text = String::from_utf8_lossy(&run.stderr);
    let said = text
        .lines()
        .find_map(|line| line.strip_prefix("lowerdir: "));
    let hinted = text.lines().any(|line| line.starts_with("hint: "));
    match said {
        None => Err("the error is not told".into()),
        Some(said) if said.contains(": ") && hinted => Ok(()),
        Some(said) => Err(format!("no reason, or no hint: {said}")),
    }
}

#[test]
fn a_file_system_without_room_is_told_and_nothing_is_left() {
    on_a_small_disk("64M", &["-m", "0"], |fill, images| {
        Subject::write(images, 1600);
        fs::write(fill, vec![1; 36 << 20]).expect("there is room for that");
    });
}

#[test]
fn a_file_system_without_inodes_is_told_and_nothing_is_left() {
    on_a_small_disk("64M", &["-N", "512"], |_, images| {
        Subject::write(images, 600);
    });
}

fn on_a_small_disk(size: &str, options: &[&str], prepare: impl FnOnce(&Path, &Path)) {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let disk = Disk::make(site.path(), "ext4", size, options);
    let Some(mount) = Mount::of(&disk.file, &site.path().join("mount")) else {
        return;
    };
    let (place, fill) = (mount.place(), mount.place().join("fill"));
    prepare(&fill, site.path());
    let image = format!("oci:{}", site.path().join("images/one").display());
    let mut unpack = lowerdir(place, &["unpack", &image]);
    let run = output(&mut unpack);
    let verdict = match run.status.code() {
        Some(1) => is_told(&run),
        _ => Err(told(&unpack, &run)),
    };
    let text = String::from_utf8_lossy(&run.stderr);
    assert!(
        verdict.is_ok() && text.contains("no space left on device"),
        "{verdict:?} {text}"
    );
    println!("{}", text.trim_end());
    let _ = fs::remove_file(&fill);
    verifies(place).expect("nothing half done is in the store");
    is_clean(place).expect("nothing is left");
    let images = fs::read_dir(place.join("store/images")).expect("images");
    assert_eq!(images.count(), 0);
}

#[test]
fn a_disk_that_fails_at_writeback_is_told() {
    let verdict = after_writeback_fails(None);
    verdict.unwrap_or(Ok(())).expect("it is told");
}

/// The image of a file system is sparse, and the disk that it lies on has less room than it says:
/// writes go to memory at first, and fail when it is too late to tell whoever made them. `None`
/// where that cannot be done.
pub fn after_writeback_fails(fault: Option<&str>) -> Option<Verdict> {
    let scratch = Scratch::new()?;
    let site = scratch.site();
    let small = Mounted::nothing(site.path());
    let flags = MountFlags::empty();
    mount("tmpfs", &small.0, "tmpfs", flags, c"size=9m").expect("a tmpfs");
    let disk = Disk::make(&small.0, "ext4", "256M", &["-O", "^has_journal"]);
    let mount = Mount::of(&disk.file, &site.path().join("mount"))?;
    let place = mount.place();
    let subject = Subject::write(site.path(), 900);
    let mut unpack = lowerdir(place, &["unpack", &subject.image("one")]);
    if let Some(fault) = fault {
        unpack = tracer::sabotaged(&unpack, fault, &site.path().join("trace"));
    }
    let run = output(&mut unpack);
    println!("{}", String::from_utf8_lossy(&run.stderr).trim_end());
    if run.status.code() != Some(1) {
        return Some(Err(told(&unpack, &run)));
    }
    let layers = fs::read_dir(place.join("store/layers/sha256")).expect("the store");
    Some(match layers.count() {
        0 => is_told(&run),
        count => Err(format!("{count} layers have their name")),
    })
}
