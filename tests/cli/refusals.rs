//! Every verb on every refused input: it ends with the status of the table, says which layer or
//! document and why, prints nothing else, and leaves every destination as it was.
//!
//! [`inputs`] has the rows, [`verbs`] the columns. A verb that does not read the part that is bad
//! takes the image: then it must end with 0, so that the table stays true.

mod documents;
mod inputs;
mod names;
mod streams;
mod verbs;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::bench::Run;
use inputs::{Input, Seen};
use verbs::{Reads, Site, Verb};

/// Where one layer alone says something else than in its image, or a verb has a reason to.
const EXCEPTIONS: &[(&str, &[&str], i32, &str)] = &[(
    "a blob that is not there",
    &["inspect"],
    0,
    "it describes an incomplete image as far as that is there",
)];

#[test]
fn every_verb_refuses_every_bad_input() {
    let inputs = inputs::all();
    assert_table_is_whole(&inputs);
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = verbs::ALL.iter().filter_map(|verb| judge(input, verb));
                    let found: Vec<String> = found.collect();
                    faults.lock().expect("nothing panics with it").extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().expect("nothing panics with it");
    let pairs = inputs.len() * verbs::ALL.len();
    let count = faults.len();
    assert!(count == 0, "{count} of {pairs}:\n{}", faults.join("\n"));
}

/// What is wrong.
fn judge(input: &Input, verb: &Verb) -> Option<String> {
    let wrong = try_one(input, verb).err()?;
    Some(format!("{}: {}: {wrong}", input.name, verb.name))
}

fn assert_table_is_whole(inputs: &[Input]) {
    let names: BTreeSet<&str> = inputs.iter().map(|input| input.name).collect();
    let verbs: BTreeSet<&str> = verbs::ALL.iter().map(|verb| verb.name).collect();
    assert_eq!(names.len(), inputs.len(), "a name comes twice");
    assert!(names.len() >= 40, "only {} inputs", names.len());
    assert!(verbs.len() >= 20, "only {} verbs", verbs.len());
    for (name, of, ..) in EXCEPTIONS {
        assert!(names.contains(name), "no input is called {name}");
        for verb in *of {
            assert!(verbs.contains(verb), "no verb is called {verb}");
        }
    }
}

fn concerns(of: &[&str], verb: &Verb) -> bool {
    of.is_empty() || of.contains(&verb.name)
}

/// The status that the table says.
fn expected(input: &Input, verb: &Verb) -> i32 {
    let exception = EXCEPTIONS
        .iter()
        .find(|(name, of, ..)| *name == input.name && concerns(of, verb));
    if let Some((_, _, status, _)) = exception {
        return *status;
    }
    match (verb.reads, input.seen) {
        (Reads::Blob, Seen::Documents | Seen::Image | Seen::Type) => 0,
        (Reads::Documents, Seen::Layer | Seen::Image | Seen::Type) => 0,
        // There is no store.
        (Reads::Store, Seen::Layer | Seen::Image) => 1,
        _ => input.status,
    }
}

fn try_one(input: &Input, verb: &Verb) -> Result<(), String> {
    let site = Site::new(input);
    let before = site.look();
    let run = site.run(verb, input.options);
    let status = expected(input, verb);
    if run.status != status {
        return Err(format!("status {} and not {status}: {run:?}", run.status));
    }
    if ["panicked", "RUST_BACKTRACE", "internal error"]
        .iter()
        .any(|word| run.stderr.contains(word))
    {
        return Err(format!("it panics: {run:?}"));
    }
    let left: Vec<_> = fs::read_dir(site.temporary()).expect("ours").collect();
    if !left.is_empty() {
        return Err(format!("temporary files are left: {left:?}"));
    }
    if status == 0 {
        return Ok(());
    }
    if !run.stdout.is_empty() && !verb.may_have_printed() {
        return Err(format!("something was printed: {run:?}"));
    }
    let after = site.look();
    if before != after {
        let new: Vec<_> = after
            .keys()
            .filter(|path| !before.contains_key(*path))
            .collect();
        return Err(format!("something was changed, new are {new:?}: {run:?}"));
    }
    site.store_has_nothing_bad()?;
    if site.has_store() && !verb.unpacks() {
        return Err(format!("it makes a store: {run:?}"));
    }
    says_why(input, verb, &run)
}

/// The layer, where an image's is bad, and what the row says.
fn says_why(input: &Input, verb: &Verb, run: &Run) -> Result<(), String> {
    let error = error_of(run).ok_or_else(|| format!("no error: {run:?}"))?;
    if verb.reads == Reads::Store && !matches!(input.seen, Seen::Documents | Seen::Type) {
        let words = ["there is no store at", "no such"];
        let is_told = words.iter().any(|word| error.contains(word));
        return is_told
            .then_some(())
            .ok_or_else(|| format!("not why: {error}"));
    }
    let is_of_layer = verb.reads == Reads::Layers && input.seen != Seen::Documents;
    if is_of_layer && !error.contains("layer 2 (") {
        return Err(format!("not which layer: {error}"));
    }
    match input.words.iter().find(|word| !error.contains(**word)) {
        Some(word) => Err(format!("no {word:?} in {error:?}")),
        None => Ok(()),
    }
}

/// As a line of text, or of JSON.
fn error_of(run: &Run) -> Option<String> {
    let mut lines = run.stderr.lines();
    lines.find_map(|line| {
        if let Some(text) = line.strip_prefix("lowerdir: ") {
            return Some(text.to_owned());
        }
        let event: Value = serde_json::from_str(line).ok()?;
        let message = event["message"].as_str()?;
        (event["event"] == "error").then(|| message.to_owned())
    })
}
