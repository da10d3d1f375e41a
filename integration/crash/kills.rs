//! A run that is killed: at every call that changes something, and at any moment.

use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::scenario::{Scenario, Verb};
use super::subject::output;
use super::tracer::{self, Position};
use super::{Chance, Verdict, for_each, wanted};
use crate::registries::Registry;
use crate::scratch::Scratch;

#[test]
fn a_kill_at_any_call_leaves_no_half_layer() {
    let Some(scratch) = Scratch::new().filter(|_| tracer::is_able()) else {
        return;
    };
    let site = scratch.site();
    for verb in Verb::ALL {
        kill_at_any_call(&Scenario::new(verb, site.path()), site.path(), 90);
    }
}

/// The calls of a run depend on how the network cuts the answers.
#[test]
fn a_kill_at_any_call_of_a_pull_leaves_what_the_next_goes_on_with() {
    let Some(scratch) = Scratch::new().filter(|_| tracer::is_able()) else {
        return;
    };
    let Some(registry) = Registry::plain() else {
        return;
    };
    let site = scratch.site();
    kill_at_any_call(&Scenario::fetch(registry, site.path()), site.path(), 60);
}

/// So many of a hundred runs must have been killed.
fn kill_at_any_call(scenario: &Scenario, site: &Path, least: usize) {
    let verb = scenario.verb;
    let place = scenario.place();
    let log = place.path().join("log");
    let positions = tracer::positions(&scenario.command(place.path()), &log);
    let (all, out_of_reach) = (positions.all, positions.out_of_reach);
    let all: Vec<Position> = all
        .into_iter()
        .filter(|position| position.changes)
        .collect();
    let killed = Mutex::new(0);
    for_each(
        &all,
        |position| format!("{verb:?}, {position}"),
        |position| {
            let place = scenario.place();
            let trace = site.join(format!("trace {position} {verb:?}"));
            let mut run = tracer::disturbed(
                &scenario.command(place.path()),
                position,
                "signal=SIGKILL",
                &trace,
            );
            let status = output(&mut run).status;
            *killed.lock().expect("nobody panics with it") += usize::from(!status.success());
            recovers(scenario, place.path())
        },
    );
    let killed = killed.into_inner().expect("nobody panics with it");
    println!(
        "{verb:?}: {killed} of {} kills, {out_of_reach} calls out of reach",
        all.len()
    );
    assert!(
        killed * 100 >= all.len() * least,
        "{killed} of {} runs were killed",
        all.len()
    );
}

#[test]
fn a_kill_at_any_moment_leaves_no_half_layer() {
    let Some(scratch) = Scratch::new() else {
        return;
    };
    let site = scratch.site();
    let kills = wanted("LOWERDIR_KILLS", 100);
    let mut killed = 0;
    for (verb, share) in [
        (Verb::Unpack, 6),
        (Verb::UnpackLayer, 1),
        (Verb::Remove, 1),
        (Verb::Prune, 1),
        (Verb::Repair, 1),
    ] {
        let scenario = Scenario::new(verb, site.path());
        let lasts = duration(&scenario);
        let numbers: Vec<usize> = (0..kills * share / 10).collect();
        let counted = Mutex::new(0);
        for_each(
            &numbers,
            |number| format!("{verb:?}, kill {number}"),
            |&number| {
                let place = scenario.place();
                let moment = Chance::new(number as u64).within(lasts);
                let mut run = scenario.command(place.path());
                let mut run = run
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("it starts");
                thread::sleep(moment);
                run.kill().expect("it is ours");
                let ended = run.wait().expect("it ends");
                *counted.lock().expect("nobody panics with it") += usize::from(!ended.success());
                recovers(&scenario, place.path())
            },
        );
        killed += counted.into_inner().expect("nobody panics with it");
    }
    println!("{killed} of {kills} runs were killed before they ended");
    assert!(killed * 5 >= kills, "{killed} of {kills}");
}

/// What must hold after a run that did not end.
fn recovers(scenario: &Scenario, place: &Path) -> Verdict {
    scenario.nothing_is_half_done(place)?;
    scenario.next_run_ends_it(place)
}

/// How long a run takes here at least; the kills come in that time.
fn duration(scenario: &Scenario) -> Duration {
    let measure = |_| {
        let place = scenario.place();
        let started = Instant::now();
        output(&mut scenario.command(place.path()));
        started.elapsed()
    };
    (0..3).map(measure).min().expect("three runs")
}
