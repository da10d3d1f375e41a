//! The command `lowerdir`: parse, run, say what went wrong, exit.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;
use lowerdir::Kind;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
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

fn exit_status(kind: Option<Kind>) -> ExitCode {
    ExitCode::from(match kind {
        Some(Kind::Refused | Kind::Mismatch) => 3,
        Some(Kind::Limit) => 4,
        _ => 1,
    })
}
