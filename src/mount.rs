//! Mounts a [`Stack`], and unmounts it.
//!
//! Called by the command line and [`crate::engines::bundle`]. There are two ways to mount: the mount API
//! of Linux 5.2 with the option `lowerdir+` of 6.7, where each layer is an option of its own
//! (`configured`); and, if the kernel lacks it or a seccomp filter denies it, `mount(2)` with one string
//! for all layers (`classic`).
//! Source: `fsopen(2)`, `fsconfig(2)`, `mount(2)`; kernel
//! `Documentation/filesystems/overlayfs.rst`.

mod builder;
mod claim;
mod classic;
mod configured;
mod idmap;
mod options;
mod upper;
mod words;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::error::{Error, Operation, Result};
use crate::ids::IdMaps;
use crate::overlay::overlays::UpperRecord;
use crate::store::check_outside;
use crate::store::stack::Stack;

use claim::Claim;
use upper::{Directories, Like, Prepared};

pub use builder::MountBuilder;
pub use idmap::{UserNamespace, hold_user_namespace};
pub use options::{MountOption, MountOptions};
pub(crate) use upper::Made;
pub use words::Words;
pub(crate) use words::quoted;

#[cfg(feature = "containerd")]
pub(crate) use upper::copy_attributes;

/// The source of lowerdir's mounts in the mount table.
pub const SOURCE: &str = "lowerdir";
/// The source of the tmpfs of [`Upper::Tmpfs`] in the mount table.
const TMPFS_SOURCE: &str = "lowerdir-tmpfs";

/// Where changes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upper {
    /// Nowhere: the mount is read-only.
    None,
    /// To a directory. Both directories are created if needed. An empty upperdir gets the owner, mode,
    /// time and xattrs of the image's root, because it is the root of the mount.
    Directories {
        /// The directory for changes.
        upperdir: PathBuf,
        /// An empty directory on the same file system.
        workdir: PathBuf,
    },
    /// To memory: changes are lost with the mount.
    Tmpfs {
        /// The most space that they may take, as an option of tmpfs (`512m`, `10%`); by default half of
        /// the memory.
        size: Option<String>,
    },
}

/// The system calls that made a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `fsopen(2)` and `lowerdir+`.
    Configured,
    /// `mount(2)`.
    Classic,
}

/// Attaches a mount to its target. A tmpfs on the target is first unmounted: the overlay keeps it alive.
fn attach(mounted: OwnedFd, mut prepared: Prepared, target: &Path) -> Result<()> {
    prepared.unmount_tmpfs();
    configured::attach(mounted, target)?;
    prepared.is_mounted();
    Ok(())
}

/// The record to leave in an upperdir: the id maps of its files.
fn record(stack: &Stack, shown: &IdMaps) -> UpperRecord {
    UpperRecord {
        ids: match shown.is_empty() {
            true => stack.ids().clone(),
            false => shown.clone(),
        },
        is_idmapped: !shown.is_empty(),
    }
}

/// Adds a hint about the directories for changes if they are the cause: the kernel's error is a bare
/// EINVAL, and the same layers can be mounted without them.
fn blamed(error: Error, stack: &Stack, upper: Option<Directories<'_>>) -> Error {
    let is_invalid = error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error());
    let works_without = || {
        let mounted = configured::mount(stack, None, &MountOptions::default());
        matches!(mounted, Ok(Some(_)))
    };
    match upper {
        Some(upper) if is_invalid && works_without() => error.hint(format!(
            "the layers can be mounted read-only: the kernel's log (dmesg) says what the file system of {} \
             lacks, or which option it refuses",
            upper.upperdir.display()
        )),
        _ if is_invalid => error.hint("the kernel's log (dmesg) may say more"),
        _ => error,
    }
}

/// Errors: the target or a directory for changes lies in a store, where the mount would hide or change
/// shared layers.
pub fn check_places(target: &Path, upper: &Upper) -> Result<()> {
    check_outside(target, "the mount")?;
    let Upper::Directories { upperdir, workdir } = upper else {
        return Ok(());
    };
    check_outside(upperdir, "the upperdir")?;
    check_outside(workdir, "the workdir")
}

fn place(target: &Path) -> Result<PathBuf> {
    target.canonicalize().map_err(|error| {
        Error::system(format!("opening {}", target.display()), error).during(Operation::OpenTarget)
    })
}

/// Makes the directories for changes, as [`MountBuilder`] does. Dropped before [`Made::keep`], it removes
/// them.
pub(crate) fn make_upper(upper: &Upper, stack: &Stack, ids: &IdMaps) -> Result<Made> {
    let mut made = Made::default();
    if let Upper::Directories { upperdir, workdir } = upper {
        let like = Like::root_of(stack, &[], ids);
        let record = record(stack, ids);
        let claim = Claim {
            stack,
            target: None,
            record: &record,
        };
        let directories = Directories { upperdir, workdir };
        upper::claim_directories(directories, like, &claim, &mut made)?;
        made.unlock();
    }
    Ok(made)
}

/// Unmounts what [`MountBuilder`] mounted, or any overlay whose source is [`SOURCE`]. Errors: the target
/// is not such a mount, or is in use.
pub fn umount(target: impl AsRef<Path>) -> Result<()> {
    let target = target.as_ref();
    let shown = target.display();
    let target = &target
        .canonicalize()
        .map_err(|error| Error::system(format!("looking at {shown}"), error))?;
    let entry = crate::fs::table::at(target)?;

    match entry {
        None => return Err(Error::not_found(format!("nothing is mounted on {shown}"))),
        Some(entry) if entry.file_system != "overlay" => {
            let kind = entry.file_system;
            let what = format!("{shown} is not an overlay mount, but {kind}");
            return Err(Error::conflict(what));
        }
        Some(entry) if entry.source != SOURCE => {
            let what = format!("{shown} is an overlay mount that lowerdir did not make");
            return Err(Error::conflict(what).hint("use umount(8)"));
        }
        Some(_) => {}
    }
    take_down(target)?;
    // A classic mount has its tmpfs underneath.
    match crate::fs::table::at(target)? {
        Some(below) if below.source == TMPFS_SOURCE => take_down(target),
        _ => Ok(()),
    }
}

fn take_down(target: &Path) -> Result<()> {
    umount2(target, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| {
        let doing = format!("unmounting {}", target.display());
        Error::system(doing, std::io::Error::from(errno)).during(Operation::Unmount)
    })
}

/// A system error while mounting.
fn failed(doing: String, errno: rustix::io::Errno) -> Error {
    Error::system(doing, errno).during(Operation::Mount)
}
