//! Looks at a real directory, and tells how it differs from what it should be.
//!
//! Everything is asked for twice where the kernel has two answers: a name that readdir gives and
//! lstat does not know is a ghost, and so is a name that only lstat knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use crate::model::{Item, Listing};
use crate::tarball::Kind;

/// What a directory holds, and what is wrong with it whatever it should hold.
#[derive(Default)]
pub struct Walk {
    pub listing: Listing,
    faults: Vec<String>,
    /// Of each inode that is no directory: how many names it says it has, and its paths.
    inodes: BTreeMap<(u64, u64), Names>,
}

/// How many names an inode says it has, and its paths.
type Names = (u64, Vec<Vec<u8>>);

impl Walk {
    /// Walks the tree at `root`. `names` are looked up in every directory in which readdir does
    /// not show them.
    pub fn new(root: &Path, names: &BTreeSet<Vec<u8>>) -> Walk {
        let mut walk = Walk::default();
        let mut todo = vec![Vec::new()];
        while let Some(path) = todo.pop() {
            match walk.look_at(root, &path) {
                Ok(Kind::Dir) => todo.extend(walk.children(root, &path, names)),
                Ok(_) => {}
                Err(error) => walk.fault(&path, &error.to_string()),
            }
        }
        walk.mark_links();
        walk
    }

    /// One line for each path that differs; `left` says what `self` is.
    pub fn compare(&self, left: &str, right: &str, expected: &Listing) -> Result<(), String> {
        let mut lines = self.faults.clone();
        let paths: BTreeSet<_> = self.listing.keys().chain(expected.keys()).collect();
        for path in paths {
            let (here, there) = (self.listing.get(path), expected.get(path));
            if here != there {
                let show = |item: Option<&Item>| match item {
                    Some(item) => format!("{item:?}"),
                    None => "nothing".to_owned(),
                };
                let shown = path.escape_ascii();
                lines.push(format!("./{shown}\n  {left}: {}", show(here)));
                lines.push(format!("  {right}: {}", show(there)));
            }
        }
        match lines.is_empty() {
            true => Ok(()),
            false => Err(format!("{left} is not {right}:\n{}", lines.join("\n"))),
        }
    }

    fn fault(&mut self, path: &[u8], what: &str) {
        let path = path.escape_ascii();
        self.faults.push(format!("./{path}: {what}"));
    }

    fn look_at(&mut self, root: &Path, path: &[u8]) -> io::Result<Kind> {
        let place = under(root, path);
        let found = fs::symlink_metadata(&place)?;
        let kind = kind_of(&place, &found)?;
        if kind != Kind::Dir {
            let inode = self.inodes.entry((found.dev(), found.ino())).or_default();
            inode.0 = found.nlink();
            inode.1.push(path.to_vec());
        }
        let mtime = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        let item = Item {
            kind: kind.clone(),
            mode: found.mode() & 0o7777,
            uid: found.uid().into(),
            gid: found.gid().into(),
            mtime,
            xattrs: xattrs_of(&place)?,
            links: None,
        };
        self.listing.insert(path.to_vec(), item);
        Ok(kind)
    }

    /// The paths of a directory's children.
    fn children(&mut self, root: &Path, path: &[u8], names: &BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(under(root, path)).and_then(Iterator::collect);
        let entries: Vec<DirEntry> = entries.unwrap_or_else(|error| {
            self.fault(path, &format!("readdir: {error}"));
            Vec::new()
        });
        let mut shown = BTreeSet::new();
        let mut children = Vec::new();
        for entry in entries {
            let name = entry.file_name().into_vec();
            let child = joined(path, &name);
            let (told, found) = (entry.file_type(), fs::symlink_metadata(under(root, &child)));
            match (told, found) {
                (_, Err(error)) => self.fault(&child, &format!("a ghost: lstat: {error}")),
                (Ok(told), Ok(found)) if told == found.file_type() => children.push(child.clone()),
                (told, _) => self.fault(&child, &format!("readdir calls it {told:?}")),
            }
            if !shown.insert(name) {
                self.fault(&child, "readdir shows it twice");
            }
        }
        for name in names.difference(&shown) {
            let child = joined(path, name);
            match fs::symlink_metadata(under(root, &child)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => self.fault(&child, &format!("readdir does not show it: {other:?}")),
            }
        }
        children
    }

    fn mark_links(&mut self) {
        for (count, mut paths) in std::mem::take(&mut self.inodes).into_values() {
            if count < paths.len() as u64 {
                let (says, has) = (count, paths.len());
                self.fault(
                    &paths[0],
                    &format!("st_nlink is {says} and it has {has} names"),
                );
            }
            paths.sort();
            for path in paths.iter().filter(|_| paths.len() > 1) {
                if let Some(item) = self.listing.get_mut(path) {
                    item.links = Some(paths[0].clone());
                }
            }
        }
    }
}

fn kind_of(place: &Path, found: &Metadata) -> io::Result<Kind> {
    let device = (major(found.rdev()), minor(found.rdev()));
    Ok(match found.file_type() {
        kind if kind.is_dir() => Kind::Dir,
        kind if kind.is_symlink() => {
            Kind::Symlink(fs::read_link(place)?.into_os_string().into_vec())
        }
        kind if kind.is_file() => {
            let content = fs::read(place)?;
            if content.len() as u64 != found.size() {
                return Err(io::Error::other("st_size is not the size of the content"));
            }
            Kind::File(content)
        }
        kind if kind.is_fifo() => Kind::Fifo,
        kind if kind.is_char_device() => Kind::Char(device.0, device.1),
        kind if kind.is_block_device() => Kind::Block(device.0, device.1),
        kind => return Err(io::Error::other(format!("an unknown type {kind:?}"))),
    })
}

/// Of the thing itself, were it a symlink.
fn xattrs_of(place: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut xattrs = BTreeMap::new();
    for name in xattr::list(place)? {
        let value = xattr::get(place, &name)?;
        let value = value.ok_or_else(|| {
            let name = name.display();
            io::Error::other(format!("xattr {name} is listed and cannot be read"))
        })?;
        xattrs.insert(name.into_vec(), value);
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        // A label that the machine gives to every file is not the image's.
        xattrs.remove(&b"security.selinux"[..]);
    }
    Ok(xattrs)
}

fn under(root: &Path, path: &[u8]) -> PathBuf {
    match path {
        b"" => root.to_owned(),
        path => root.join(OsStr::from_bytes(path)),
    }
}

fn joined(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match parent {
        b"" => name.to_vec(),
        _ => [parent, b"/", name].concat(),
    }
}
