//! A directory tree as it is, to be compared with another.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Verdict;
use crate::oci::sha256;

/// Every path below a directory, with what it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, String>);

impl Snapshot {
    /// Of a directory; nothing if there is none.
    pub fn of(directory: &Path) -> Snapshot {
        let mut snapshot = Snapshot(BTreeMap::new());
        if directory.exists() {
            snapshot.add(directory, Path::new(""));
        }
        snapshot
    }

    fn add(&mut self, top: &Path, path: &Path) {
        let full = top.join(path);
        let is = fs::symlink_metadata(&full).expect("it is there");
        let (mode, uid, gid, device) = (is.mode(), is.uid(), is.gid(), is.rdev());
        let mut text = format!("{mode:o} {uid}:{gid} {device}");
        // Only what an image describes has a time of its own.
        if path.iter().any(|part| part == "fs") {
            text += &format!(" {}.{}", is.mtime(), is.mtime_nsec());
        }
        if is.is_symlink() {
            text += &format!(" -> {:?}", fs::read_link(&full).expect("a link"));
        } else if is.is_file() {
            text += &format!(" {}", sha256(fs::read(&full).expect("a file")));
        }
        for name in xattr::list(&full).expect("its xattrs") {
            let value = xattr::get(&full, &name).expect("an xattr");
            text += &format!(" {name:?}={value:?}");
        }
        self.0.insert(path.into(), text);
        if is.is_dir() {
            for entry in fs::read_dir(&full).expect("a directory") {
                self.add(top, &path.join(entry.expect("a name").file_name()));
            }
        }
    }

    /// What a store is for, the images and layers in it; and whatever lies beside the store.
    pub fn of_place(place: &Path) -> Snapshot {
        let mut snapshot = Snapshot::of(place);
        snapshot
            .0
            .retain(|path, _| match path.strip_prefix("store") {
                Ok(inside) => inside.starts_with("layers") || inside.starts_with("images"),
                Err(_) => path.iter().next().is_some(),
            });
        snapshot
    }

    /// Only what has this path, or is below it.
    pub fn part(&self, path: &str) -> Snapshot {
        let mut part = self.0.clone();
        part.retain(|there, _| there.starts_with(path));
        Snapshot(part)
    }

    pub fn same(&self, expected: &Snapshot) -> Verdict {
        let paths = self.0.keys().chain(expected.0.keys());
        let differs = |path: &&PathBuf| self.0.get(*path) != expected.0.get(*path);
        match paths.into_iter().find(differs) {
            None => Ok(()),
            Some(path) => Err(format!(
                "{}: {:?}, not {:?}",
                path.display(),
                self.0.get(path),
                expected.0.get(path)
            )),
        }
    }
}
