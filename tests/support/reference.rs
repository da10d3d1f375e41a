//! `docs/json.md`, as a test reads it: a table of members for each verb and each event, against which
//! lines of JSON are checked, and which remembers what it has seen.
//!
//! Each row has a member, its types and its meaning. A type is `string`, `number`, `boolean`, `null`,
//! `name`, `object` (whose content is documented elsewhere), `absent`, a literal in backticks, or a link
//! to the section whose rows the member has. The member `the line` has the rows of a section itself.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The member of a row whose rows are those of the line.
const THE_LINE: &str = "the line";

pub struct Reference {
    /// The tables of each section.
    sections: BTreeMap<String, Vec<Table>>,
    /// Section, member and type of everything that was seen.
    seen: RefCell<BTreeSet<[String; 3]>>,
}

type Table = Vec<Row>;

#[derive(Clone, Debug)]
struct Row {
    /// The section that documents it.
    section: String,
    /// The member as the section spells it.
    member: String,
    /// Keys, `[]` for each element of a list, and `*` for each member of an object.
    path: Vec<String>,
    types: Vec<String>,
}

impl Reference {
    pub fn read() -> Reference {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
        Reference::parse(&fs::read_to_string(path).expect("docs/json.md"))
    }

    fn parse(page: &str) -> Reference {
        let mut sections: BTreeMap<String, Vec<Table>> = BTreeMap::new();
        let (mut section, mut is_in_table) = (String::new(), false);
        for line in page.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                section = heading.to_lowercase();
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, member, types, _, _] = cells[..] else {
                is_in_table = false;
                continue;
            };
            let tables = sections.entry(section.clone()).or_default();
            match (is_in_table, member.trim_matches('-')) {
                (false, _) => tables.push(Table::new()),
                (true, "") => {}
                (true, _) => tables.last_mut().expect("its head").push(Row {
                    section: section.clone(),
                    member: member.trim_matches('`').into(),
                    path: segments(member.trim_matches('`')),
                    types: types_of(types),
                }),
            }
            is_in_table = true;
        }
        Reference {
            sections,
            seen: RefCell::default(),
        }
    }

    /// The names of the sections that have tables.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// Checks a line of JSON against the tables of a section: one of them must document it.
    pub fn check(&self, section: &str, line: &Value) {
        let tables = self.sections.get(section);
        let tables = tables.unwrap_or_else(|| panic!("docs/json.md has no table of {section}"));
        let mut why = Vec::new();
        for rows in tables.iter().flat_map(|table| self.expanded(table)) {
            match conforms(&rows, line) {
                Ok(seen) => return self.seen.borrow_mut().extend(seen),
                Err(error) => why.push(error),
            }
        }
        panic!("docs/json.md, {section}: {why:?}: {line}");
    }

    /// What is documented and was not seen: section, member and type.
    pub fn unseen(&self) -> Vec<[String; 3]> {
        let mut unseen = Vec::new();
        let seen = self.seen.borrow();
        for row in self.sections.values().flatten().flatten() {
            let plain = row.types.iter().filter(|one| !one.starts_with('#'));
            let escaped = row.types.iter().filter(|one| *one == "name");
            let types = plain.cloned().chain(escaped.map(|_| "bytes".to_string()));
            let all = types.map(|one| [row.section.clone(), row.member.clone(), one]);
            unseen.extend(all.filter(|one| !seen.contains(one)));
        }
        unseen
    }

    /// The rows of a table with those of the sections that it refers to; several if it refers to one of
    /// several sections.
    fn expanded(&self, table: &Table) -> Vec<Table> {
        let mut expanded = vec![Table::new()];
        for row in table {
            let links: Vec<&str> = row
                .types
                .iter()
                .filter_map(|one| one.strip_prefix('#'))
                .collect();
            let plain = Row {
                types: row
                    .types
                    .iter()
                    .filter(|one| !one.starts_with('#'))
                    .cloned()
                    .collect(),
                ..row.clone()
            };
            if !plain.types.is_empty() {
                expanded
                    .iter_mut()
                    .for_each(|rows| rows.push(plain.clone()));
            }
            if links.is_empty() {
                continue;
            }
            let with = |rows: &Table, link: &str| -> Table {
                let tables = self.sections.get(link);
                let tables = tables.unwrap_or_else(|| panic!("no section {link}"));
                let prefix: &[String] = if row.member == THE_LINE {
                    &[]
                } else {
                    &row.path
                };
                let nested = self
                    .expanded(&tables[0])
                    .remove(0)
                    .into_iter()
                    .map(|nested| Row {
                        path: [prefix, &nested.path].concat(),
                        ..nested
                    });
                rows.iter().cloned().chain(nested).collect()
            };
            expanded = expanded
                .iter()
                .flat_map(|rows| links.iter().map(move |link| with(rows, link)))
                .collect();
        }
        expanded
    }
}

