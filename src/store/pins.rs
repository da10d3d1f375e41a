//! Pins: layers that something other than an image of the store needs, so that [`crate::store::gc`]
//! keeps them: snapshots of the module `snapshotter`. A pin lasts until it is removed.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fs::root::{Dir, is_absent};
use crate::path::EntryPath;

use super::{Store, StoreLock, Sync, read_json, sync_directory, write_json};

const PINS: &str = "pins";

/// The content of a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The chain IDs of the layers, topmost first.
    pub layers: Vec<Digest>,
    /// What needs them, as text.
    pub owner: String,
}

impl Store {
    /// Keeps layers until [`unpin`](Self::unpin). The caller has found them under the same lock. A name has
    /// letters, digits and `-`; a pin with the same name is replaced.
    pub fn pin(&self, name: &str, pin: &Pin, sync: Sync, _lock: &StoreLock) -> Result<()> {
        self.make_dir(PINS)?;
        let staging = self.stage()?;
        let file = file_name(name)?;
        let write = || -> io::Result<()> {
            let pins = self
                .directory
                .open_beneath(&EntryPath::parse(PINS.as_bytes())?)?;
            write_json(&staging.directory, &file, pin, sync)?;
            rustix::fs::renameat(&staging.directory, &*file, &pins, &*file)?;
            sync_directory(&pins, sync)?;
            sync_directory(&self.directory, sync)
        };
        write().map_err(|error| Error::system(format!("pinning layers as {name}"), error))
    }

    /// Removes a pin. No error if there is none.
    pub fn unpin(&self, name: &str) -> Result<()> {
        let file = file_name(name)?;
        let Some(pins) = self.find_pins()? else {
            return Ok(());
        };
        match pins.remove_file(file.as_bytes()) {
            Err(error) if !is_absent(&error) => {
                Err(Error::system(format!("removing pin {name}"), error))
            }
            _ => Ok(()),
        }
    }

    /// The names of all pins.
    pub fn pin_names(&self) -> Result<BTreeSet<String>> {
        let Some(pins) = self.find_pins()? else {
            return Ok(BTreeSet::new());
        };
        let names = pins.names();
        let names = names.map_err(|error| Error::system("listing the pins", error))?;
        let names = names.iter().map(|name| String::from_utf8_lossy(name));
        // What has another name is not ours.
        Ok(names
            .filter_map(|name| Some(name.strip_suffix(".json")?.to_string()))
            .collect())
    }

    /// A pin. Errors: it is damaged, or not there.
    pub fn pinned(&self, name: &str) -> Result<Pin> {
        let missing = || Error::not_found(format!("there is no pin {name}"));
        let pins = self.find_pins()?.ok_or_else(missing)?;
        let hint = "its snapshotter rewrites it when it starts; without one, remove the file";
        read_json(&pins, &file_name(name)?).map_err(|error| error.hint(hint))
    }

    fn find_pins(&self) -> Result<Option<Dir>> {
        self.directory
            .find_beneath(&EntryPath::parse(PINS.as_bytes())?)
            .map_err(|error| Error::system("opening the pins", error))
    }
}

fn file_name(name: &str) -> Result<String> {
    let is_clean = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    match !name.is_empty() && name.len() <= 200 && name.bytes().all(is_clean) {
        true => Ok(format!("{name}.json")),
        false => Err(Error::usage(format!("{name:?} is not a name for a pin"))),
    }
}
