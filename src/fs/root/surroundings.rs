//! The caller's privilege, and the file system of a failed call, for [`Error::on`]. Looked up only after a
//! failure.

use std::os::fd::AsFd;

use rustix::thread::CapabilitySet;

use crate::error::{Error, FileSystem, Privilege, Surroundings};

/// `f_type` of `statfs(2)`.
const EXT: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const TMPFS: u64 = 0x0102_1994;
const OVERLAY: u64 = 0x794c_7630;
const NFS: u64 = 0x6969;

/// The caller's privilege.
pub fn privilege() -> Privilege {
    if !rustix::process::geteuid().is_root() {
        return Privilege::User;
    }
    match std::fs::read_to_string("/proc/self/uid_map") {
        Ok(map) if is_of_all_ids(&map) => Privilege::Root,
        Ok(_) => Privilege::RootOfNamespace,
        Err(_) => Privilege::Unknown,
    }
}

/// Whether this thread can see `trusted.*` xattrs: without `CAP_SYS_ADMIN` in the initial user namespace the
/// kernel hides them (`xattr(7)`).
pub fn sees_trusted_xattrs() -> bool {
    let capabilities = rustix::thread::capabilities(None);
    let is_admin = capabilities.is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    let map = std::fs::read_to_string("/proc/self/uid_map");
    is_admin && map.is_ok_and(|map| is_of_all_ids(&map))
}

/// Whether a map of ids is that of the initial user namespace: one line, from 0 to 0, of all ids.
fn is_of_all_ids(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The file system of a file or directory that was written to.
pub fn surroundings(at: impl AsFd) -> Surroundings {
    let told = rustix::fs::fstatfs(at);
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    let file_system = match told.map(|told| told.f_type as u64 & 0xffff_ffff) {
        Ok(EXT) => FileSystem::Ext,
        Ok(XFS) => FileSystem::Xfs,
        Ok(BTRFS) => FileSystem::Btrfs,
        Ok(TMPFS) => FileSystem::Tmpfs,
        Ok(OVERLAY) => FileSystem::Overlay,
        Ok(NFS) => FileSystem::Nfs,
        _ => FileSystem::Unknown,
    };
    Surroundings {
        privilege: privilege(),
        file_system,
    }
}

/// Adds to an error what it was about, for its hint.
pub fn told(error: Error, at: impl AsFd) -> Error {
    match error.raw_os_error() {
        Some(_) => error.on(surroundings(at)),
        None => error,
    }
}
