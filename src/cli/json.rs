//! Members of JSON objects that hold names. Names are bytes, and JSON is UTF-8.
//!
//! A name that is UTF-8 is written as it is. Otherwise the member holds it escaped, as the text output
//! shows it, and a second member, with `_bytes` at the end of its name, holds the bytes in base64.
//! `docs/json.md` documents this; every verb that prints JSON writes its names with these types.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::escape::{display, from_display};
use crate::layer::report::{Report, Warning};
use crate::path::EntryPath;

/// One name, as a member of the object into which it is flattened.
#[derive(Debug)]
pub struct Name {
    member: &'static str,
    bytes: Option<Vec<u8>>,
}

impl Name {
    pub fn new(member: &'static str, bytes: impl Into<Vec<u8>>) -> Name {
        Name {
            member,
            bytes: Some(bytes.into()),
        }
    }

    /// No name: the member is null.
    pub fn null(member: &'static str) -> Name {
        Name {
            member,
            bytes: None,
        }
    }

    /// The path of a file.
    pub fn path(member: &'static str, path: &Path) -> Name {
        Name::new(member, path.as_os_str().as_bytes())
    }

    /// The path of a file, or null if there is none.
    pub fn path_or_null(member: &'static str, path: Option<&Path>) -> Name {
        path.map_or_else(|| Name::null(member), |path| Name::path(member, path))
    }

    /// A path in an image; its root is `.`.
    pub fn entry(member: &'static str, path: &EntryPath) -> Name {
        match path.is_root() {
            true => Name::new(member, "."),
            false => Name::new(member, path.as_bytes()),
        }
    }

    /// A name that the library escaped already.
    pub fn escaped(member: &'static str, text: &str) -> Name {
        Name::new(member, from_display(text).unwrap_or_else(|| text.into()))
    }

    /// What the member holds.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        self.bytes.as_deref().map(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.member, &self.text())?;
        let bytes = self.bytes.as_deref();
        if let Some(bytes) = bytes.filter(|bytes| std::str::from_utf8(bytes).is_err()) {
            map.serialize_entry(&in_bytes(self.member), &STANDARD.encode(bytes))?;
        }
        map.end()
    }
}

/// A list of names. If one of them is not UTF-8, the second member lists them all.
#[derive(Debug)]
pub struct Names {
    member: &'static str,
    names: Vec<Vec<u8>>,
}

impl Names {
    /// The paths of files.
    pub fn paths<'a>(member: &'static str, paths: impl Iterator<Item = &'a Path>) -> Names {
        let names = paths.map(|path| path.as_os_str().as_bytes().to_vec());
        Names {
            member,
            names: names.collect(),
        }
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<String> = self.names.iter().map(|name| text(name).into()).collect();
        let is_text = |name: &Vec<u8>| std::str::from_utf8(name).is_ok();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.member, &texts)?;
        if !self.names.iter().all(is_text) {
            let all: Vec<String> = self
                .names
                .iter()
                .map(|name| STANDARD.encode(name))
                .collect();
            map.serialize_entry(&in_bytes(self.member), &all)?;
        }
        map.end()
    }
}

/// The name as it is, or escaped if it is not UTF-8.
fn text(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) => text.into(),
        Err(_) => display(name).to_string().into(),
    }
}

fn in_bytes(member: &str) -> String {
    format!("{member}_bytes")
}

/// The last line of a verb that has a line for each thing it finds. Without it, a run that found nothing
/// could not be told from one that was cut short.
#[derive(Serialize)]
pub struct SummaryJson<T> {
    pub summary: T,
}

/// The counts and warnings of a layer.
#[derive(Serialize)]
pub struct ReportJson {
    entries: u64,
    bytes: u64,
    deletions: u64,
    opaque: u64,
    warnings: BTreeMap<Warning, WarningJson>,
}

#[derive(Serialize)]
struct WarningJson {
    count: u64,
    #[serde(flatten)]
    first: Name,
}

impl From<&Report> for ReportJson {
    fn from(report: &Report) -> ReportJson {
        let warnings = report.warnings.iter().map(|(&warning, occurrences)| {
            let json = WarningJson {
                count: occurrences.count,
                first: Name::escaped("first", &occurrences.first),
            };
            (warning, json)
        });
        ReportJson {
            entries: report.entries,
            bytes: report.bytes,
            deletions: report.deletions,
            opaque: report.opaque,
            warnings: warnings.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(value: impl Serialize) -> Value {
        serde_json::to_value(value).expect("an object")
    }

    #[test]
    fn a_name_in_utf_8_is_written_as_it_is() {
        let name = Name::new("path", "a\\b\u{e4}\n");
        assert_eq!(written(name), json!({ "path": "a\\b\u{e4}\n" }));
    }

    #[test]
    fn other_names_have_their_bytes_beside_them() {
        let name = Name::new("path", b"a\\\xff");
        let expected = json!({ "path": "a\\\\\\xff", "path_bytes": "YVz/" });
        assert_eq!(written(name), expected);
    }

    #[test]
    fn a_list_has_the_bytes_of_all_if_one_is_not_utf_8() {
        use std::ffi::OsStr;
        let paths = [&b"a"[..], b"\xff"].map(|bytes| Path::new(OsStr::from_bytes(bytes)));
        let list = |number: usize| written(Names::paths("them", paths.into_iter().take(number)));
        assert_eq!(list(1), json!({ "them": ["a"] }));
        let expected = json!({ "them": ["a", "\\xff"], "them_bytes": ["YQ==", "/w=="] });
        assert_eq!(list(2), expected);
    }

    #[test]
    fn an_escaped_name_is_the_same_as_its_bytes() {
        for bytes in [&b"a\\b"[..], b"\x1b[m", b"\xff", "\u{202e}".as_bytes()] {
            let escaped = Name::escaped("path", &display(bytes).to_string());
            assert_eq!(written(escaped), written(Name::new("path", bytes)));
        }
    }
}
