//! `lowerdir completions SHELL`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, output};

const EXAMPLES: &str = "\
Examples:
  lowerdir completions bash > /usr/share/bash-completion/completions/lowerdir
  lowerdir completions zsh > /usr/share/zsh/vendor-completions/_lowerdir
  lowerdir completions fish > /usr/share/fish/vendor_completions.d/lowerdir.fish";

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(verb: &Completions) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(verb.shell, &mut Cli::command(), "lowerdir", &mut text);
    output::bytes(&text)?;
    Ok(())
}
