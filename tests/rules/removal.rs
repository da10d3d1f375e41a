//! Removing what an image made, also where it lets its owner neither look nor write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lowerdir::internals::Dir;
use tempfile::TempDir;

use crate::place::as_nobody;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

#[test]
fn a_tree_goes_whatever_its_directories_allow() {
    as_nobody(|| {
        for (outer, inner) in (0..64).map(|modes| (modes / 8, modes % 8)) {
            let place = TempDir::new().expect("a temporary directory");
            let top = place.path().join("outer");
            fs::create_dir_all(top.join("inner/deep")).expect("ours");
            fs::write(top.join("inner/file"), "").expect("ours");
            set_mode(&top.join("inner"), inner << 6);
            set_mode(&top, outer << 6);
            let removed = Dir::open(place.path()).and_then(|place| place.remove_children());
            let left = fs::read_dir(place.path()).expect("ours").count();
            assert!(
                removed.is_ok() && left == 0,
                "{outer}, {inner}: {removed:?}"
            );
        }
    });
}
