//! Layers that mean harm: named cases, each unpacked by the command beside a canary that must not
//! change, within ten seconds and 64 MiB, and without anything left in the store's staging.
//!
//! As root the layers get their owners and devices; else they are unpacked as anybody may.

#[path = "support/canary.rs"]
mod canary;
#[path = "hostile/court.rs"]
mod court;
#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/formats.rs"]
mod formats;
#[path = "hostile/links.rs"]
mod links;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/names.rs"]
mod names;
#[path = "support/oci.rs"]
mod oci;
#[path = "hostile/special.rs"]
mod special;
#[path = "support/start.rs"]
mod start;
#[path = "support/tarball.rs"]
mod tarball;
#[path = "hostile/types.rs"]
mod types;
#[path = "hostile/watched.rs"]
mod watched;
#[path = "hostile/whiteouts.rs"]
mod whiteouts;

use court::{Case, Court};

#[test]
fn no_layer_does_harm() {
    let court = Court::new();
    let canary = court.canary();
    let cases: Vec<Case> = [
        names::cases(canary),
        types::cases(),
        links::cases(canary),
        whiteouts::cases(canary),
        special::cases(),
        formats::cases(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(cases.len() >= 200, "only {} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| court.try_case(case))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}
