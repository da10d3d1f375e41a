//! A layer directory as it is on disk, without a mount: what overlayfs would read there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lowerdir::report::{Report, Warning};
use support::directory;

/// One finished layer.
pub struct LayerDir {
    path: PathBuf,
    pub report: Report,
}

impl LayerDir {
    pub fn new(path: PathBuf, report: Report) -> LayerDir {
        LayerDir { path, report }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a name is; the name itself, where it is a symbolic link. The root is `.`.
    pub fn find(&self, name: impl AsRef<OsStr>) -> Option<Metadata> {
        fs::symlink_metadata(self.path.join(name.as_ref())).ok()
    }

    pub fn get(&self, name: impl AsRef<OsStr>) -> Metadata {
        let name = name.as_ref();
        self.find(name)
            .unwrap_or_else(|| panic!("no {}", name.display()))
    }

    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        self.find(name).is_some()
    }

    pub fn is_whiteout(&self, name: impl AsRef<OsStr>) -> bool {
        self.find(name)
            .is_some_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
    }

    pub fn is_dir(&self, name: impl AsRef<OsStr>) -> bool {
        self.find(name).is_some_and(|found| found.is_dir())
    }

    pub fn is_opaque(&self, name: impl AsRef<OsStr>) -> bool {
        self.xattr(name, "user.overlay.opaque").as_deref() == Some(b"y")
    }

    pub fn has_origin(&self, name: impl AsRef<OsStr>) -> bool {
        self.xattr(name, "user.overlay.origin").as_deref() == Some(b"")
    }

    pub fn xattr(&self, name: impl AsRef<OsStr>, xattr: &str) -> Option<Vec<u8>> {
        xattr::get(self.path.join(name.as_ref()), xattr).expect("xattrs can be read")
    }

    /// All xattrs, but for a label that the system gives to every file.
    pub fn xattrs(&self, name: impl AsRef<OsStr>) -> BTreeMap<String, Vec<u8>> {
        let path = self.path.join(name.as_ref());
        let names = xattr::list(&path).expect("xattrs can be listed");
        let is_of_layer = |name: &String| name != "security.selinux";
        names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(is_of_layer)
            .map(|name| (name.clone(), xattr::get(&path, &name).unwrap().unwrap()))
            .collect()
    }

    pub fn mode(&self, name: impl AsRef<OsStr>) -> u32 {
        self.get(name).mode() & 0o7777
    }

    /// Seconds and nanoseconds.
    pub fn mtime(&self, name: impl AsRef<OsStr>) -> (i64, i64) {
        let found = self.get(name);
        (found.mtime(), found.mtime_nsec())
    }

    pub fn read(&self, name: impl AsRef<OsStr>) -> Vec<u8> {
        fs::read(self.path.join(name.as_ref())).expect("it can be read")
    }

    pub fn link(&self, name: impl AsRef<OsStr>) -> Vec<u8> {
        let target = fs::read_link(self.path.join(name.as_ref())).expect("it is a link");
        target.as_os_str().as_bytes().to_vec()
    }

    pub fn same_inode(&self, one: &str, other: &str) -> bool {
        self.get(one).ino() == self.get(other).ino()
    }

    pub fn warnings(&self, warning: Warning) -> u64 {
        let occurrences = self.report.warnings.get(&warning);
        occurrences.map_or(0, |occurrences| occurrences.count)
    }

    /// The names in a directory, sorted, whiteouts among them.
    pub fn names(&self, name: impl AsRef<OsStr>) -> Vec<String> {
        directory::names(&self.path.join(name.as_ref()))
    }
}

/// Everything that two runs must agree on, one line for each name.
pub fn describe(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inodes = BTreeMap::new();
    let mut todo = vec![PathBuf::from(".")];
    while let Some(name) = todo.pop() {
        let path = root.join(&name);
        let found = fs::symlink_metadata(&path).expect("it was listed");
        // Inode numbers differ between runs; which names share one does not.
        let first = inodes.entry(found.ino()).or_insert_with(|| name.clone());
        let content = match found.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string(),
            kind if kind.is_file() => {
                let bytes = fs::read(&path).unwrap_or_else(|_| b"unreadable".to_vec());
                OsStr::from_bytes(&bytes).to_os_string()
            }
            _ => Default::default(),
        };
        lines.push(format!(
            "{} {:o} {}:{} {}.{:09} {:#x} {} {:?} {content:?}",
            name.display(),
            found.mode(),
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec(),
            found.rdev(),
            first.display(),
            LayerDir::new(root.into(), Report::default()).xattrs(&name),
        ));
        if found.is_dir() {
            let entries = fs::read_dir(&path).expect("directories can be read");
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            todo.extend(names.into_iter().rev().map(|child| name.join(child)));
        }
    }
    lines
}
