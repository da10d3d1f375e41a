//! `Snapshot`: what is remembered of one. Pure; [`super::database`] keeps them.
//!
//! Source: containerd's `snapshots.Snapshotter`. A snapshot is made active (to be written to) or a
//! view (to be read); an active one becomes a committed one, on which others may be made.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

use super::failure::Failure;

/// Label names and values: a name and its value may have this many bytes together.
const LABEL_MAX: usize = 4096;

/// Of a snapshot, as its user sees them.
pub type Labels = BTreeMap<String, String>;

/// What may be done with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is read.
    View,
    /// It is written to, and may be committed.
    Active,
    /// It may be a parent, and changes no more.
    Committed,
}

impl Kind {
    /// As filters spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::View => "view",
            Kind::Active => "active",
            Kind::Committed => "committed",
        }
    }
}

/// What a snapshot takes of the disk, without its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Blocks that are allocated, in bytes.
    pub bytes: u64,
    /// Files of any type, directories among them.
    pub inodes: u64,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Names its directory, and its pin in the store; never given twice.
    pub id: u64,
    /// The key of an active one or a view, the name of a committed one: all of one space.
    pub name: String,
    /// The committed one that it stands on.
    pub parent: Option<String>,
    /// What may be done with it.
    pub kind: Kind,
    /// As they were given.
    pub labels: Labels,
    /// When it came to be what it is.
    pub created: SystemTime,
    /// When its labels were last changed.
    pub updated: SystemTime,
    /// What it takes, once that is known and changes no more.
    pub usage: Option<Usage>,
    /// The chain in the store that it and its parents show; `None` where it has a directory.
    pub chain: Option<Digest>,
}

impl Snapshot {
    /// Changes its labels: all of them if no field is named, else those that are.
    pub fn relabel(&mut self, labels: &Labels, fields: &[String]) -> Result<(), Failure> {
        if fields.is_empty() {
            self.labels = labels.clone();
        }
        for field in fields {
            match field.strip_prefix("labels.") {
                Some(name) => {
                    let value = labels.get(name).cloned().unwrap_or_default();
                    self.labels.insert(name.into(), value);
                }
                None if field == "labels" => self.labels = labels.clone(),
                None => {
                    let text = format!("field {field} of snapshot {} cannot change", self.name);
                    return Err(Failure::invalid(text));
                }
            }
        }
        self.labels = kept(std::mem::take(&mut self.labels))?;
        self.updated = SystemTime::now();
        Ok(())
    }
}

/// Labels as they are kept: an empty value means that there is none. Errors: one is too long.
pub fn kept(labels: Labels) -> Result<Labels, Failure> {
    for (name, value) in &labels {
        let bytes = name.len() + value.len();
        if bytes > LABEL_MAX {
            let start: String = name.chars().take(60).collect();
            let text = format!("label {start:?} has {bytes} bytes; the limit is {LABEL_MAX}");
            return Err(Failure::invalid(text));
        }
    }
    Ok(labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect())
}
