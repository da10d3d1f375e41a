//! Mounting a [`Stack`], and taking the mount down again.
//!
//! The command line and [`crate::engines::bundle`] call it. There are two ways: the mount API of Linux 5.2 with the option
//! `lowerdir+` of 6.7, where each layer is an option of its own (`configured`); and, where the
//! kernel or a seccomp filter denies it, `mount(2)` with one string for all (`classic`).
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

/// The source of our mounts in the mount table.
pub const SOURCE: &str = "lowerdir";
/// The source of the tmpfs that takes the changes of [`Upper::Tmpfs`].
const TMPFS_SOURCE: &str = "lowerdir-tmpfs";

/// Where changes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upper {
    /// There are none: the mount is read-only.
    None,
    /// Into a directory. Both are made if they are absent; an empty upperdir gets the owner, mode,
    /// time and xattrs of the image's root, which it stands for.
    Directories {
        /// Takes the changes.
        upperdir: PathBuf,
        /// An empty directory on the same file system.
        workdir: PathBuf,
    },
    /// Into memory: they are gone when the mount is.
    Tmpfs {
        /// The most that they may take, as tmpfs takes it (`512m`, `10%`); half of the memory if
        /// it is not given.
        size: Option<String>,
    },
}

/// Which calls made a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `fsopen(2)` and `lowerdir+`.
    Configured,
    /// `mount(2)`.
    Classic,
}

/// Mounts a stack on a directory. The store is where short names for its layers may be made, for
/// a `mount(2)` that takes only one page of options.
///
/// Errors: what the system says, with what the kernel wrote to the mount's own log
/// ([`Kind::System`](crate::Kind::System)); directories for changes that are in use, or that overlayfs
/// cannot use; options that mean nothing for such a mount ([`Kind::Usage`](crate::Kind::Usage)); too
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

/// Puts a mount on its target. The overlay keeps what it needs of a tmpfs, which is on the target itself.
fn attach(mounted: OwnedFd, mut prepared: Prepared, target: &Path) -> Result<()> {
    prepared.unmount_tmpfs();
    configured::attach(mounted, target)?;
    prepared.is_mounted();
    Ok(())
}

/// What an upperdir is to remember: which ids its files have.
fn record(stack: &Stack, shown: &IdMaps) -> UpperRecord {
    UpperRecord {
        ids: match shown.is_empty() {
            true => stack.ids().clone(),
            false => shown.clone(),
        },
        is_idmapped: !shown.is_empty(),
    }
}

/// An error of a mount whose directories for changes are to blame, if they are: the kernel says no more
/// than EINVAL, and mounts the same layers without them.
fn blamed(error: Error, stack: &Stack, upper: Option<Directories<'_>>) -> Error {
    let is_invalid = error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error());
    let works_without = || {
        let mounted = configured::mount(stack, None, &MountOptions::default());
        matches!(mounted, Ok(Some(_)))
    };
    match upper {
        Some(upper) if is_invalid && works_without() => error.hint(format!(
            "the layers can be mounted without changes: the kernel's log (dmesg) says what the file system \
             of {} lacks, or which option it refuses",
            upper.upperdir.display()
        )),
        _ if is_invalid => error.hint("the kernel's log (dmesg) may say more"),
        _ => error,
    }
}

/// The same with the ids of a user namespace: what an image says is user 0 is shown as the user of the
/// host that is 0 there. The layers in the store stay as they are, so that one copy serves every user
/// namespace; what is not in the store is shown as it is. Changes are written with the ids that are shown.
///
/// Errors: also, the store's file system or the kernel cannot do that, or the caller is not root of the
/// whole system ([`Kind::System`](crate::Kind::System)).
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
        return Err(Error::conflict(text).hint("use the copy of another --store"));
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
        let text = "the kernel, or a seccomp filter, has no `lowerdir+`, which --idmap takes";
        return Err(Error::unsupported(text).hint("Linux 6.7 has it"));
    };
    attach(mounted, prepared, &target)
}

/// Errors: what a mount would write to, or the mount itself, lies in a store: it would change or hide
/// layers that others share.
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

/// Makes the directories for changes, as [`mount`] does; they go again when this is dropped before it
/// is kept.
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

/// Takes down a mount that [`mount`] made, or one whose source is [`SOURCE`]. Errors: the target
/// is none, or in use.
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
            return Err(Error::conflict(what).hint("umount(8) takes down any mount"));
        }
        Some(_) => {}
    }
    take_down(target)?;
    // A classic mount has its tmpfs below it.
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

/// An error of a mount.
fn failed(doing: String, errno: rustix::io::Errno) -> Error {
    Error::system(doing, errno).during(Operation::Mount)
}
