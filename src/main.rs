//! The command `lowerdir`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lowerdir::cli::run()
}
