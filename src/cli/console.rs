//! Standard error: notes, warnings, errors and progress, as text for people or as one JSON object per
//! line for programs.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use crate::escape::controls;
use crate::{Error, Kind};
use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::advice;
use super::json::Name;
use super::output;

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct ConsoleArgs {
    /// Print nothing but errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more: each layer, how it was mounted
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print the result as JSON, one object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// How to show progress on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "HOW",
        default_value = "auto"
    )]
    progress: ProgressArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProgressArg {
    /// Bars on a terminal; otherwise plain lines, or JSON lines with --json
    Auto,
    /// A line for each layer
    Plain,
    /// JSON lines, for warnings and errors too
    Json,
    /// Nothing
    None,
}

/// How standard error is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    Bars,
    Lines,
    Json,
    Nothing,
}

/// An event, with what it reports.
#[derive(Serialize)]
struct EventJson<T> {
    event: &'static str,
    #[serde(flatten)]
    members: T,
}

/// Why the command failed.
#[derive(Serialize)]
struct ErrorJson<'a> {
    status: u8,
    kind: &'static str,
    message: String,
    layer: Option<&'a str>,
    #[serde(flatten)]
    entry: Name,
    hint: Option<Cow<'a, str>>,
}

const BOLD_RED: Style = AnsiColor::Red.on_default().bold();
const BOLD_YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const BOLD_CYAN: Style = AnsiColor::Cyan.on_default().bold();

impl ConsoleArgs {
    pub fn show(&self) -> Show {
        match self.progress {
            _ if self.quiet => Show::Nothing,
            ProgressArg::Plain => Show::Lines,
            ProgressArg::Json => Show::Json,
            ProgressArg::None => Show::Nothing,
            ProgressArg::Auto if std::io::stderr().is_terminal() => Show::Bars,
            ProgressArg::Auto if self.json => Show::Json,
            ProgressArg::Auto => Show::Lines,
        }
    }

    fn speaks_json(&self) -> bool {
        matches!(self.progress, ProgressArg::Json)
            || (self.json && matches!(self.progress, ProgressArg::Auto))
                && !std::io::stderr().is_terminal()
    }

    /// Prints a note, unless --quiet is given.
    pub fn note(&self, text: &str) {
        match self.speaks_json() {
            _ if self.quiet => {}
            true => event(&json!({ "event": "note", "message": text })),
            false => line(format_args!("{}", controls(text))),
        }
    }

    /// Prints a detail, if --verbose is given.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Warns of something that the user may not expect.
    pub fn warning(&self, text: &str) {
        match self.speaks_json() {
            _ if self.quiet => {}
            true => event(&json!({ "event": "warning", "message": text })),
            false => {
                let text = controls(text);
                line(format_args!("{BOLD_YELLOW}warning:{BOLD_YELLOW:#} {text}"));
            }
        }
    }

    /// Prints the result as JSON; if the verb's output itself is on standard output, as an event.
    pub fn result(&self, value: &impl Serialize, output_is_taken: bool) -> crate::Result<()> {
        if !output_is_taken {
            return output::json(value);
        }
        if self.speaks_json() && !self.quiet {
            event(&EventJson {
                event: "result",
                members: value,
            });
        }
        Ok(())
    }

    /// Prints why the command failed, and the hint.
    pub fn error(&self, error: &anyhow::Error, status: u8) {
        show_error(error, status, self.speaks_json());
    }
}

/// Prints why the command failed, and the hint: as text, or as JSON.
pub fn show_error(error: &anyhow::Error, status: u8, as_json: bool) {
    let known = error.downcast_ref::<Error>();
    let hint = known.and_then(advice::hint);
    if as_json {
        let entry = known.and_then(Error::entry);
        event(&EventJson {
            event: "error",
            members: ErrorJson {
                status,
                // What is not an error of the library is not expected.
                kind: known.map_or(Kind::Internal, Error::kind).name(),
                message: format!("{error:#}"),
                layer: known.and_then(Error::layer),
                entry: match entry {
                    Some(entry) => Name::escaped("entry", entry),
                    None => Name::null("entry"),
                },
                hint,
            },
        });
        return;
    }
    let error = format!("{error:#}");
    let error = controls(&error);
    line(format_args!("{BOLD_RED}lowerdir:{BOLD_RED:#} {error}"));
    if let Some(hint) = hint {
        let hint = controls(&hint);
        line(format_args!("{BOLD_CYAN}hint:{BOLD_CYAN:#} {hint}"));
    }
}

/// One JSON line on standard error.
pub fn event(value: &impl Serialize) {
    // The work goes on when standard error is closed.
    let _ = output::json_line(&mut std::io::stderr(), value);
}

/// One line of text on standard error, coloured only on a terminal.
pub fn line(text: std::fmt::Arguments<'_>) {
    // The work goes on when standard error is closed.
    let _ = writeln!(anstream::stderr(), "{text}");
}
