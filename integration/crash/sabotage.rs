//! The other tests would see it: what the store relies on is taken away, and the same checks fail.
//!
//! strace lets a call return 0 that was never made, or changes what it asks for. So the program that
//! is tested is the one that is shipped: it has no switch for this.

use super::attack::Court;
use super::errors::after_writeback_fails;
use super::power::Plant;
use super::replay::try_states;
use super::tracer;
use crate::scratch::Scratch;

/// What a run with a fault leaves after a power cut at its end.
fn after_a_cut(kind: &str, fault: &str, flush: bool) -> Option<Result<(), String>> {
    let scratch = Scratch::new().filter(|_| tracer::is_able())?;
    let site = scratch.site();
    let verdict = Plant::new(&site, kind, "320M")?.cut_at_the_end(fault, flush);
    println!("{kind}, {fault}: {verdict:?}");
    Some(verdict)
}

#[test]
fn a_run_without_fault_passes_the_same_checks() {
    for kind in ["ext4", "xfs"] {
        for flush in [false, true] {
            let verdict = after_a_cut(kind, "syncfs:delay_enter=1", flush);
            verdict.unwrap_or(Ok(())).expect("nothing is wrong");
        }
    }
}

#[test]
fn contents_that_are_not_synced_are_seen() {
    for kind in ["ext4", "xfs"] {
        // The names are in the journal by then, and what the files hold is nowhere.
        let verdict = after_a_cut(kind, "syncfs:retval=0", true);
        let what = verdict
            .unwrap_or(Err("layers changed".into()))
            .expect_err("it is seen");
        assert!(what.contains("layers changed"), "{what}");
    }
}

#[test]
fn names_that_are_not_synced_are_seen() {
    for kind in ["ext4", "xfs"] {
        let verdict = after_a_cut(kind, "fsync:retval=0", false);
        verdict
            .unwrap_or(Err("skipped".into()))
            .expect_err("it is seen");
    }
}

#[test]
fn lost_writes_are_seen_where_nothing_is_flushed() {
    if !tracer::is_able() {
        return;
    }
    for kind in ["ext4", "xfs"] {
        let verdict = try_states(kind, Some("syncfs,fsync,fdatasync:retval=0"));
        verdict
            .unwrap_or(Err("skipped".into()))
            .expect_err("it is seen");
    }
}

#[test]
fn failed_writes_are_seen_where_nobody_waits_for_them() {
    if !tracer::is_able() {
        return;
    }
    let verdict = after_writeback_fails(Some("syncfs,fsync,fdatasync:retval=0"));
    verdict
        .unwrap_or(Err("skipped".into()))
        .expect_err("it is seen");
}

#[test]
fn an_attacker_is_seen_where_links_are_followed() {
    let Some(scratch) = Scratch::new().filter(|_| tracer::is_able()) else {
        return;
    };
    let site = scratch.site();
    let court = Court::new(site.path());
    // What openat2(2) is asked for becomes O_RDONLY and O_CLOEXEC, without a RESOLVE flag.
    let how = "00000800".to_owned() + &"00".repeat(20);
    let fault = format!("openat2:poke_enter=@arg3={how}");
    let mut attacks = (0..50).map(|_| court.attack(Some(&fault)));
    let what = attacks
        .find_map(Result::err)
        .expect("the attacker gets out");
    println!("outside changed: {what}");
}
