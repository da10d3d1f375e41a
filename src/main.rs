//! The command `lowerdir`: parse, run, say what went wrong, exit.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;
use lowerdir::Kind;
use rustix::process::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    raise_descriptor_limit();
    match cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lowerdir: {error:#}");
            let known = error.downcast_ref::<lowerdir::Error>();
            if let Some(hint) = known.and_then(lowerdir::Error::hint_text) {
                eprintln!("hint: {hint}");
            }
            exit_status(known.map(lowerdir::Error::kind))
        }
    }
}

/// Each layer of a stack is held open: 500 of them are over the usual soft limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is denied, an image of few layers works all the same.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn exit_status(kind: Option<Kind>) -> ExitCode {
    ExitCode::from(match kind {
        Some(Kind::Refused | Kind::Mismatch) => 3,
        Some(Kind::Limit) => 4,
        _ => 1,
    })
}
