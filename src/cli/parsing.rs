//! The command line, parsed by clap; what is wrong with it is told as every other error is.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

use crate::Error;
use crate::escape::controls;
use crate::image::names::closest;

use super::{Cli, other_tools};

/// The verbs in groups, as the help lists them.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Unpack and mount",
        &["unpack", "mount", "umount", "bundle", "stack"],
    ),
    ("The store", &["images", "tag", "rm", "prune", "verify"]),
    ("Look without unpacking", &["ls", "diff", "inspect"]),
    (
        "Write images and trees",
        &["pull", "flatten", "export", "pack"],
    ),
    ("Single layers", &["unpack-layer", "translate", "convert"]),
    ("This program", &["man", "completions", "help"]),
];

/// The program, with its help as it is shown.
pub fn command() -> Command {
    let command = Cli::command();
    let width = GROUPS
        .iter()
        .flat_map(|(_, verbs)| *verbs)
        .map(|verb| verb.len())
        .max();
    let width = width.unwrap_or(0);
    let about = |verb: &str| {
        let found = command.find_subcommand(verb).and_then(Command::get_about);
        let help = "Show the help of a verb, with examples".to_string();
        found.map_or(help, ToString::to_string)
    };
    let mut verbs = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(verbs, "{heading}:");
        for name in *names {
            let _ = writeln!(verbs, "  {name:<width$}  {}", about(name));
        }
        verbs.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{verbs}{{options}}{{after-help}}"
    );
    command.help_template(template)
}

/// The verb, if it is one of a group: a test compares them with all verbs.
#[cfg(test)]
pub fn is_grouped(verb: &str) -> bool {
    GROUPS.iter().any(|(_, verbs)| verbs.contains(&verb))
}

/// Parses the arguments; `None` if they asked for help or the version, which is printed.
///
/// Errors: it cannot be printed; a command line that cannot be understood ([`Kind::Usage`](crate::Kind::Usage)).
pub fn parse(arguments: &[OsString]) -> Result<Option<Cli>, Error> {
    let parsed = command().try_get_matches_from(arguments);
    let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Ok(Some(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                let shown = error.print();
                let shown = shown.and_then(|()| std::io::stdout().flush());
                shown.map_err(|error| Error::system("writing to standard output", error))?;
                Ok(None)
            }
            _ => Err(in_our_voice(&error, arguments)),
        },
    }
}

fn in_our_voice(error: &clap::Error, arguments: &[OsString]) -> Error {
    let words: Vec<String> = arguments
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let verb = words
        .iter()
        .position(|word| Cli::command().find_subcommand(word).is_some());
    let help = match verb {
        Some(at) => format!("`lowerdir help {}` explains it", words[at]),
        None => "`lowerdir help` lists the verbs".into(),
    };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        || error.kind() == ErrorKind::MissingSubcommand
    {
        return Error::usage("no verb is given")
            .hint("`lowerdir help` lists the verbs; to begin: lowerdir unpack IMAGE");
    }
    if let Some(name) = context(error, ContextKind::InvalidSubcommand) {
        let rest = words
            .iter()
            .position(|word| *word == name)
            .map_or(&[][..], |at| &words[at + 1..]);
        let is_value =
            |at: usize| at > 0 && ["--platform", "--store", "-f", "-t"].contains(&&*rest[at - 1]);
        let arguments = rest.iter().enumerate();
        let arguments = arguments.filter(|(at, word)| !word.starts_with('-') && !is_value(*at));
        let arguments: Vec<String> = arguments.map(|(_, word)| word.clone()).collect();
        let text = format!("there is no verb {}", controls(&name));
        let hint = other_tools::verb(&name, &arguments).or_else(|| {
            let cli = Cli::command();
            let verbs = cli.get_subcommands().filter(|verb| !verb.is_hide_set());
            let similar = closest(&name, verbs.map(|verb| verb.get_name().to_string()))?;
            Some(format!("did you mean {similar}?"))
        });
        return Error::usage(text).hint(hint.unwrap_or(help));
    }
    let help = match error.kind() {
        ErrorKind::MissingRequiredArgument if words.iter().any(|word| word == "pull") => {
            "pull copies into an OCI layout, oci:DIR:TAG; `lowerdir unpack docker://NAME` unpacks into the store"
                .into()
        }
        _ => help,
    };
    let told = error.render().to_string();
    let (message, tips) = told_parts(&told);
    let hint = argument_tip(error, &words).or(tips).unwrap_or(help);
    Error::usage(message).hint(hint)
}

