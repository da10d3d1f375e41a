//! What helps when the system says no: one table, from what was being done, the errno, the caller's
//! privilege and the file system. Pure; whoever makes an error of the system's says what it knows.

use nix::errno::Errno::{self, *};

use super::circumstances::{FileSystem, Operation, Privilege, Surroundings};

/// A row: what is empty or `None` stands for anything. The first row that fits counts.
struct Row {
    operations: &'static [Operation],
    errnos: &'static [Errno],
    privilege: Option<Privilege>,
    file_system: Option<FileSystem>,
    hint: &'static str,
}

const DENIED: &[Errno] = &[EPERM, EACCES];
const FULL: &[Errno] = &[ENOSPC, EDQUOT];
const MAKING: &[Operation] = &[
    Operation::Create,
    Operation::Whiteout,
    Operation::SetOwner,
    Operation::SetXattr,
    Operation::Publish,
];

const fn row(
    operations: &'static [Operation],
    errnos: &'static [Errno],
    hint: &'static str,
) -> Row {
    let (privilege, file_system) = (None, None);
    Row {
        operations,
        errnos,
        privilege,
        file_system,
        hint,
    }
}

impl Row {
    const fn for_caller(self, privilege: Privilege) -> Row {
        let privilege = Some(privilege);
        Row { privilege, ..self }
    }

    const fn on(self, file_system: FileSystem) -> Row {
        let file_system = Some(file_system);
        Row {
            file_system,
            ..self
        }
    }

    fn fits(&self, operation: Operation, errno: Errno, at: Surroundings) -> bool {
        (self.operations.is_empty() || self.operations.contains(&operation))
            && (self.errnos.is_empty() || self.errnos.contains(&errno))
            && self
                .privilege
                .is_none_or(|privilege| privilege == at.privilege)
            && self.file_system.is_none_or(|kind| kind == at.file_system)
    }
}

/// What is true whatever was being done.
const ALWAYS: &[Row] = &[
    row(
        &[],
        &[EMFILE, ENFILE],
        "allow more open files: `ulimit -n`, or fs.file-max",
    ),
    row(&[], &[ENOMEM], "free some memory, or use fewer jobs: -j 1"),
    row(
        &[],
        &[EIO, EUCLEAN, EBADMSG],
        "the disk or its file system has failed: the kernel's log says more",
    ),
    row(
        &[],
        &[EFBIG],
        "a limit on the size of files was reached: `ulimit -f` shows it",
    ),
    row(&[], &[EINTR], "run it again"),
    row(
        &[],
        &[ESTALE],
        "the file server no longer has it: run it again",
    ),
];

