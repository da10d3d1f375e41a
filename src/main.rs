//! The command `lowerdir`: parse, run, say what went wrong, exit.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    if let Some(status) = cli::hold_user_namespace::run_if_asked() {
        return ExitCode::from(status);
    }
    let cli = cli::Cli::parse();
    raise_descriptor_limit();
    ExitCode::from(cli::run(&cli))
}

/// Each layer of a stack is held open: 500 of them are over the usual soft limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is denied, an image of few layers works all the same.
    let _ = setrlimit(Resource::Nofile, limit);
}
