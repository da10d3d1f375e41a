//! One image, built with buildah in four steps, and the tree that its container shows after each.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use crate::model::{Listing, Model};
use crate::walk::Walk;

use super::workshop::{Input, Workshop};

/// The name of the image after each step.
pub const NAMES: [&str; 4] = [
    "example.com/one:v1",
    "example.com/two:v1",
    "example.com/three:v1",
    "example.com/it:v1",
];
/// The name of the last.
pub const NAME: &str = NAMES[3];

const STEPS: [fn(&Path) -> io::Result<()>; 4] = [fill, delete, exchange, bring_back];
/// `cap_net_raw+ep` as `setcap` writes it.
const CAPABILITY: &[u8] =
    b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

/// What the image is, whatever form it has.
pub struct Image {
    /// The tree after each step.
    pub trees: Vec<Listing>,
    /// Every name that was there after some step.
    names: BTreeSet<Vec<u8>>,
}

impl Image {
    /// Builds it in the workshop's storage.
    pub fn build(shop: &Workshop) -> Image {
        let mut trees = Vec::new();
        for (number, step) in STEPS.iter().enumerate() {
            let from = number
                .checked_sub(1)
                .map_or("scratch", |below| NAMES[below]);
            let container = shop.run(&["buildah", "from", "--quiet", "--pull-never", from]);
            let root = PathBuf::from(shop.run(&["buildah", "mount", &container]));
            step(&root).expect("a container that can be written to");
            settle(&root, (number as i64 + 1) * 1000).expect("times");
            trees.push(shown(&root));
            let commit = ["buildah", "commit", "--quiet", "--rm", &container];
            shop.run(&[&commit[..], &[NAMES[number]]].concat());
        }
        let paths = trees.iter().flat_map(Listing::keys);
        let names = paths.flat_map(|path| path.split(|&byte| byte == b'/'));
        let names = names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
        Image {
            names: names.collect(),
            trees,
        }
    }

    /// A reference to the whole image mounts as its container was, from as many layers.
    pub fn is(&self, shop: &Workshop, reference: &str, input: Input) {
        self.is_after(STEPS.len(), shop, reference, input);
    }

    /// The same for the image of the first steps.
    pub fn is_after(&self, steps: usize, shop: &Workshop, reference: &str, input: Input) {
        let tree = &self.trees[steps - 1];
        let layers = shop.mounts_as(reference, input, tree, &self.names);
        assert_eq!(layers.len(), steps, "the layers of {reference}");
    }
}

/// What a container shows. Layers do not tell about the root directory, which is therefore what a
/// root without an entry is.
fn shown(root: &Path) -> Listing {
    let mut tree = Walk::new(root, &BTreeSet::new()).listing;
    tree.extend(Model::new().listing());
    tree
}

fn fill(root: &Path) -> io::Result<()> {
    for directory in [
        "etc/old",
        "opt/again/sub",
        "usr/bin",
        "srv/data",
        "var/kind",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    let long = "long".repeat(40);
    let big = "a line that is there quite often\n".repeat(20_000);
    for (file, content, mode) in [
        ("etc/passwd", "root:x:0:0", 0o644),
        ("etc/shadow", "secret", 0o600),
        ("etc/old/a", "a", 0o644),
        ("opt/again/one", "one", 0o644),
        ("opt/again/sub/two", "two", 0o644),
        ("usr/bin/su", "su", 0o4755),
        ("usr/bin/ping", "ping", 0o755),
        ("usr/bin/tool", "tool", 0o755),
        ("srv/data/big", &big, 0o640),
        ("srv/data/ünïcode", "", 0o644),
        (&format!("srv/{long}"), "long", 0o644),
        ("var/kind/now", "a directory later", 0o644),
    ] {
        write(&root.join(file), content, mode)?;
    }
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/alias"))?;
    symlink("passwd", root.join("etc/link"))?;
    symlink("/nowhere", root.join("var/dangling"))?;
    let fifo = (FileType::Fifo, Mode::from_raw_mode(0o622));
    mknodat(CWD, root.join("var/fifo"), fifo.0, fifo.1, 0)?;
    chown(root.join("srv/data"), Some(1000), Some(1001))?;
    fs::set_permissions(root.join("srv/data"), Permissions::from_mode(0o2770))?;
    fs::set_permissions(root.join("var"), Permissions::from_mode(0o1777))?;
    xattr::set(root.join("etc/passwd"), "user.color", b"blue")?;
    xattr::set(root.join("usr/bin/ping"), "security.capability", CAPABILITY)
}

fn delete(root: &Path) -> io::Result<()> {
    fs::remove_file(root.join("etc/shadow"))?;
    fs::remove_file(root.join("usr/bin/alias"))?;
    fs::remove_dir_all(root.join("etc/old"))?;
    fs::remove_dir_all(root.join("opt/again"))?;
    fs::create_dir(root.join("opt/again"))?;
    write(&root.join("opt/again/three"), "three", 0o644)
}

fn exchange(root: &Path) -> io::Result<()> {
    fs::remove_file(root.join("var/kind/now"))?;
    fs::create_dir(root.join("var/kind/now"))?;
    write(&root.join("var/kind/now/in"), "in", 0o644)?;
    fs::remove_file(root.join("etc/link"))?;
    write(&root.join("etc/link"), "a file", 0o644)?;
    fs::hard_link(root.join("etc/link"), root.join("srv/link"))?;
    fs::remove_dir_all(root.join("opt/again"))?;
    symlink("../etc", root.join("opt/again"))?;
    chown(root.join("srv/data/big"), Some(7), Some(100_000))
}

fn bring_back(root: &Path) -> io::Result<()> {
    fs::create_dir(root.join("etc/old"))?;
    write(&root.join("etc/old/b"), "b", 0o600)?;
    fs::remove_file(root.join("var/kind/now/in"))?;
    fs::remove_file(root.join("opt/again"))?;
    fs::create_dir(root.join("opt/again"))?;
    write(&root.join("opt/again/one"), "another", 0o644)
}

pub fn write(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Layers tell whole seconds: what has a time of today gets this one.
pub fn settle(path: &Path, seconds: i64) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            settle(&entry?.path(), seconds)?;
        }
    }
    if found.mtime() > 1_000_000_000 {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
