//! `InUse`: the layers that overlay mounts are made of, or that are mounted themselves, in every
//! mount namespace that a process of this system is in.
//!
//! A mount shows its layers as it was told them: by any path that leads to the store, or by a short
//! name. A chain ID in a path, or the start of one, is proof enough, be it that of the same layer in
//! another store, or of an image store that was exported. What
//! cannot be seen from here: layers that somebody else named by nothing but a descriptor,
//! namespaces that no process is in, mounts that were detached while they were in use, and
//! processes outside our own PID namespace.
//!
//! Source: `proc_pid_mountinfo(5)`; the kernel's `fs/overlayfs/params.c` for what a mount shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::overlay::overlays::{Table, tables, unescaped};
use crate::path;
use crate::store::{NAME_ELSEWHERE, Store};

/// The layers that the mounts of this system need, each with one of them.
#[derive(Debug)]
pub struct InUse(BTreeMap<Digest, String>);

impl InUse {
    /// Looks at all mounts.
    pub fn now(store: &Store) -> Result<InUse> {
        let mut all_mounts = BTreeSet::new();
        for table in tables().map_err(|error| Error::system("looking at /proc", error))? {
            all_mounts.extend(mounts(&table));
        }
        let layers = store.layers()?;
        let layers: BTreeMap<&[u8], &Digest> = layers
            .iter()
            .map(|layer| (layer.hex().as_bytes(), layer))
            .collect();
        let short_names = store.short_name_targets()?;
        let mut in_use = InUse(BTreeMap::new());
        for mount in all_mounts {
            let target = unescaped(&mount.target);
            let place = || format!("the mount on {}", path::display(&target));
            let digits = mount.shows.split(|byte| !byte.is_ascii_hexdigit());
            let by_id = digits.filter_map(|digits| begun_by(digits, &layers));
            let by_short_name = mount
                .relative_names()
                .filter_map(|name| short_names.get(name));
            for layer in by_id.chain(by_short_name) {
                in_use.0.entry(layer.clone()).or_insert_with(place);
            }
        }
        Ok(in_use)
    }

    /// The mount that needs a layer.
    pub fn of(&self, layer: &Digest) -> Option<&str> {
        self.0.get(layer).map(String::as_str)
    }
}

/// The layer whose chain ID begins with these digits, if they are enough of them to name one.
fn begun_by<'a>(digits: &[u8], layers: &BTreeMap<&[u8], &'a Digest>) -> Option<&'a Digest> {
    let (id, layer) = layers.range(digits..).next()?;
    (digits.len() >= NAME_ELSEWHERE && id.starts_with(digits)).then_some(*layer)
}

/// A line of a mount table, as far as it counts here.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Mount {
    target: Vec<u8>,
    is_overlay: bool,
    /// Of an overlay, an option that names lower layers; of any other mount, what is mounted of its
    /// file system, which may be a layer.
    shows: Vec<u8>,
}

impl Mount {
    /// The last parts of layers that were named from the directory of short names.
    fn relative_names(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.shows.split(|byte| *byte == b':');
        let relative = names.filter(|name| self.is_overlay && !name.starts_with(b"/"));
        relative.filter_map(|name| name.rsplit(|byte| *byte == b'/').next())
    }
}

fn mounts(table: &Table) -> Vec<Mount> {
    let mut found = Vec::new();
    for line in table.lines() {
        let is_overlay = line.file_system == b"overlay";
        let mut add = |shows: &[u8]| {
            let (target, shows) = (line.target.to_vec(), shows.to_vec());
            found.push(Mount {
                target,
                is_overlay,
                shows,
            });
        };
        if !is_overlay {
            add(line.root);
            continue;
        }
        for option in line.options.split(|byte| *byte == b',') {
            let keys = [&b"lowerdir="[..], b"lowerdir+=", b"datadir+="];
            if let Some(value) = keys.iter().find_map(|key| option.strip_prefix(*key)) {
                add(value);
            }
        }
    }
    found
}
