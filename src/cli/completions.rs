//! `lowerdir completions SHELL`: clap's script for a shell, and the names of the images in the store beside it, which
//! the script asks the program for.

use std::fmt::Write;

use clap::Args;
use clap_complete::Shell;

use super::{Global, output, parsing};

const EXAMPLES: &str = "\
Examples:
  lowerdir completions bash > ~/.local/share/bash-completion/completions/lowerdir
  lowerdir completions zsh > /usr/local/share/zsh/site-functions/_lowerdir
  lowerdir completions fish > ~/.config/fish/completions/lowerdir.fish";

/// Verbs about an image of the store.
const VERBS: [&str; 9] = [
    "bundle", "export", "images", "inspect", "mount", "rm", "stack", "tag", "verify",
];

/// Print the completion script for a shell.
///
/// It completes verbs, options and files and, in bash, zsh and fish, the names of the images in the store.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

/// The names of the images in the store, one a line, for the scripts.
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct CompleteNames {}

pub fn run(verb: &Completions) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(verb.shell, &mut parsing::command(), "lowerdir", &mut text);
    let text = String::from_utf8(text)?;
    let text = match verb.shell {
        Shell::Bash => text + &bash(),
        Shell::Zsh => zsh(&text),
        Shell::Fish => text + &fish(),
        _ => text,
    };
    output::bytes(text.as_bytes())?;
    Ok(())
}

/// What is wrong is not told: it would appear in the middle of a command line.
pub fn names(_: &CompleteNames, global: &Global) -> anyhow::Result<()> {
    let store = global.find_store().ok().flatten();
    let stores = store.iter().flat_map(|store| store.each());
    let names = stores.filter_map(|store| store.names().ok());
    let mut names: Vec<String> = names.flat_map(|names| names.into_keys()).collect();
    names.sort();
    names.dedup();
    output::lines(names.iter().map(String::as_bytes))?;
    Ok(())
}

/// bash parts words at colons: the part before the last one is not completed again.
fn bash() -> String {
    let verbs = VERBS.join("|");
    format!(
        r#"
_lowerdir_and_names() {{
    _lowerdir "$@"
    local line=${{COMP_LINE:0:COMP_POINT}} name is_about_image=
    local word=${{line##*[[:space:]]}}
    local before=${{word%"${{word##*:}}"}}
    for name in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $name in
            {verbs}) is_about_image=1 ;;
        esac
    done
    [[ -n $is_about_image && $word != -* ]] || return 0
    while IFS= read -r name; do
        [[ $name == "$word"* ]] && COMPREPLY+=("${{name#"$before"}}")
    done < <("$1" complete-names 2>/dev/null)
}}
complete -F _lowerdir_and_names -o bashdefault -o default lowerdir
"#
    )
}

/// In clap's script, the section of a verb begins with its name in parentheses.
fn zsh(script: &str) -> String {
    let mut text = String::new();
    let mut is_about_image = false;
    for line in script.lines() {
        if let Some(verb) = line
            .strip_prefix('(')
            .and_then(|line| line.strip_suffix(')'))
        {
            is_about_image = VERBS.contains(&verb);
        }
        if line.starts_with("if [ \"$funcstack[1]\"") {
            text += "_lowerdir_names() {\n    local -a names\n";
            text += "    names=(${(f)\"$(lowerdir complete-names 2>/dev/null)\"})\n";
            text += "    compadd -a names\n    _files\n}\n\n";
        }
        let is_image = [":reference ", ":image ", ":images ", ":patterns "];
        let is_image = is_image.iter().any(|name| line.contains(name));
        let named = line.strip_suffix(":_default' \\");
        let quoted = line.strip_suffix(":_default'");
        let _ = match (is_about_image && is_image, named, quoted) {
            (true, Some(start), _) => writeln!(text, "{start}:_lowerdir_names' \\"),
            (true, _, Some(start)) => writeln!(text, "{start}:_lowerdir_names'"),
            _ => writeln!(text, "{line}"),
        };
    }
    text
}

fn fish() -> String {
    let mut text = String::new();
    for verb in VERBS {
        let _ = writeln!(
            text,
            "complete -c lowerdir -n \"__fish_lowerdir_using_subcommand {verb}\" -a \"(lowerdir complete-names 2>/dev/null)\""
        );
    }
    text
}
