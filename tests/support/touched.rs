//! Whether anything was written to a directory tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What each path below a directory is, and when it was changed.
pub fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, u64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let found = path.symlink_metadata().expect("it is there");
        if found.is_dir() {
            all.extend(snapshot(&path));
        }
        let what = (found.mode(), found.ctime(), found.ctime_nsec(), found.ino());
        all.insert(path, what);
    }
    all
}
