//! Every input that was kept, and some random ones, on any toolchain: no crash that was found comes
//! back.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// How many random inputs each target gets; LOWERDIR_INPUTS says another number, LOWERDIR_SEED tries
/// one again.
const RANDOM: u64 = 300;

fn each(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let entries = fs::read_dir(directory.join(target)).expect("the corpus is there");
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "only {} inputs", inputs.len());
    for input in inputs {
        let bytes = fs::read(&input).expect("an input");
        let done = catch_unwind(|| check(&bytes));
        assert!(done.is_ok(), "{target}: {}", input.display());
    }
}

fn random(target: &str, check: fn(&[u8])) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let seeds = match number("LOWERDIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LOWERDIR_INPUTS").unwrap_or(RANDOM),
    };
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let length = dice.below(400);
        let bytes: Vec<u8> = (0..length).map(|_| dice.byte()).collect();
        let done = catch_unwind(|| check(&bytes));
        assert!(done.is_ok(), "{target}: seed {seed}");
    }
}

#[test]
fn archive() {
    each("archive", crate::archive::check);
}

#[test]
fn archive_random() {
    random("archive", crate::archive::check);
}

#[test]
fn codec() {
    each("codec", crate::codec::check);
}

#[test]
fn codec_random() {
    random("codec", crate::codec::check);
}

#[test]
fn stack() {
    each("stack", crate::stack::check);
}

#[test]
fn stack_random() {
    random("stack", crate::stack::check);
}

#[test]
fn unpack() {
    each("unpack", crate::unpack::check);
}

#[test]
fn unpack_random() {
    random("unpack", crate::unpack::check);
}
