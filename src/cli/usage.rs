//! Errors of usage that are found after clap has parsed the arguments: exit status 2, as for those that
//! clap finds.

use crate::Error;

/// An error of usage.
pub fn usage(what: impl Into<String>) -> anyhow::Error {
    Error::usage(what).into()
}

/// The same, from the library's error about the value of an option.
pub fn of_option(option: &'static str, error: Error) -> anyhow::Error {
    anyhow::Error::from(error).context(option)
}
