//! At the start: has the database, the directories and the pins agree, after whatever ended the last
//! run. The database is right: what it does not know of goes, and what it needs is asked after.

use std::collections::BTreeSet;

use crate::store::Pin;

use super::{Result, Snapshot, Snapshotter};

impl Snapshotter {
    pub(super) fn agree(&self) -> Result<()> {
        self.cleanup()?;
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
        let Some(layers) = self.layers.find(chain_id)? else {
            self.tell(&format!(
                "snapshot {} has lost its layers in the store",
                snapshot.name
            ));
            return Ok(());
        };
        let is_whole = |pin: Pin| pin.layers.len() == layers.len();
        match self.layers.store().pinned(&name).is_ok_and(is_whole) {
            true => Ok(()),
            false => Ok(self.layers.pin(&name, &snapshot.name, &layers, &hold)?),
        }
    }
}
