//! Who calls, and what file system a call went to: what [`Error::on`] takes. Looked up only once
//! something has failed.

use std::os::fd::AsFd;

use crate::error::{Error, FileSystem, Privilege, Surroundings};

/// `f_type` of `statfs(2)`.
const EXT: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const TMPFS: u64 = 0x0102_1994;
const OVERLAY: u64 = 0x794c_7630;
const NFS: u64 = 0x6969;

/// The caller's.
pub fn privilege() -> Privilege {
    if !rustix::process::geteuid().is_root() {
        return Privilege::User;
    }
    // One line, from 0 to 0, of all ids, where no user namespace is.
    match std::fs::read_to_string("/proc/self/uid_map") {
        Ok(map) if map.split_whitespace().eq(["0", "0", "4294967295"]) => Privilege::Root,
        Ok(_) => Privilege::RootOfNamespace,
        Err(_) => Privilege::Unknown,
    }
}

/// Of a file or directory that was written to.
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

/// Says of an error what it was about, for its hint.
pub fn told(error: Error, at: impl AsFd) -> Error {
    match error.raw_os_error() {
        Some(_) => error.on(surroundings(at)),
        None => error,
    }
}
