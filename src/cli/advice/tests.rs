//! The hints of the library's table, in words.

use nix::errno::Errno::{self, *};

use crate::error::{FileSystem, Operation, Privilege, Surroundings};

use super::*;

fn told(
    operation: Operation,
    errno: Errno,
    privilege: Privilege,
    file_system: FileSystem,
) -> String {
    let at = Surroundings {
        privilege,
        file_system,
    };
    let error = Error::system("x", errno).during(operation).on(at);
    hint(&error).unwrap_or_default().into_owned()
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
fn what_an_advice_depends_on_is_in_its_words() {
    let error = |hint: crate::error::Hint| Error::limit("x").hint(hint);
    for (hint, words) in [
        (
            Advice::RaiseLimit.with("entries"),
            "--max-entries raises the limit, if you trust the image",
        ),
        (
            Advice::SameOptions.with("id maps"),
            "use another --store, or the same id maps",
        ),
        (
            Advice::ChoosePlatform.with("a\x1b"),
            "--platform chooses one; there is: a\\x1b",
        ),
        (Advice::Unpack.into(), "`lowerdir unpack` puts it there"),
        ("in plain words".into(), "in plain words"),
    ] {
        assert_eq!(super::hint(&error(hint)).unwrap(), words);
    }
}
