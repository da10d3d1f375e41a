//! What only the kernel knows: whether a directory is the upperdir or workdir of a mount, or lies in one,
//! in whatever mount namespace, also of mounts that are on no directory any more.
//!
//! Overlayfs refuses to make a mount with `index=on` of what is in use as that. So one is made with the
//! directory as its layer and a tmpfs for changes that it will not have, and goes again: neither is ever on
//! any directory, and nothing is written into this one.
//! Source: the kernel's `fs/overlayfs/super.c`, `ovl_report_in_use` and `ovl_check_layer`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, mkdirat};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// Whether a directory is in use, if this kernel says so: Linux 6.15 does, to callers that may mount.
pub fn is_in_use(directory: &Path) -> Option<bool> {
    match try_mount(directory) {
        Ok(()) => Some(false),
        Err(Failure::InUse) => Some(true),
        Err(Failure::CannotTell) => None,
    }
}

enum Failure {
    InUse,
    CannotTell,
}

impl From<Errno> for Failure {
    fn from(_: Errno) -> Failure {
        Failure::CannotTell
    }
}

fn try_mount(directory: &Path) -> std::result::Result<(), Failure> {
    let layer = rustix::fs::openat(CWD, directory, super::DIRECTORY, Mode::empty())?;
    let changes = tmpfs()?;
    for name in ["upper", "work"] {
        mkdirat(&changes, name, Mode::RWXU)?;
    }
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let of = |directory: &OwnedFd| format!("/proc/self/fd/{}", directory.as_raw_fd());
    for (key, value) in [
        ("lowerdir", of(&layer)),
        ("upperdir", of(&changes) + "/upper"),
        ("workdir", of(&changes) + "/work"),
        ("index", "on".into()),
    ] {
        fsconfig_set_string(&overlay, key, value)?;
    }
    // In a user namespace the tmpfs has no other xattrs, and there is no index without any.
    fsconfig_set_flag(&overlay, "userxattr")?;
    match fsconfig_create(&overlay) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(Failure::InUse),
        Err(errno) => Err(errno.into()),
    }
}

/// On no directory: gone when it is closed.
fn tmpfs() -> Result<OwnedFd> {
    let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&tmpfs)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(&tmpfs, flags, MountAttrFlags::empty())
}
