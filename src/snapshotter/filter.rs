//! `Filter`: selects snapshots for a List request. Pure.
//!
//! ```text
//! filter   := selector (',' selector)*           all of them must match
//! selector := field ('.' field)* (operator value)?
//! field    := quoted | [A-Za-z0-9_-]+
//! operator := '==' | '!=' | '~='                 equal, not equal, a regular expression
//! value    := quoted | anything but blanks and ','
//! quoted   := "..." | /.../ | |...|, with the escapes of Go
//! ```
//!
//! Source: containerd's `filters` package, its documentation and grammar. Fields are `name`,
//! `parent`, `kind` and `labels.NAME`; a field without an operator tests its presence.

use regex::Regex;

use super::failure::Failure;
use super::snapshot::Snapshot;

mod parse;

/// Several filters, any of which must match. An empty list matches everything.
#[derive(Debug)]
pub struct Filter(Vec<Vec<Selector>>);

#[derive(Debug)]
struct Selector {
    field: Vec<String>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

impl Filter {
    /// Parses filters. Errors: one does not follow the grammar.
    pub fn parse(filters: &[String]) -> Result<Filter, Failure> {
        let parse = |text: &String| {
            parse::selectors(text)
                .map_err(|why| Failure::invalid(format!("filter {text:?}: {why}")))
        };
        filters
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Filter)
    }

    /// Whether a snapshot matches.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let all = |selectors: &Vec<Selector>| selectors.iter().all(|one| one.matches(snapshot));
        self.0.is_empty() || self.0.iter().any(all)
    }
}

impl Selector {
    fn matches(&self, snapshot: &Snapshot) -> bool {
        let found = value(snapshot, &self.field);
        match &self.test {
            Test::Present => found.is_some(),
            Test::Equal(wanted) => found == Some(wanted),
            // An absent field counts as empty.
            Test::NotEqual(other) => found.unwrap_or_default() != other,
            Test::Matches(expression) => expression.is_match(found.unwrap_or_default()),
        }
    }
}

fn value<'a>(snapshot: &'a Snapshot, field: &[String]) -> Option<&'a str> {
    match field.split_first()? {
        (first, rest) if first == "labels" => {
            snapshot.labels.get(&rest.join(".")).map(String::as_str)
        }
        (first, _) => match first.as_str() {
            "name" => Some(&snapshot.name),
            "parent" => Some(snapshot.parent.as_deref().unwrap_or_default()),
            "kind" => Some(snapshot.kind.name()),
            _ => None,
        },
    }
}
