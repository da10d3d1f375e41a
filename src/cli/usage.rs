//! Arguments that make no sense together, found out after clap has read them: exit status 2, as for
//! those that clap refuses.

use crate::Error;

/// An error about what the user typed.
pub fn usage(what: impl Into<String>) -> anyhow::Error {
    Error::usage(what).into()
}

/// The same, where the library says what is wrong with an option's value.
pub fn of_option(option: &'static str, error: Error) -> anyhow::Error {
    anyhow::Error::from(error).context(option)
}
