//! What is left when a run is killed, when the power goes, when the system says no, and when others
//! are at it in the same store: a layer is whole or absent, and status 0 means that it stays.
//!
//! [`kills`] and [`errors`] go through the system calls of each verb one by one; [`power`] cuts the
//! power of a file system, and [`replay`] of the disk below it; [`races`] lets many processes at one
//! store, and [`attack`] somebody who means harm. [`sabotage`] takes away what the store relies on,
//! and expects the same checks to see it.
//!
//! Continuous integration runs a part of it. Environment variables choose more: LOWERDIR_KILLS,
//! LOWERDIR_ERRORS, LOWERDIR_FAULTS, LOWERDIR_CUTS, LOWERDIR_STATES, LOWERDIR_ROUNDS; LOWERDIR_SEED chooses the moments.

mod attack;
mod blame;
pub mod disk;
mod errors;
mod kills;
mod power;
mod races;
mod replay;
mod sabotage;
mod scenario;
mod snapshot;
mod subject;
mod tracer;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// What is wrong, if something is.
type Verdict = Result<(), String>;

/// How many cases a variable asks for.
fn wanted(variable: &str, usual: usize) -> usize {
    let text = env::var(variable).ok();
    text.map_or(usual, |text| text.parse().expect(variable))
}

/// A sequence of numbers that looks like chance, and comes again for the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn new(number: u64) -> Chance {
        let seed = wanted("LOWERDIR_SEED", 1) as u64;
        Chance((seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1))
    }

    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    fn within(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(limit.as_micros().max(1) as u64))
    }
}

/// Checks all cases on the cores there are; panics with what is wrong, and in which case.
fn for_each<T: Sync>(
    cases: &[T],
    name: impl Fn(&T) -> String + Sync,
    check: impl Fn(&T) -> Verdict + Sync,
) {
    if let Err(wrong) = try_each(cases, name, check) {
        panic!("{wrong}");
    }
}

/// The same, for those who expect something to be wrong. It ends with the first that is.
fn try_each<T: Sync>(
    cases: &[T],
    name: impl Fn(&T) -> String + Sync,
    check: impl Fn(&T) -> Verdict + Sync,
) -> Verdict {
    let queue = Mutex::new(cases.iter());
    let wrong = Mutex::new(Vec::new());
    let next = || queue.lock().expect("nobody panics with it").next();
    let work = || {
        while wrong.lock().expect("nobody panics with it").is_empty()
            && let Some(case) = next()
        {
            let verdict = catch_unwind(AssertUnwindSafe(|| check(case)));
            let verdict = verdict.unwrap_or_else(|_| Err("it panicked: see above".into()));
            if let Err(what) = verdict {
                let mut wrong = wrong.lock().expect("nobody panics with it");
                wrong.push(format!("{}: {what}", name(case)));
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().expect("nobody panics with it");
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n")),
    }
}