const ROWS: &[Row] = &[
    row(
        &[Operation::Spool],
        &[ENOSPC, EDQUOT, EROFS, ENOENT, ENOTDIR, EPERM, EACCES, EOPNOTSUPP],
        "TMPDIR names another directory for it",
    ),
    row(
        &[Operation::OpenStore],
        &[],
        "--store DIR or LOWERDIR_STORE names another directory",
    ),
    row(
        &[Operation::SetLargeXattr],
        &[],
        "the xattrs of this file are too many or too large for this file system: ext4 has room for 4 KiB in all, btrfs for 16 KiB, xfs for 64 KiB each",
    ),
    row(&[], FULL, "free some space or inodes (`df` and `df -i` count them), or use another file system"),
    row(&[], &[EROFS], "use another file system, or mount this one writable"),
    // ovl_mknod() in the kernel denies it to everybody.
    row(
        &[Operation::Whiteout],
        &[EPERM, EOPNOTSUPP],
        "no whiteout can be made on an overlay mount: use --whiteout=xattr, which takes Linux 6.7 to mount, or a directory on a volume",
    )
    .on(FileSystem::Overlay),
    row(
        &[Operation::SetXattr],
        &[EPERM, EOPNOTSUPP],
        "an overlay mount holds xattrs of overlayfs only since Linux 6.7, and in a container root may lack CAP_SYS_ADMIN for them: use a directory on a volume, or --rootless",
    )
    .on(FileSystem::Overlay),
    row(
        MAKING,
        DENIED,
        "NFS takes root for nobody (root_squash): use a directory on a local disk",
    )
    .for_caller(Privilege::Root)
    .on(FileSystem::Nfs),
    row(
        &[Operation::Whiteout],
        &[EPERM, EOPNOTSUPP],
        "this file system or sandbox takes no device nodes: use --whiteout=xattr, which takes Linux 6.7 to mount",
    )
    .for_caller(Privilege::Root),
    row(
        &[Operation::SetXattr],
        DENIED,
        "a container or a security module takes rights from root: it needs CAP_SYS_ADMIN here, or --rootless",
    )
    .for_caller(Privilege::Root),
    row(
        MAKING,
        DENIED,
        "root is denied it, by a container, a security module or `chattr +i`: the kernel's log may say more",
    )
    .for_caller(Privilege::Root),
    row(
        MAKING,
        DENIED,
        "run it as root; with --rootless, unpack and unpack-layer need no root",
    ),
    row(
        &[Operation::SetXattr],
        &[EOPNOTSUPP],
        "tmpfs holds user.* xattrs since Linux 6.6: use a directory on ext4, xfs or btrfs",
    )
    .on(FileSystem::Tmpfs),
    row(&[Operation::SetXattr], &[EOPNOTSUPP], FOREIGN).on(FileSystem::Ext),
    row(&[Operation::SetXattr], &[EOPNOTSUPP], FOREIGN).on(FileSystem::Xfs),
    row(&[Operation::SetXattr], &[EOPNOTSUPP], FOREIGN).on(FileSystem::Btrfs),
    row(
        MAKING,
        &[EOPNOTSUPP],
        "this file system cannot hold it: use a directory on ext4, xfs or btrfs",
    ),
    row(
        &[Operation::SetOwner],
        &[EINVAL],
        "this user namespace does not map the id: try --owners=caller",
    ),
    row(
        &[Operation::Publish],
        &[],
        "the directory must be absent or empty, and no mount point",
    ),
    row(
        &[Operation::WriteOutput],
        DENIED,
        "name an output that you may write, in a directory that you may write to",
    ),
    row(
        &[Operation::WriteOutput],
        &[ENOENT, ENOTDIR],
        "make the directory of the output first",
    ),
    row(
        &[Operation::WriteOutput],
        &[ENXIO, ENODEV],
        "there is nothing behind that device: name another output",
    ),
    row(
        &[Operation::OpenImage],
        &[ENOENT],
        "IMAGE is a file or directory; `skopeo copy docker://NAME oci:DIR:TAG` fetches one from a registry",
    ),
    row(
        &[Operation::ReadTree],
        DENIED,
        "a container or a security module takes rights from root: it needs CAP_DAC_READ_SEARCH here",
    )
    .for_caller(Privilege::Root),
    row(
        &[Operation::ReadTree],
        DENIED,
        "run it as root, or as the user whose files these are",
    ),
    row(
        &[Operation::Convert],
        &[EPERM],
        "no whiteout can be made on an overlay mount: --to trusted-xattr or user-xattr makes none",
    )
    .on(FileSystem::Overlay),
    row(
        &[Operation::Convert],
        DENIED,
        "root is denied it, by a container, a security module or `chattr +i`: the kernel's log may say more",
    )
    .for_caller(Privilege::Root),
    row(&[Operation::Convert], DENIED, "run it as root; without, --to user may do"),
    row(&[Operation::OpenTarget], &[ENOENT], "make the directory first"),
    row(
        &[Operation::Mount],
        DENIED,
        "a container or a security module takes rights from root: mounting needs CAP_SYS_ADMIN",
    )
    .for_caller(Privilege::Root),
    row(&[Operation::Mount], DENIED, "mount as root, or in a user namespace"),
    row(
        &[Operation::Mount],
        &[ENODEV],
        "the kernel has no overlayfs: load the module `overlay`",
    ),
    row(
        &[Operation::Unmount],
        &[EBUSY],
        "something in it is still in use: see fuser -m",
    ),
    row(
        &[Operation::Unmount],
        DENIED,
        "unmount as root, or in its user namespace",
    ),
    row(
        &[Operation::HardLink],
        &[EXDEV, EPERM, EMLINK, EOPNOTSUPP],
        "hard links need the file system of --store: try --link=copy",
    ),
    row(
        &[Operation::Reflink],
        &[EXDEV, EINVAL, EOPNOTSUPP, ENOTTY, ENOSYS],
        "this takes one xfs or btrfs for both: try --link=copy",
    ),
    row(
        &[Operation::MapIds],
        &[EPERM, EINVAL],
        "only root of the whole system may map any ids",
    ),
    row(
        &[Operation::IdmapMount],
        &[EPERM],
        "only root of the whole system may do this: with --uid-map, unpack gives a copy other ids",
    ),
    row(
        &[Operation::IdmapMount],
        &[EINVAL, ENOSYS],
        "it takes Linux 5.19, and a store on ext4, xfs, btrfs, or since 6.3 a tmpfs, which is itself not mounted with other ids",
    ),
    row(
        &[Operation::IdmapMount],
        &[],
        "with --uid-map, unpack gives a copy other ids",
    ),
    row(
        &[Operation::StartThread],
        &[EAGAIN],
        "allow more threads: `ulimit -u`, or pids.max of the container",
    ),
];

const FOREIGN: &str = "this xattr belongs to another file system or system, or a mount option of this one leaves such out";

/// What helps here.
pub fn hint(operation: Operation, errno: i32, at: Surroundings) -> Option<&'static str> {
    first(ALWAYS, operation, errno, at).or_else(|| first(ROWS, operation, errno, at))
}

fn first(rows: &[Row], operation: Operation, errno: i32, at: Surroundings) -> Option<&'static str> {
    let errno = Errno::from_raw(errno);
    let row = rows.iter().find(|row| row.fits(operation, errno, at));
    row.map(|row| row.hint)
}

#[cfg(test)]
mod tests;
