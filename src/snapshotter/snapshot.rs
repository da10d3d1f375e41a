//! `Snapshot`: the record of a snapshot. Pure; [`super::database`] stores them.
//!
//! Source: containerd's `snapshots.Snapshotter`. A snapshot is created active (writable) or as a view
//! (read-only). An active one can be committed, and others can then be created on it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

use super::failure::Failure;

/// The maximum length of a label's name and value together, in bytes.
const LABEL_MAX: usize = 4096;

/// The labels of a snapshot.
pub type Labels = BTreeMap<String, String>;

/// The kind of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// Read-only.
    View,
    /// Writable; may be committed.
    Active,
    /// Immutable; may be a parent.
    Committed,
}

impl SnapshotKind {
    /// Its name in filters.
    pub fn name(self) -> &'static str {
        match self {
            SnapshotKind::View => "view",
            SnapshotKind::Active => "active",
            SnapshotKind::Committed => "committed",
        }
    }
}

/// The disk usage of a snapshot, without its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Allocated blocks, in bytes.
    pub bytes: u64,
    /// Files of any type, including directories.
    pub inodes: u64,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The number in the names of its directory and its pin; never reused.
    pub id: u64,
    /// The key of an active snapshot or a view, or the name of a committed one. They share a namespace.
    pub name: String,
    /// The committed snapshot below it.
    pub parent: Option<String>,
    /// Its kind.
    pub kind: SnapshotKind,
    /// Its labels, as given.
    pub labels: Labels,
    /// When it was created, or committed.
    pub created: SystemTime,
    /// When its labels were last changed.
    pub updated: SystemTime,
    /// Its disk usage, once it is known and final.
    pub usage: Option<Usage>,
    /// The chain in the store that it and its parents consist of; `None` if it has a directory.
    pub chain: Option<Digest>,
}

impl Snapshot {
    /// Updates its labels: those that `fields` lists, or all if it is empty.
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

/// Labels as they are stored: one with an empty value is dropped. Errors: one is too long.
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
