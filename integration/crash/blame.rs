//! Nobody is blamed for what the system does: whatever call fails, in every verb, the status is 1, or 0
//! with all that was asked for; never damage in the image, and never half an output.
//!
//! Some calls of each kind are made to fail, with one reason after another in turn: LOWERDIR_FAULTS is
//! how many of each (4).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::subject::{Subject, lowerdir, output, told, works};
use super::tracer::{self, Position};
use super::{Verdict, for_each, wanted};
use crate::scratch::Scratch;

/// Those that verbs make which only read, too.
const CALLS: &str = "openat,openat2,read,pread64,getdents64,newfstatat,statx,fstat,readlink,readlinkat,mkdir,mkdirat,\
    linkat,renameat,renameat2,rename,write,pwrite64,fsync,syncfs,ftruncate,fchmod,fchown,fsetxattr,llistxattr,flistxattr,flock";
const REASONS: [&str; 5] = ["ENOSPC", "EIO", "EMFILE", "ENOMEM", "EDQUOT"];
const LOOKS: [&str; 2] = ["EIO", "ENOMEM"];

/// Every verb, with the file or directory that it writes.
const VERBS: [(&str, &str); 20] = [
    ("translate BLOB out", "out"),
    ("translate BLOB new", "new"),
    ("pack upper --base -o out", "out"),
    ("pack upper --lower below -o out --compression=none", "out"),
    ("pack upper --base --append oci:layout", ""),
    ("unpack-layer --base BLOB new", "new"),
    ("flatten IMAGE new", "new"),
    ("flatten IMAGE oci:layout:flat", ""),
    ("flatten IMAGE -", ""),
    ("convert below --to user --dry-run", ""),
    ("bundle IMAGE new --overlay=config -- /f", "new"),
    ("export IMAGE --format=mtree", ""),
    ("export IMAGE --format=composefs-dump", ""),
    ("export IMAGE --format=mtree --exclude d", ""),
    ("ls IMAGE", ""),
    ("inspect IMAGE", ""),
    ("images", ""),
    ("stack IMAGE", ""),
    ("verify --all", ""),
    ("prune --dry-run", ""),
];

fn words(verb: &str, subject: &Subject) -> Vec<String> {
    let words = verb.split(' ').map(|word| match word {
        "BLOB" => subject.blob("one", 0),
        "IMAGE" => subject.image("one"),
        other => other.into(),
    });
    words.collect()
}

/// A place with a store that has the image, and what the verbs read and replace.
fn prepare(place: &Path, subject: &Subject) {
    works(lowerdir(place, &["unpack", &subject.image("one")])).expect("it is undisturbed");
    for directory in ["upper", "below"] {
        fs::create_dir(place.join(directory)).expect("a directory");
        fs::write(place.join(directory).join("f"), vec![7; 50_000]).expect("a file");
    }
    works(lowerdir(
        place,
        &["flatten", &subject.image("one"), "oci:layout:one"],
    ))
    .expect("it is undisturbed");
    fs::write(place.join("out"), "old").expect("a file");
}

fn copy(from: &Path, site: &Path) -> TempDir {
    let place = tempfile::tempdir_in(site).expect("a directory");
    let mut cp = Command::new("cp");
    cp.arg("-a").arg(from.join(".")).arg(place.path());
    works(cp).expect("it can be copied");
    place
}

/// The first, the last, and some between, of each kind of call.
fn chosen(positions: Vec<Position>) -> Vec<Position> {
    let mut by_call: BTreeMap<String, Vec<Position>> = BTreeMap::new();
    for position in positions {
        by_call
            .entry(position.call.clone())
            .or_default()
            .push(position);
    }
    let wanted = wanted("LOWERDIR_FAULTS", 4).max(1);
    let some = |all: Vec<Position>| -> Vec<Position> {
        let step = all.len().div_ceil(wanted);
        let last = all.last().cloned();
        all.into_iter().step_by(step).chain(last).collect()
    };
    let mut chosen: Vec<Position> = by_call.into_values().flat_map(some).collect();
    chosen.dedup();
    chosen
}

#[test]
fn no_verb_blames_the_image_for_what_the_system_does() {
    let Some(scratch) = Scratch::new().filter(|_| tracer::is_able()) else {
        return;
    };
    let site = scratch.site();
    let subject = Subject::write(site.path(), 20);
    let template = tempfile::tempdir_in(site.path()).expect("a directory");
    prepare(template.path(), &subject);
    for (verb, written) in VERBS {
        let words = words(verb, &subject);
        let place = copy(template.path(), site.path());
        let log = site.path().join("log");
        let command = lowerdir(place.path(), &words);
        let positions = tracer::positions_of(&command, &log, CALLS);
        let end = content(place.path(), written);
        let cases = chosen(positions.all).into_iter().enumerate();
        let cases: Vec<(Position, &str)> = cases
            .map(|(number, position)| {
                // A look at a file takes no descriptor and no room.
                let reasons = match position.call.contains("stat") {
                    true => &LOOKS[..],
                    false => &REASONS[..],
                };
                let reason = reasons[number % reasons.len()];
                (position, reason)
            })
            .collect();
        for_each(
            &cases,
            |(position, reason)| format!("{verb}, {reason} at {position}"),
            |(position, reason)| {
                let place = copy(template.path(), site.path());
                let log = place.path().join("log");
                let command = lowerdir(place.path(), &words);
                let fault = format!("error={reason}");
                let mut run = tracer::disturbed(&command, position, &fault, &log);
                let run = output(&mut run);
                let text = String::from_utf8_lossy(&run.stderr);
                // The loader's own calls.
                if run.status.code() == Some(127) || text.contains("loading shared libraries") {
                    return Ok(());
                }
                let found = content(place.path(), written);
                let verdict = match run.status.code() {
                    Some(0) if found == end => Ok(()),
                    Some(0) => Err("status 0, and another output".into()),
                    Some(1) if found == content(template.path(), written) || found == end => {
                        is_told(&text)
                    }
                    Some(1) => Err("the output is neither old nor new".into()),
                    _ => Err("no such status".into()),
                };
                verdict.map_err(|what: String| format!("{what}\n{}", told(&command, &run)))
            },
        );
        println!("{verb}: {} errors", cases.len());
    }
}

/// What a run has written, as far as it is compared.
fn content(place: &Path, name: &str) -> Option<Vec<u8>> {
    let path = place.join(name);
    match path.is_dir() {
        _ if name.is_empty() => None,
        true => Some(b"a directory".into()),
        false => fs::read(path).ok(),
    }
}

fn is_told(text: &str) -> Verdict {
    for blame in [
        "damaged",
        "fetch the image",
        "incomplete",
        "was changed",
        "is missing",
    ] {
        if text.contains(blame) {
            return Err(format!("it blames: {blame}"));
        }
    }
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    match has("lowerdir: ") && has("hint: ") {
        true => Ok(()),
        false => Err("no error, or no hint".into()),
    }
}
