//! `Mount`: the mounts that containerd makes for a snapshot. Pure, except for one check of the kernel.
//!
//! They are those of containerd's own overlayfs snapshotter: a bind mount if there is only one directory,
//! otherwise an overlay, with options as in `mount(2)`, topmost directory first. Source: kernel
//! `Documentation/filesystems/overlayfs.rst`.

use std::path::{Path, PathBuf};

use crate::dialect::{Dialect, Namespace};

use super::snapshot::SnapshotKind;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// The file system, or `bind`.
    pub kind: String,
    /// A directory, or just a name.
    pub source: String,
    /// As in `mount(8)`.
    pub options: Vec<String>,
}

/// The directories of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotDirectories {
    /// Its upperdir.
    pub fs: PathBuf,
    /// Its workdir.
    pub work: PathBuf,
    /// Those of its parents, topmost first.
    pub lower: Vec<PathBuf>,
    /// Whether these may hold marks that only an overlay mount interprets: then even a single one is
    /// mounted as an overlay, above an empty directory.
    pub below: Option<PathBuf>,
}

/// The mounts of an active snapshot or a view. `options` are added to each overlay.
pub fn mounts(kind: SnapshotKind, place: &SnapshotDirectories, options: &[String]) -> Vec<Mount> {
    let is_active = kind == SnapshotKind::Active;
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

/// The options of each overlay mount. containerd mounts an upperdir in several places, which `index` would
/// refuse.
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
