//! Makes the database, the directories and the pins agree at the start, however the last run ended.
//!
//! A directory is removed if the database says that its snapshot was removed, or if it is empty: then its
//! creation was not committed. Any other directory without a record means that this is not the latest
//! database: it was lost, or an older one was restored. Then the program does not start. A pin without a
//! record is removed: `lowerdir unpack` can bring back the layers that it kept.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::Error;
use crate::store::Pin;

use super::directories::Directories;
use super::{Failure, Result, Snapshot, Snapshotter};

/// How many names an error shows.
const SHOWN: usize = 5;

/// Errors: there are directories of snapshots, but no database.
pub(super) fn check_unused(directories: &Directories, database: &Path) -> Result<()> {
    let names: Vec<String> = directories.names()?.into_keys().collect();
    if names.is_empty() {
        return Ok(());
    }
    let is_empty = if database.exists() { "empty" } else { "absent" };
    let text = format!(
        "the database {} is {is_empty}, but {} has directories of snapshots: {}",
        database.display(),
        directories.path().display(),
        listed(&names)
    );
    Err(Failure::lost(text).hint(format!(
        "restore it from a backup; to start afresh, move {} away",
        directories.path().display()
    )))
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Snapshotter {
    pub(super) fn agree(&self) -> Result<()> {
        let unexplained = self.remove_unused()?;
        if !unexplained.is_empty() {
            let path = self.directories.path().display();
            let text = format!(
                "the database has no record of {} in {path}",
                listed(&unexplained)
            );
            return Err(Failure::lost(text)
                .hint("restore the latest database, or move these directories away"));
        }
        let snapshots = self.database.all()?;
        self.release_pins(&snapshots)?;
        let there = self.directories.ids()?;
        for snapshot in &snapshots {
            match snapshot.chain {
                Some(_) => self.keep_pin(snapshot)?,
                None if there.contains(&snapshot.id) => {}
                None => self.log(&format!(
                    "snapshot {} has lost its directory",
                    snapshot.name
                )),
            }
        }
        Ok(())
    }

    /// Removes the directories of removed snapshots, and those that were never used; returns those without
    /// a record.
    pub(super) fn remove_unused(&self) -> Result<Vec<String>> {
        let (mut removed, mut unexplained) = (Vec::new(), Vec::new());
        // No directory is created meanwhile.
        self.database.change(|change| {
            let known: BTreeSet<u64> = change.all()?.iter().map(|one| one.id).collect();
            let forgotten = change.removed()?;
            for (name, id) in self.directories.names()? {
                if forgotten.contains(&id) {
                    removed.push(name);
                } else if name.contains('.') || !known.contains(&id) {
                    let is_empty = self.directories.remove_empty(&name);
                    if !is_empty.map_err(|error| Error::system("looking for directories", error))? {
                        unexplained.push(name);
                    }
                }
            }
            Ok(())
        })?;
        // Numbers are never reused.
        for name in &removed {
            self.directories.remove_name(name)?;
        }
        Ok(unexplained)
    }

    /// Removes the pins of snapshots that no longer exist.
    fn release_pins(&self, snapshots: &[Snapshot]) -> Result<()> {
        let known: BTreeSet<String> = snapshots.iter().map(|one| self.pin_name(one.id)).collect();
        for pin in self.layers.store().pin_names()? {
            if pin.starts_with(&self.pin_prefix) && !known.contains(&pin) {
                self.layers.unpin(&pin)?;
            }
        }
        Ok(())
    }

    /// Rewrites the pin of a snapshot if it is damaged or missing.
    fn keep_pin(&self, snapshot: &Snapshot) -> Result<()> {
        let Some(chain_id) = &snapshot.chain else {
            return Ok(());
        };
        let name = self.pin_name(snapshot.id);
        let hold = self.layers.hold()?;
        let layers = match self.layers.find(chain_id) {
            Ok(Some(layers)) => layers,
            Ok(None) => {
                let name = &snapshot.name;
                self.log(&format!("snapshot {name} has lost its layers in the store"));
                return Ok(());
            }
            // The other snapshots can still be used.
            Err(error) => {
                let why = Failure::from(error).line();
                self.log(&format!("snapshot {}: {why}", snapshot.name));
                return Ok(());
            }
        };
        let is_whole = |pin: Pin| pin.layers.len() == layers.len();
        match self.layers.store().pinned(&name).is_ok_and(is_whole) {
            true => Ok(()),
            false => Ok(self.layers.pin(&name, &snapshot.name, &layers, &hold)?),
        }
    }
}
