//! The attributes of an inode: owner, mode, time, xattrs, device number.
//!
//! The archive reader makes a [`Meta`] from an entry, the merged view makes one from a directory on disk,
//! and the engine applies both the same way. Pure.

/// Owner, permissions, time and xattrs of one inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits.
    pub mode: u32,
    /// Never `u32::MAX`, which means "no change" to the kernel (rule M3).
    pub uid: u32,
    /// Never `u32::MAX`.
    pub gid: u32,
    /// Last modification.
    pub mtime: Time,
    /// Sorted by name; each name once.
    pub xattrs: Vec<Xattr>,
}

impl Meta {
    /// A directory without an entry in any layer: 0755 0:0, the epoch, no xattrs (rule I2).
    pub fn of_implied_directory() -> Meta {
        Meta {
            mode: 0o755,
            ..Meta::default()
        }
    }
}

/// A moment, in seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// May be negative.
    pub seconds: i64,
    /// 0 to 999,999,999, always counted forward.
    pub nanoseconds: u32,
}

/// An extended attribute, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// With its namespace: `user.x`.
    pub name: Box<[u8]>,
    /// Any bytes; may be empty.
    pub value: Box<[u8]>,
}

/// The xattrs of POSIX ACLs.
const ACLS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];
/// The xattr namespaces of Linux that an image may use.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// The prefix under which xfs shows its ACLs a second time.
pub(crate) const XFS_ACLS: &[u8] = b"trusted.SGI_ACL_";

/// Whether an xattr of this name is an SELinux label, which belongs to the system that a directory lies on
/// unless it is asked for (rule X2).
pub(crate) fn is_label(name: &[u8]) -> bool {
    name == b"security.selinux"
}

/// Whether an xattr of this name is a POSIX ACL.
pub(crate) fn is_acl_xattr(name: &[u8]) -> bool {
    ACLS.contains(&name)
}

/// Whether an xattr of this name belongs to another system (`com.apple.*`) or to one file system
/// (`btrfs.*`, `system.nfs4_acl`, `trusted.SGI_ACL_*`), and so is no part of a tree (rule X2). The name
/// alone decides, so that a layer is the same on every file system.
pub(crate) fn is_foreign_xattr(name: &[u8]) -> bool {
    let is_kept = NAMESPACES.iter().any(|prefix| name.starts_with(prefix)) || is_acl_xattr(name);
    !is_kept || name.starts_with(XFS_ACLS)
}

/// The number of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// At most 12 bits: Linux has no more.
    pub major: u32,
    /// At most 20 bits.
    pub minor: u32,
}

impl Device {
    /// Overlayfs reads a character device with this number as a deletion.
    pub const WHITEOUT: Device = Device { major: 0, minor: 0 };
}
