//! Mounts a [`Stack`], and unmounts it.
//!
//! Called by the command line and [`crate::engines::bundle`]. There are two ways to mount: the mount API
//! of Linux 5.2 with the option `lowerdir+` of 6.7, where each layer is an option of its own
//! (`configured`); and, if the kernel lacks it or a seccomp filter denies it, `mount(2)` with one string
//! for all layers (`classic`).
//! Source: `fsopen(2)`, `fsconfig(2)`, `mount(2)`; kernel
//! `Documentation/filesystems/overlayfs.rst`.

mod claim;
mod classic;
mod configured;
mod idmap;
mod options;
pub mod stack;
mod upper;
mod words;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::error::{Error, Operation, Result};
use crate::ids::IdMaps;
use crate::mount::stack::Stack;
use crate::overlay::overlays::UpperRecord;
use crate::store::{Store, check_outside};

use claim::Claim;
use upper::{Directories, Like, Prepared};

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

/// Mounts a stack on a directory. Short names for its layers may be made in the store, for a `mount(2)`
/// whose options must fit one page.
///
/// Errors: the system's, with the kernel's message from the mount's own log
/// ([`Kind::System`](crate::Kind::System)); directories for changes that are in use, or that overlayfs
/// cannot use; options that do not apply to such a mount ([`Kind::Usage`](crate::Kind::Usage)); too
/// many layers for one page ([`Kind::Limit`](crate::Kind::Limit)).
///
/// ```no_run
/// use std::path::Path;
///
/// use lowerdir::overlay::dialect::Dialect;
/// use lowerdir::mount::{MountOptions, Upper, mount, umount};
/// use lowerdir::{Stack, Store};
///
/// let store = Store::open(Path::new("/var/lib/lowerdir"))?;
/// let directories = vec!["/layers/2".into(), "/layers/1".into()];
/// let stack = Stack::new(directories, store.empty_directories(), Dialect::default())?;
///
/// let target = Path::new("/mnt");
/// let options = MountOptions::new(["nosuid".parse()?, "xino=on".parse()?])?;
/// mount(&stack, target, &Upper::Tmpfs { size: None }, &options, Some(&store))?;
/// umount(target)?;
/// # Ok::<(), lowerdir::Error>(())
/// ```
pub fn mount(
    stack: &Stack,
    target: &Path,
    upper: &Upper,
    options: &MountOptions,
    store: Option<&Store>,
) -> Result<Method> {
    check_places(target, upper)?;
    options.check(stack, upper)?;
    let target = place(target)?;
    let ids = IdMaps::default();
    let record = record(stack, &ids);
    let claim = Claim {
        stack,
        target: Some(&target),
        record: &record,
    };
    let like = Like::root_of(stack, None, &ids);
    let prepared = upper::prepare(upper, like, &claim, &target)?;
    let directories = prepared.directories();
    let configured = configured::mount(stack, directories, options);
    let Some(mounted) = configured.map_err(|error| blamed(error, stack, directories))? else {
        let mounted = classic::mount(stack, directories, options, &target, store);
        mounted.map_err(|error| blamed(error, stack, directories))?;
        prepared.keep();
        return Ok(Method::Classic);
    };
    attach(mounted, prepared, &target)?;
    Ok(Method::Configured)
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

/// The same with the ids of a user namespace: the image's user 0 appears as the host's user that is 0 in
/// the namespace. The layers in the store are not changed, so one copy serves every user namespace;
/// directories outside the store are not mapped. Changes are written with the mapped ids.
///
/// Errors: also, the store's file system or the kernel does not support it, or the caller is not root on
/// the host ([`Kind::System`](crate::Kind::System)).
///
/// ```no_run
/// use std::path::Path;
/// use std::process::Command;
///
/// use lowerdir::ids::{IdMap, IdMaps};
/// use lowerdir::mount::{MountOptions, Upper, UserNamespace, mount_idmapped};
/// use lowerdir::{Image, Reference, Stack, Store, store::pipeline::stored_layers};
///
/// let image = Image::open(&Reference::parse("alpine.tar".as_ref())?, None)?;
/// let store = Store::open(Path::new("/var/lib/lowerdir"))?;
/// let stack = Stack::of_layers(&stored_layers(&image, &store)?, &store)?;
///
/// let map = IdMap::new(vec!["0:100000:65536".parse()?])?;
/// let ids = IdMaps { uids: map.clone(), gids: map };
/// // A program that calls `hold_user_namespace`.
/// let mut holder = Command::new("/usr/bin/lowerdir");
/// holder.arg("hold-user-namespace");
/// let namespace = UserNamespace::new(&ids, holder)?;
/// let (target, options) = (Path::new("/mnt"), MountOptions::default());
/// mount_idmapped(&stack, target, &Upper::None, &options, &store, &namespace)?;
/// # Ok::<(), lowerdir::Error>(())
/// ```
pub fn mount_idmapped(
    stack: &Stack,
    target: &Path,
    upper: &Upper,
    options: &MountOptions,
    store: &Store,
    namespace: &UserNamespace,
) -> Result<()> {
    options.check(stack, upper)?;
    if !stack.ids().is_empty() {
        let text = "the layers were unpacked with id maps: --idmap would map them twice";
        return Err(Error::conflict(text).hint("use a --store without id maps"));
    }
    check_places(target, upper)?;
    let target = place(target)?;
    let like = Like::root_of(stack, Some(store), namespace.ids());
    let record = record(stack, namespace.ids());
    let claim = Claim {
        stack,
        target: Some(&target),
        record: &record,
    };
    let prepared = upper::prepare(upper, like, &claim, &target)?;
    let directories = prepared.directories();
    let has_layers = |store: &&Path| {
        let mut layers = stack.directories().iter();
        layers.any(|layer| layer.starts_with(store))
    };
    let stores: Vec<&Path> = store.each().map(Store::path).filter(has_layers).collect();
    let mounted = idmap::in_mapped_stores(&stores, namespace, || {
        configured::mount(stack, directories, options)
    });
    let mounted = mounted.map_err(|error| blamed(error, stack, directories))?;
    let Some(mounted) = mounted else {
        let text = "--idmap needs the mount option `lowerdir+`, which this kernel or a seccomp filter denies";
        return Err(Error::unsupported(text).hint("Linux 6.7 has it"));
    };
    attach(mounted, prepared, &target)
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

/// Makes the directories for changes, as [`mount`] does. Dropped before [`Made::keep`], it removes them.
pub(crate) fn make_upper(upper: &Upper, stack: &Stack, ids: &IdMaps) -> Result<Made> {
    let mut made = Made::default();
    if let Upper::Directories { upperdir, workdir } = upper {
        let like = Like::root_of(stack, None, ids);
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

/// Unmounts what [`mount`] mounted, or any overlay whose source is [`SOURCE`]. Errors: the target is not
/// such a mount, or is in use.
pub fn umount(target: &Path) -> Result<()> {
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
