//! The budget, its shares, and what becomes of a panic.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::error::Kind;

/// Waits until its sender is dropped.
fn wait(gate: Receiver<()>) {
    let _ = gate.recv();
}

#[test]
fn jobs_bound_the_workers_and_helpers_come_on_top() {
    let budget = ThreadBudget::new(3);
    let share = budget.share();
    std::thread::scope(|scope| {
        let mut gates = Vec::new();
        for _ in 0..3 {
            let (open, gate) = channel();
            gates.push(open);
            assert!(budget.start(scope, "worker", gate, wait).is_ok());
        }
        let refused = budget.start(scope, "worker", "the state", |_| ());
        assert_eq!(refused.err(), Some("the state"));
        for _ in 0..HELPERS {
            let (open, gate) = channel();
            gates.push(open);
            assert!(share.start(scope, "helper", gate, wait).is_ok());
        }
        let refused = share.start(scope, "helper", "the state", |_| ());
        assert_eq!(refused.err(), Some("the state"));
    });
    std::thread::scope(|scope| {
        let started = share.start(scope, "helper", 7, |state| state);
        let thread = started.expect("the others have ended");
        assert_eq!(thread.join().unwrap(), 7);
    });
}

#[test]
fn one_job_has_one_worker_and_no_helper() {
    let budget = ThreadBudget::new(1);
    let share = budget.share();
    std::thread::scope(|scope| {
        assert!(share.start(scope, "helper", (), |()| ()).is_err());
        let (open, gate) = channel();
        assert!(budget.start(scope, "worker", gate, wait).is_ok());
        assert!(budget.start(scope, "worker", (), |()| ()).is_err());
        drop(open);
    });
}

#[test]
fn layers_divide_the_helpers_and_leave_them_to_each_other() {
    let budget = ThreadBudget::new(2);
    let (one, other) = (budget.share(), budget.share());
    let take = |share: &ThreadShare<'_>| {
        let permits = std::iter::from_fn(|| share.helper());
        // They are kept.
        permits.map(std::mem::forget).count()
    };
    // Two jobs and four helpers, of which no worker has taken any.
    assert_eq!(take(&one), 3);
    assert_eq!(take(&other), 3);
    drop(other);
    assert_eq!(take(&one), 0, "those of the other are still there");
    budget.state().helpers -= 3;
    assert_eq!(take(&one), 3);
}

#[test]
fn a_panic_is_an_internal_error_and_ends_no_other_thread() {
    let budget = ThreadBudget::new(2);
    let error = std::thread::scope(|scope| {
        let started = budget.start(scope, "worker", (), |()| -> () {
            panic!("as the test wants")
        });
        started.expect("there is a thread").join().unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Internal);
    // One that is not joined ends no other thread either.
    std::thread::scope(|scope| {
        let _ = budget.start(scope, "worker", (), |()| -> () {
            panic!("as the test wants")
        });
    });
    let error = caught("worker", || -> Result<()> { panic!("as the test wants") });
    assert_eq!(error.unwrap_err().kind(), Kind::Internal);
}
