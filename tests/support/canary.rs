//! A tree beside the one that is worked on, which nothing may change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// All that can be seen of a tree: modes, owners, counts of links, sizes, times of change and of the
/// last change of anything, xattrs, contents, targets.
#[derive(Debug, PartialEq, Eq)]
pub struct Canary(BTreeMap<PathBuf, Seen>);

/// Numbers, xattrs, and what it holds.
type Seen = (Vec<i64>, Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>);

impl Canary {
    /// Makes a tree with something of everything.
    pub fn build(root: &Path) {
        fs::create_dir_all(root.join("dir/deep")).expect("a directory");
        fs::write(root.join("file"), "untouched").expect("a file");
        fs::write(root.join("dir/file"), "untouched").expect("a file");
        fs::hard_link(root.join("file"), root.join("link")).expect("a link");
        symlink("file", root.join("symlink")).expect("a link");
        fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o640)).expect("ours");
        for name in ["file", "dir"] {
            xattr::set(root.join(name), "user.canary", b"sings").expect("xattrs");
        }
    }

    /// Looks at a tree.
    pub fn look(root: &Path) -> Canary {
        let mut seen = BTreeMap::new();
        let mut todo = vec![root.to_path_buf()];
        while let Some(path) = todo.pop() {
            let found = fs::symlink_metadata(&path).expect("it is there");
            let numbers = vec![
                found.mode().into(),
                found.uid().into(),
                found.gid().into(),
                found.nlink() as i64,
                found.size() as i64,
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ];
            let mut content = Vec::new();
            if found.is_file() {
                content = fs::read(&path).expect("it is readable");
            } else if found.is_symlink() {
                let target = fs::read_link(&path).expect("it is readable");
                content = target.into_os_string().into_encoded_bytes();
            } else if found.is_dir() {
                let entries = fs::read_dir(&path).expect("it is readable");
                todo.extend(entries.map(|entry| entry.expect("an entry").path()));
            }
            let xattrs = xattrs(&path);
            seen.insert(path, (numbers, xattrs, content));
        }
        Canary(seen)
    }
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let names = xattr::list(path).expect("it is readable");
    let mut xattrs: Vec<(Vec<u8>, Vec<u8>)> = names
        .map(|name| {
            let value = xattr::get(path, &name).expect("it is readable");
            (name.into_encoded_bytes(), value.unwrap_or_default())
        })
        .collect();
    xattrs.sort();
    xattrs
}
