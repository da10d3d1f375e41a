//! Standard input, for verbs that read an archive from it.

use std::fs::File;
use std::io::IsTerminal;

use crate::Error;

/// Standard input. Errors: it is a terminal.
pub fn stdin() -> anyhow::Result<File> {
    refuse_terminal()?;
    Ok(File::from(rustix::io::dup(std::io::stdin())?))
}

/// Errors: standard input is a terminal.
pub fn refuse_terminal() -> crate::Result<()> {
    match std::io::stdin().is_terminal() {
        true => Err(Error::usage("`-` is standard input, and that is a terminal").hint(
            "pipe an archive into it, as in `docker save NAME | lowerdir unpack -`, or name a file",
        )),
        false => Ok(()),
    }
}
