//! At the start: has the database, the directories and the pins agree, after whatever ended the last
//! run.
//!
//! A directory is removed if the database says that its snapshot was, or if nothing is in it: then its
//! making was not committed. Any other that no record explains means that the database is not the one that
//! was here: it is lost, or an older one was restored. Nothing is begun then. A pin that no
//! record explains keeps nothing that `lowerdir unpack` would not bring back, and goes.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::Error;
use crate::store::Pin;

use super::directories::Directories;
use super::{Failure, Result, Snapshot, Snapshotter};

/// Names that an error shows.
const SHOWN: usize = 5;

/// Errors: there is no database, but there are directories of snapshots.
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
                "the database knows nothing of {} in {path}",
                listed(&unexplained)
            );
            return Err(Failure::lost(text).hint(
                "restore the database that was last in use, or move these directories away",
            ));
        }
        let snapshots = self.database.all()?;
        self.release_pins(&snapshots)?;
        let there = self.directories.ids()?;
        for snapshot in &snapshots {
            match snapshot.chain {
                Some(_) => self.keep_pin(snapshot)?,
                None if there.contains(&snapshot.id) => {}
                None => self.tell(&format!(
                    "snapshot {} has lost its directory",
                    snapshot.name
                )),
            }
        }
        Ok(())
    }

    /// Removes the directories of removed snapshots, and those that were never used; returns those that
    /// no record explains.
    pub(super) fn remove_unused(&self) -> Result<Vec<String>> {
        let (mut removed, mut unexplained) = (Vec::new(), Vec::new());
        // While this is looked at, none is being made.
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
        // Numbers are never given twice.
        for name in &removed {
            self.directories.remove_name(name)?;
        }
        Ok(unexplained)
    }

    /// Takes out the pins of snapshots that are gone.
    fn release_pins(&self, snapshots: &[Snapshot]) -> Result<()> {
        let known: BTreeSet<String> = snapshots.iter().map(|one| self.pin_name(one.id)).collect();
        for pin in self.layers.store().pin_names()? {
            if pin.starts_with(&self.pin_prefix) && !known.contains(&pin) {
                self.layers.unpin(&pin)?;
            }
        }
        Ok(())
    }

    /// Writes the pin of a snapshot anew, if it is damaged or gone.
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
                self.tell(&format!("snapshot {name} has lost its layers in the store"));
                return Ok(());
            }
            // The others can be used.
            Err(error) => {
                let why = Failure::from(error).told();
                self.tell(&format!("snapshot {}: {why}", snapshot.name));
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
