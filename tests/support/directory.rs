//! Temporary directories in which tests unpack, and what is in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

/// A temporary directory in memory, if there is a place that keeps xattrs, since some disks make files
/// slowly after many were removed.
pub fn in_memory() -> TempDir {
    let in_memory = TempDir::new_in("/dev/shm").ok();
    let keeps_xattrs = |place: &TempDir| xattr::set(place.path(), "user.probe", b"1").is_ok();
    let in_memory = in_memory.filter(keeps_xattrs);
    in_memory.unwrap_or_else(|| TempDir::new().expect("a temporary directory"))
}

/// Gives a tree the rights that it takes to remove it: layers may hold directories that their owner
/// cannot write in.
pub fn make_removable(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_removable(&entry.path());
        }
    }
}

/// The names in a directory, sorted.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory);
    let mut names: Vec<String> = entries
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
