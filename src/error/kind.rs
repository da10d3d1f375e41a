//! `Kind`: who or what is at fault. The command line derives its exit status from it, the
//! snapshotter its gRPC code. Whoever makes an error chooses the kind; nothing else guesses it from
//! a text.

use nix::errno::Errno;

use super::Operation;

/// What sort of failure an [`Error`](super::Error) is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The image, or the tree that is read in its place, breaks a rule of the formats or one of ours.
    Refused,
    /// A digest, a size or a diff ID is not the expected one: of a blob, or of what a store holds.
    Mismatch,
    /// A configured limit was reached, or one of the kernel's.
    Limit,
    /// The request makes no sense, whatever the state of the system.
    Usage,
    /// What was asked for does not exist, or its name is ambiguous: an image, a tag, a platform, a
    /// layer.
    NotFound,
    /// Something on this machine is in the way: in use, changed meanwhile, not empty, unpacked with
    /// other options, a damaged record in a store.
    Conflict,
    /// This kernel, this file system or this version cannot do it; `ENOSYS` and `EOPNOTSUPP` of a system
    /// call are this, too.
    Unsupported,
    /// A registry, or the way to it.
    Network,
    /// A system call failed; see [`raw_os_error`](super::Error::raw_os_error).
    System,
    /// The caller asked for it: see [`Progress`](crate::progress::Progress).
    Cancelled,
    /// A bug of this library.
    Internal,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Refused,
        Kind::Mismatch,
        Kind::Limit,
        Kind::Usage,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Unsupported,
        Kind::Network,
        Kind::System,
        Kind::Cancelled,
        Kind::Internal,
    ];

    /// Its name in `--json` and in progress events.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Refused => "refused",
            Kind::Mismatch => "mismatch",
            Kind::Limit => "limit",
            Kind::Usage => "usage",
            Kind::NotFound => "not-found",
            Kind::Conflict => "conflict",
            Kind::Unsupported => "unsupported",
            Kind::Network => "network",
            Kind::System => "system",
            Kind::Cancelled => "cancelled",
            Kind::Internal => "internal",
        }
    }

    /// The exit status of a program that fails with it: 1, or 2 usage, 3 refused, 4 limit.
    pub fn exit_status(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Refused | Kind::Mismatch => 3,
            Kind::Limit => 4,
            Kind::NotFound
            | Kind::Conflict
            | Kind::Unsupported
            | Kind::Network
            | Kind::System
            | Kind::Cancelled
            | Kind::Internal => 1,
        }
    }
}

/// Of a system call that failed: what the kernel or the file system does not have is no failure of
/// the machine.
pub(super) fn of_system(operation: Operation, errno: i32) -> Kind {
    match (operation, Errno::from_raw(errno)) {
        (_, Errno::ENOSYS | Errno::EOPNOTSUPP) => Kind::Unsupported,
        // No such file system type.
        (Operation::Mount, Errno::ENODEV) => Kind::Unsupported,
        _ => Kind::System,
    }
}
