//! Layers that mean harm: named cases, each unpacked by the command beside a canary that must not
//! change, within ten seconds and 64 MiB, and without anything left in the store's staging.
//!
//! As root the layers get their owners and devices; else they are unpacked as anybody may.

support::start!();

use support::{canary, oci, tarball};

mod court;
mod damage;
mod formats;
mod links;
mod memory;
mod names;
mod special;
mod types;
mod watched;
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
