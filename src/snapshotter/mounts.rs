//! `Mount`: what containerd is told to mount for a snapshot. Pure, but for one look at the kernel.
//!
//! As containerd's own overlayfs snapshotter has it: a bind mount where there is but one directory,
//! else an overlay, its options in the words of `mount(2)`, the topmost directory first. Source:
//! kernel `Documentation/filesystems/overlayfs.rst`.

use std::path::{Path, PathBuf};

use crate::overlay::dialect::{Dialect, Namespace};

use super::snapshot::Kind;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The file system, or `bind`.
    pub kind: String,
    /// A directory, or a name for people.
    pub source: String,
    /// As `mount(8)` takes them.
    pub options: Vec<String>,
}

/// The directories of a snapshot.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its own, for what is written to it.
    pub fs: PathBuf,
    /// Its own workdir.
    pub work: PathBuf,
    /// Those of its parents, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Whether those may hold what only an overlay mount shows right: then even one of them is
    /// shown by an overlay, above a directory that is empty.
    pub below: Option<PathBuf>,
}

/// Mounts a snapshot that is active or a view. `options` go to each overlay.
pub fn mounts(kind: Kind, place: &Place, options: &[String]) -> Vec<Mount> {
    let is_active = kind == Kind::Active;
    match (place.lower.as_slice(), &place.below) {
        ([], _) => vec![bind(&place.fs, is_active)],
        ([only], None) if !is_active => vec![bind(only, false)],
        ([only], Some(below)) if !is_active => vec![overlay([only, below], options.to_vec())],
        (lower, _) => {
            let mut options = options.to_vec();
            if is_active {
                options.push(format!("workdir={}", place.work.display()));
                options.push(format!("upperdir={}", place.fs.display()));
            }
            vec![overlay(lower, options)]
        }
    }
}

/// What each overlay mount is told: containerd mounts one upperdir in several places, which `index`
/// would refuse.
pub fn usual_options(dialect: Dialect) -> Vec<String> {
    let mut options = Vec::new();
    if Path::new("/sys/module/overlay/parameters/index").exists() {
        options.push("index=off".into());
    }
    if dialect.namespace == Namespace::User {
        options.push("userxattr".into());
    }
    options
}

fn bind(directory: &Path, is_written: bool) -> Mount {
    let access = if is_written { "rw" } else { "ro" };
    Mount {
        kind: "bind".into(),
        source: directory.display().to_string(),
        options: vec![access.into(), "rbind".into()],
    }
}

fn overlay<P: AsRef<Path>>(lower: impl IntoIterator<Item = P>, mut options: Vec<String>) -> Mount {
    let names: Vec<String> = lower
        .into_iter()
        .map(|directory| directory.as_ref().display().to_string())
        .collect();
    options.push(format!("lowerdir={}", names.join(":")));
    Mount {
        kind: "overlay".into(),
        source: "overlay".into(),
        options,
    }
}