/// `layers[].size` as `layers`, `[]` and `size`.
fn segments(member: &str) -> Vec<String> {
    let keys = member
        .split('.')
        .flat_map(|key| match key.strip_suffix("[]") {
            Some(list) => vec![list.to_string(), "[]".into()],
            None => vec![key.to_string()],
        });
    keys.collect()
}

/// The types of a cell; a link as `#section`.
fn types_of(cell: &str) -> Vec<String> {
    let types = cell.split(", ").flat_map(|part| part.split(" or "));
    types
        .map(|one| match one.split_once("](") {
            Some((_, address)) => address.trim_end_matches(')').to_string(),
            None => one.to_string(),
        })
        .collect()
}

/// What was seen, if the rows document all of the line, and the line has all that they document.
fn conforms(rows: &[Row], line: &Value) -> Result<Vec<[String; 3]>, String> {
    let mut seen = Vec::new();
    for row in rows {
        let mut found = Vec::new();
        let is_complete = instances(line, &row.path, &mut found);
        if !is_complete && !row.types.contains(&"absent".to_string()) {
            return Err(format!("{} is missing", row.member));
        }
        if !is_complete {
            seen.push([row.section.clone(), row.member.clone(), "absent".into()]);
        }
        for value in found {
            // The members of an object that may be null have rows of their own.
            let has_members = value.is_object()
                && rows.iter().any(|other| {
                    other.path.len() > row.path.len() && other.path.starts_with(&row.path)
                });
            match kind(value, &row.types) {
                Some(kind) => seen.push([row.section.clone(), row.member.clone(), kind]),
                None if has_members => {}
                None => return Err(format!("{} is {value}", row.member)),
            }
        }
    }
    let mut leaves = Vec::new();
    collect(line, &mut Vec::new(), rows, &mut leaves);
    for path in leaves {
        let is = |row: &&Row| matches(&row.path, &path);
        if rows.iter().any(|row| is(&row)) {
            continue;
        }
        let name = without_bytes(&path);
        let row = name.and_then(|name| rows.iter().find(|row| matches(&row.path, &name)));
        match row.filter(|row| row.types.contains(&"name".to_string())) {
            Some(row) => seen.push([row.section.clone(), row.member.clone(), "bytes".into()]),
            None => return Err(format!("{} is not documented", path.join("."))),
        }
    }
    Ok(seen)
}

/// The values at a path; false if one of them is not there.
fn instances<'a>(value: &'a Value, path: &[String], found: &mut Vec<&'a Value>) -> bool {
    let Some((key, rest)) = path.split_first() else {
        found.push(value);
        return true;
    };
    let below: Vec<Option<&Value>> = match (key.as_str(), value) {
        // Nothing is below null.
        (_, Value::Null) => Vec::new(),
        ("[]", Value::Array(list)) => list.iter().map(Some).collect(),
        ("*", Value::Object(object)) => object.values().map(Some).collect(),
        (key, value) => vec![value.get(key)],
    };
    let mut is_complete = true;
    for value in below {
        is_complete &= value.is_some_and(|value| instances(value, rest, found));
    }
    is_complete
}

/// Which of the types a value has.
fn kind(value: &Value, types: &[String]) -> Option<String> {
    let is = |one: &&String| match (one.as_str(), value) {
        ("string" | "name", Value::String(_)) => true,
        ("number", Value::Number(_)) => true,
        ("boolean", Value::Bool(_)) => true,
        ("null", Value::Null) => true,
        ("object", Value::Object(_)) => true,
        (literal, Value::String(text)) => literal.trim_matches('`') == text && literal != text,
        _ => false,
    };
    types.iter().find(is).cloned()
}

/// The paths of all values that have no members, or whose members are documented elsewhere.
fn collect(value: &Value, path: &mut Vec<String>, rows: &[Row], leaves: &mut Vec<Vec<String>>) {
    let is_foreign =
        |row: &Row| matches(&row.path, path) && row.types.contains(&"object".to_string());
    let below: Vec<(String, &Value)> = match value {
        Value::Object(_) if rows.iter().any(is_foreign) => Vec::new(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(list) => list.iter().map(|value| ("[]".to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let is_empty = matches!(value, Value::Object(object) if object.is_empty())
        || matches!(value, Value::Array(list) if list.is_empty());
    if below.is_empty() && !is_empty {
        leaves.push(path.clone());
    }
    for (key, value) in below {
        path.push(key);
        collect(value, path, rows, leaves);
        path.pop();
    }
}

fn matches(pattern: &[String], path: &[String]) -> bool {
    let is = |(one, other): (&String, &String)| one == other || one == "*";
    pattern.len() == path.len() && pattern.iter().zip(path).all(is)
}

/// `path` of `path_bytes`.
fn without_bytes(path: &[String]) -> Option<Vec<String>> {
    let last = path.iter().rposition(|key| key != "[]")?;
    let mut name = path.to_vec();
    name[last] = name[last].strip_suffix("_bytes")?.to_string();
    Some(name)
}
