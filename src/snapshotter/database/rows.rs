//! Snapshots as rows of a table: by name, as JSON. Only [`super`] calls it.

use redb::ReadableTable;

use super::super::failure::Failure;
use super::super::snapshot::Snapshot;

/// One of a name, if there is one.
pub fn find(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<Snapshot>, Failure> {
    let text = table.get(name).map_err(Failure::database)?;
    text.map(|text| snapshot(text.value())).transpose()
}

/// One of a name. Errors: there is none.
pub fn existing(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Snapshot, Failure> {
    let found = find(table, name)?;
    found.ok_or_else(|| Failure::not_found(format!("snapshot {name} does not exist")))
}

/// All of them, by name.
pub fn all(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<Snapshot>, Failure> {
    let rows = table.iter().map_err(Failure::database)?;
    rows.map(|row| snapshot(row.map_err(Failure::database)?.1.value()))
        .collect()
}

/// One, and those that it stands on, the topmost first.
pub fn line(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Vec<Snapshot>, Failure> {
    let mut line = vec![existing(table, name)?];
    while let Some(parent) = &line[line.len() - 1].parent {
        line.push(existing(table, parent)?);
    }
    Ok(line)
}

fn snapshot(text: &[u8]) -> Result<Snapshot, Failure> {
    serde_json::from_slice(text).map_err(|error| {
        Failure::lost(format!(
            "a snapshot in the database cannot be read: {error}"
        ))
    })
}
