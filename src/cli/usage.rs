//! Errors of usage that are found after clap has parsed the arguments: exit status 2, as for those that
//! clap finds.

use std::fmt;

/// What is wrong with the command line.
#[derive(Debug)]
pub struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error of usage.
pub fn usage(what: impl Into<String>) -> anyhow::Error {
    Usage(what.into()).into()
}

/// The same, from the library's error about the value of an option.
pub fn of_option(option: &str, error: crate::Error) -> anyhow::Error {
    anyhow::Error::from(error).context(Usage(option.into()))
}
