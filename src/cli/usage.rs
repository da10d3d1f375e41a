//! Arguments that make no sense together, found out after clap has read them: exit status 2, as for
//! those that clap refuses.

use std::fmt;

/// What is wrong with what the user typed.
#[derive(Debug)]
pub struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error about what the user typed.
pub fn usage(what: impl Into<String>) -> anyhow::Error {
    Usage(what.into()).into()
}

/// The same, where the library says what is wrong with an option's value.
pub fn of_option(option: &str, error: crate::Error) -> anyhow::Error {
    anyhow::Error::from(error).context(Usage(option.into()))
}
