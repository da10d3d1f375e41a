//! The table, row by row.

use super::*;

/// Each case that a row is written for gets its hint, and no row before it takes it away.
#[test]
fn every_row_is_reached() {
    for row in ALWAYS.iter().chain(ROWS) {
        let operations = match row.operations {
            [] => &[Operation::Other, Operation::Create],
            some => some,
        };
        let errnos = match row.errnos {
            [] => &[EXDEV, ENOTDIR],
            some => some,
        };
        let at = Surroundings {
            privilege: row.privilege.unwrap_or(Privilege::User),
            file_system: row.file_system.unwrap_or_default(),
        };
        let mut reached = 0;
        for &operation in operations {
            for &errno in errnos {
                let found = hint(operation, errno as i32, at);
                reached += usize::from(found == Some(row.hint));
            }
        }
        assert!(reached > 0, "nothing gets {:?}", row.hint);
    }
}

fn told(
    operation: Operation,
    errno: Errno,
    privilege: Privilege,
    file_system: FileSystem,
) -> &'static str {
    let at = Surroundings {
        privilege,
        file_system,
    };
    hint(operation, errno as i32, at).unwrap_or_default()
}

#[test]
fn what_is_said_is_true_where_it_is_said() {
    use FileSystem as F;
    use Operation as O;
    use Privilege as P;
    for (operation, errno, privilege, file_system, word) in [
        // Nobody is told to become what they are, or to use what they have.
        (O::Whiteout, EPERM, P::Root, F::Overlay, "--whiteout=xattr"),
        (O::Whiteout, EPERM, P::User, F::Overlay, "--whiteout=xattr"),
        (O::Whiteout, EPERM, P::Root, F::Ext, "--whiteout=xattr"),
        (O::Whiteout, EPERM, P::User, F::Ext, "run it as root"),
        (O::SetXattr, EPERM, P::User, F::Ext, "run it as root"),
        (O::SetXattr, EPERM, P::RootOfNamespace, F::Ext, "--rootless"),
        (O::SetXattr, EPERM, P::Root, F::Ext, "CAP_SYS_ADMIN"),
        (O::SetXattr, EPERM, P::Root, F::Overlay, "volume"),
        (O::SetXattr, EPERM, P::Root, F::Nfs, "root_squash"),
        (
            O::SetXattr,
            EOPNOTSUPP,
            P::Root,
            F::Ext,
            "belongs to another",
        ),
        (O::SetXattr, EOPNOTSUPP, P::Root, F::Tmpfs, "Linux 6.6"),
        (
            O::SetXattr,
            EOPNOTSUPP,
            P::Root,
            F::Unknown,
            "use a directory on ext4",
        ),
        (O::SetLargeXattr, ENOSPC, P::Root, F::Ext, "4 KiB"),
        (O::SetXattr, ENOSPC, P::Root, F::Ext, "free some space"),
        (O::SetXattr, ENOSPC, P::Root, F::Xfs, "free some space"),
        (O::SetLargeXattr, E2BIG, P::Root, F::Btrfs, "64 KiB"),
        (O::Create, ENOSPC, P::Root, F::Ext, "free some space"),
        (O::Create, EACCES, P::Root, F::Ext, "chattr"),
        (O::Create, EACCES, P::Unknown, F::Unknown, "run it as root"),
        (
            O::SetOwner,
            EINVAL,
            P::RootOfNamespace,
            F::Ext,
            "--owners=caller",
        ),
        (O::Spool, ENOSPC, P::Root, F::Ext, "TMPDIR"),
        (O::Spool, EMFILE, P::Root, F::Ext, "ulimit -n"),
        (O::OpenStore, EACCES, P::User, F::Ext, "--store"),
        (O::OpenStore, ENOSPC, P::User, F::Ext, "--store"),
        (O::OpenStore, ENOMEM, P::User, F::Ext, "memory"),
        (O::Mount, EPERM, P::User, F::Unknown, "mount as root"),
        (O::Mount, EPERM, P::Root, F::Unknown, "CAP_SYS_ADMIN"),
        (O::Publish, EBUSY, P::Root, F::Ext, "mount point"),
        (O::Publish, ENOSPC, P::Root, F::Ext, "free some space"),
        (O::ReadTree, EACCES, P::User, F::Ext, "run it as root"),
        (O::Convert, EPERM, P::User, F::Ext, "--to user"),
        (O::Other, EIO, P::Root, F::Ext, "kernel's log"),
        (O::Other, EDQUOT, P::User, F::Nfs, "free some space"),
        (O::StartThread, EAGAIN, P::User, F::Unknown, "ulimit -u"),
    ] {
        let hint = told(operation, errno, privilege, file_system);
        assert!(
            hint.contains(word),
            "{operation:?} {errno} {privilege:?} {file_system:?}: {hint:?}"
        );
        let blames = ["damaged", "fetch the image"];
        assert!(!blames.iter().any(|blame| hint.contains(blame)), "{hint}");
    }
    assert_eq!(told(O::Other, EPERM, P::Root, F::Ext), "");
}

#[test]
fn root_is_never_told_to_be_root() {
    for row in ROWS {
        for &operation in row.operations {
            for errno in [EPERM, EACCES] {
                let at = (Privilege::Root, FileSystem::Unknown);
                let hint = told(operation, errno, at.0, at.1);
                assert!(!hint.starts_with("run it as root"), "{operation:?}");
                assert!(!hint.starts_with("mount as root"), "{operation:?}");
            }
        }
    }
}