/// What clap says in one line, without its prefix, and its tip.
fn told_parts(told: &str) -> (String, Option<String>) {
    let told = told.strip_prefix("error: ").unwrap_or(told);
    let paragraphs: Vec<&str> = told.split("\n\n").collect();
    let lines = paragraphs[0].lines().map(str::trim);
    let mut message = String::new();
    for line in lines {
        let join = match message.is_empty() {
            true => "",
            false if message.ends_with(':') => " ",
            false => ", ",
        };
        // `[possible values: ...]` is a sentence of its own.
        let line = line.trim_start_matches('[').trim_end_matches(']');
        message += join;
        message += line;
    }
    for (theirs, ours) in NUMBERS {
        message = message.replace(theirs, ours);
    }
    let tips = paragraphs.iter().flat_map(|paragraph| paragraph.lines());
    let tips = tips.filter_map(|line| line.trim().strip_prefix("tip: "));
    let tips: Vec<&str> = tips.collect();
    let tips = tips.join("; ");
    // clap supposes a value that begins with hyphens, which no option here has.
    if tips.starts_with("to pass ") {
        return (message, None);
    }
    let similar = ["a similar argument exists: '", "a similar value exists: '"];
    let similar = similar.iter().find_map(|start| tips.strip_prefix(start));
    let tips = match similar.and_then(|rest| rest.strip_suffix('\'')) {
        Some(meant) => format!("did you mean {meant}?"),
        None => tips,
    };
    (message, (!tips.is_empty()).then_some(tips))
}

/// What the standard library says of numbers, in words for who typed them.
const NUMBERS: [(&str, &str); 4] = [
    ("invalid digit found in string", "it is not a number"),
    (
        "cannot parse integer from empty string",
        "it is not a number",
    ),
    (
        "number would be zero for non-zero type",
        "it must be at least 1",
    ),
    ("number too large to fit in target type", "it is too large"),
];

/// Where a value or a command stands where none can.
fn argument_tip(error: &clap::Error, words: &[String]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let argument = context(error, ContextKind::InvalidArg)?;
    let at = words.iter().position(|word| *word == argument)?;
    let before = at.checked_sub(1).map(|before| &*words[before]);
    match before {
        Some("--tmpfs") => Some(format!(
            "the size follows an equals sign: --tmpfs={argument}"
        )),
        _ if words.iter().any(|word| word == "bundle") && !argument.starts_with('-') => {
            let command = words[at..].join(" ");
            Some(format!(
                "the command to run follows two hyphens: -- {command}"
            ))
        }
        _ => None,
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        _ => None,
    }
}

/// Whether an error of usage is printed as JSON: as the arguments that could not be parsed ask for it.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().take_while(|word| *word != "--").collect();
    let is_pair = |pair: &[&OsString]| pair[0] == "--progress" && pair[1] == "json";
    let is_alone = |word: &&OsString| *word == "--json" || *word == "--progress=json";
    words.iter().any(is_alone) || words.windows(2).any(is_pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_in_a_group() {
        let command = Cli::command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(is_grouped(verb.get_name()), "{}", verb.get_name());
        }
    }

    #[test]
    fn help_fits_eighty_columns() {
        let mut command = command();
        command.build();
        let mut commands = vec![command.clone()];
        commands.extend(command.get_subcommands().cloned());
        for mut command in commands {
            for help in [
                command.render_help().to_string(),
                command.render_long_help().to_string(),
            ] {
                for line in help.lines() {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
        }
    }
}
