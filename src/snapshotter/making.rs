//! Creates snapshots: with a directory of their own, or from layers in the store.

use std::path::Path;

use crate::digest::Digest;
use crate::error::{Error, Kind};
use crate::ids::IdMaps;
use crate::mount::copy_attributes;
use crate::store::{StoreLock, StoredLayer};

use super::database::{NewSnapshot, Transaction};
use super::layers::chain_of;
use super::mounts::{SnapshotDirectories, mounts};
use super::{Failure, Labels, Mount, Result, Snapshot, SnapshotKind, Snapshotter};

impl Snapshotter {
    /// Creates a snapshot with a directory of its own.
    pub(super) fn create(
        &self,
        kind: SnapshotKind,
        key: &str,
        parent: Option<&str>,
        labels: &Labels,
    ) -> Result<Vec<Mount>> {
        self.database.change(|change| {
            let wanted = NewSnapshot {
                name: key,
                parent,
                kind,
                labels,
            };
            let snapshot = change.create(wanted)?;
            let line = change.line(key)?;
            let place = self.place(&snapshot, &line[1..])?;
            // Overlayfs takes the attributes of the root from the upperdir.
            let set_up = |upperdir: &Path| match place.lower.first() {
                Some(top) => copy_attributes(top, upperdir, self.dialect, &IdMaps::default()),
                None => Ok(()),
            };
            let is_active = kind == SnapshotKind::Active;
            self.directories.make(snapshot.id, is_active, set_up)?;
            Ok(mounts(kind, &place, &self.mount_options))
        })
    }

    /// The mounts of a snapshot on its ancestors, topmost first.
    pub(super) fn mounts_of(&self, snapshot: &Snapshot, line: &[Snapshot]) -> Result<Vec<Mount>> {
        let place = self.place(snapshot, line)?;
        Ok(mounts(snapshot.kind, &place, &self.mount_options))
    }

    fn place(&self, snapshot: &Snapshot, line: &[Snapshot]) -> Result<SnapshotDirectories> {
        let (mut lower, mut below) = (Vec::new(), None);
        for parent in line {
            let Some(chain_id) = &parent.chain else {
                lower.push(self.directories.fs(parent.id));
                continue;
            };
            // A snapshot of a chain includes everything below it.
            let layers = self.layers.directories(chain_id).map_err(|error| Failure {
                code: super::Code::FailedPrecondition,
                ..Failure::from(error)
            })?;
            lower.extend(layers);
            below = Some(self.layers.empty());
            break;
        }
        Ok(SnapshotDirectories {
            fs: self.directories.fs(snapshot.id),
            work: self.directories.work(snapshot.id),
            lower,
            below,
        })
    }

    /// Records a committed snapshot of layers in the store, under the name of their chain. Returns whether
    /// there is one now; if not, containerd unpacks the layer itself.
    pub(super) fn register(
        &self,
        target: &str,
        parent: Option<&str>,
        labels: &Labels,
    ) -> Result<bool> {
        let Ok(chain_id) = Digest::parse(target) else {
            return Ok(false);
        };
        let line = match parent {
            Some(parent) => self.database.line(parent)?,
            None => Vec::new(),
        };
        let hold = self.layers.hold()?;
        let Some(layers) = self.found_or_made(&chain_id, labels, &line, &hold)? else {
            return Ok(false);
        };
        if !stands_on(&layers[0], line.first()) {
            self.log(&format!(
                "{target} is requested on a parent other than its own"
            ));
            return Ok(false);
        }
        self.database.change(|change| {
            let name = match free_name(change, target, parent, &chain_id)? {
                Name::Free(name) => name,
                Name::Ours => return Ok(true),
            };
            let wanted = NewSnapshot {
                name: &name,
                parent,
                kind: SnapshotKind::Committed,
                labels,
            };
            let snapshot = change.create(wanted)?;
            let pin = self.pin_name(snapshot.id);
            self.layers.pin(&pin, &name, &layers, &hold)?;
            let chain = Some(chain_id.clone());
            change.put(&Snapshot { chain, ..snapshot })?;
            Ok(true)
        })
    }

    fn found_or_made(
        &self,
        chain_id: &Digest,
        labels: &Labels,
        line: &[Snapshot],
        hold: &StoreLock,
    ) -> Result<Option<Vec<StoredLayer>>> {
        if let Some(layers) = self.layers.find(chain_id)? {
            return Ok(Some(layers));
        }
        match self.layers.make(chain_id, labels, line, hold) {
            Ok(true) => Ok(self.layers.find(chain_id)?),
            Ok(false) => Ok(None),
            Err(error) if is_of_the_image(&error) => {
                let why = Failure::from(error).line();
                self.log(&format!("{why}: left to containerd"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether containerd may unpack a layer that this engine refuses, such as an encrypted one.
fn is_of_the_image(error: &Error) -> bool {
    use Kind::{Limit, NotFound, Refused};
    matches!(error.kind(), Refused | Limit | NotFound)
}

/// Whether a layer belongs on top of a snapshot, as far as that is known.
fn stands_on(layer: &StoredLayer, parent: Option<&Snapshot>) -> bool {
    match (parent, &layer.record.parent) {
        (None, below) => below.is_none(),
        (Some(_), None) => false,
        (Some(parent), Some(below)) => {
            chain_of(parent).is_none_or(|chain_id| chain_id.to_string() == *below)
        }
    }
}

enum Name {
    /// No snapshot has it.
    Free(String),
    /// The requested snapshot exists.
    Ours,
}

/// The chain ID itself, unless a snapshot on another parent has that name, because several namespaces of
/// containerd unpacked the layers below separately. containerd looks a snapshot up by label and parent,
/// and accepts any name.
fn free_name(
    change: &Transaction<'_>,
    target: &str,
    parent: Option<&str>,
    chain_id: &Digest,
) -> Result<Name> {
    let second = format!("{target} on {}", parent.unwrap_or("nothing"));
    for name in [target, &second] {
        match change.find(name)? {
            None => return Ok(Name::Free(name.into())),
            Some(there)
                if there.parent.as_deref() == parent && there.chain.as_ref() == Some(chain_id) =>
            {
                return Ok(Name::Ours);
            }
            Some(_) => {}
        }
    }
    Err(Failure::exists(format!(
        "snapshot {second} exists, and is a different one"
    )))
}
