//! `InUse`: the layers that overlay mounts are made of, in every mount namespace that a process of
//! this system is in.
//!
//! A mount shows its layers as it was told them: by any path that leads to the store, by a short
//! name, or by a descriptor that only the process had which mounted it. A chain ID in a path is
//! proof enough; what cannot be told counts as in use. What cannot be seen from here: namespaces
//! that no process is in, and processes outside our own PID namespace.
//!
//! Source: `proc_pid_mountinfo(5)`; the kernel's `fs/overlayfs/params.c` for what a mount shows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::path;
use crate::store::Store;

/// What the overlay mounts of this system need.
#[derive(Debug)]
pub struct InUse {
    layers: BTreeMap<Digest, String>,
    /// A mount whose layers cannot be told.
    unknown: Option<String>,
}

impl InUse {
    /// Looks at all mounts.
    pub fn now(store: &Store) -> Result<InUse> {
        let mut mounts = BTreeSet::new();
        for table in tables().map_err(|error| Error::system("looking at /proc", error))? {
            mounts.extend(overlays(&table));
        }
        let all = store.layers()?;
        let layers: BTreeMap<&[u8], &Digest> = all
            .iter()
            .map(|layer| (layer.hex().as_bytes(), layer))
            .collect();
        let short = store.short_name_targets()?;
        let mut in_use = InUse {
            layers: BTreeMap::new(),
            unknown: None,
        };
        for (target, option) in mounts {
            let place = || format!("the mount on {}", path::display(&target));
            for digits in option.split(|byte| !byte.is_ascii_hexdigit()) {
                if let Some(&layer) = layers.get(digits) {
                    in_use.layers.entry(layer.clone()).or_insert_with(place);
                }
            }
            for name in option.split(|byte| *byte == b':') {
                let is_absolute = name.starts_with(b"/");
                let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                if let Some(layer) = short.get(last).filter(|_| !is_absolute) {
                    in_use.layers.entry(layer.clone()).or_insert_with(place);
                }
                if name.starts_with(b"/proc/") {
                    in_use.unknown.get_or_insert_with(place);
                }
            }
        }
        Ok(in_use)
    }

    /// The mount that needs a layer, or may need it.
    pub fn of(&self, layer: &Digest) -> Option<&str> {
        let known = self.layers.get(layer).or(self.unknown.as_ref());
        known.map(String::as_str)
    }
}

/// The mount tables of all mount namespaces, each once.
fn tables() -> io::Result<Vec<Vec<u8>>> {
    let mut seen: HashSet<PathBuf> = HashSet::new();
    let mut tables = vec![std::fs::read("/proc/self/mountinfo")?];
    seen.extend(std::fs::read_link("/proc/self/ns/mnt"));
    for process in std::fs::read_dir("/proc")?.flatten() {
        let is_process = process.file_name().as_encoded_bytes()[0].is_ascii_digit();
        // A thread may be in a namespace of its own; any of them may be gone by now.
        let Ok(threads) = std::fs::read_dir(process.path().join("task")) else {
            continue;
        };
        for thread in threads.flatten().filter(|_| is_process) {
            // Of a process of somebody else, only root may ask.
            let Ok(namespace) = std::fs::read_link(thread.path().join("ns/mnt")) else {
                continue;
            };
            if !seen.contains(&namespace)
                && let Ok(table) = std::fs::read(thread.path().join("mountinfo"))
            {
                seen.insert(namespace);
                tables.push(table);
            }
        }
    }
    Ok(tables)
}

/// The overlay mounts in a table: where they are, and each option that names lower layers.
fn overlays(table: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let Some(separator) = fields.iter().position(|field| *field == b"-") else {
            continue;
        };
        let (Some(&target), Some(&b"overlay"), Some(&options)) = (
            fields.get(4),
            fields.get(separator + 1),
            fields.get(separator + 3),
        ) else {
            continue;
        };
        for option in options.split(|byte| *byte == b',') {
            let value = [&b"lowerdir="[..], b"lowerdir+=", b"datadir+="]
                .iter()
                .find_map(|key| option.strip_prefix(*key));
            found.extend(value.map(|value| (target.to_vec(), value.to_vec())));
        }
    }
    found
}
