//! What helps when the system says no: one table, from what was being done, the errno, the caller's
//! privilege and the file system. Pure; the code that makes a system error adds what it knows.

use nix::errno::Errno::{self, *};

use super::advice::{Advice, Told};
use super::circumstances::{FileSystem, Operation, Privilege, Surroundings};

/// A row: what is empty or `None` stands for anything. The first row that fits counts.
struct Row {
    operations: &'static [Operation],
    errnos: &'static [Errno],
    privilege: Option<Privilege>,
    file_system: Option<FileSystem>,
    hint: Told<&'static str>,
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
    text: &'static str,
) -> Row {
    let (privilege, file_system) = (None, None);
    let hint = Told::Text(text);
    Row {
        operations,
        errnos,
        privilege,
        file_system,
        hint,
    }
}

/// A row for which a program has its own words.
const fn advise(operations: &'static [Operation], errnos: &'static [Errno], advice: Advice) -> Row {
    let hint = Told::Advice(advice, "");
    Row {
        hint,
        ..row(operations, errnos, "")
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
    advise(&[], &[ENOMEM], Advice::FewerJobs),
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
        "set TMPDIR to another directory",
    ),
    advise(
        &[Operation::OpenStore],
        &[],
        Advice::AnotherStore,
    ),
    row(
        &[Operation::SetLargeXattr],
        &[],
        "the xattrs of this file are too many or too large for this file system: ext4 has room for 4 KiB in all, btrfs for 16 KiB, xfs for 64 KiB each",
    ),
    row(&[], FULL, "free some space or inodes (`df` and `df -i` count them), or use another file system"),
    row(&[], &[EROFS], "use another file system, or mount this one writable"),
    // ovl_mknod() in the kernel denies it to everybody.
    advise(
        &[Operation::Whiteout],
        &[EPERM, EOPNOTSUPP],
        Advice::WhiteoutsOnOverlay,
    )
    .on(FileSystem::Overlay),
    advise(
        &[Operation::SetXattr],
        &[EPERM, EOPNOTSUPP],
        Advice::XattrsOnOverlay,
    )
    .on(FileSystem::Overlay),
    row(
        MAKING,
        DENIED,
        "NFS takes root for nobody (root_squash): use a directory on a local disk",
    )
    .for_caller(Privilege::Root)
    .on(FileSystem::Nfs),
    advise(
        &[Operation::Whiteout],
        &[EPERM, EOPNOTSUPP],
        Advice::NoDeviceNodes,
    )
    .for_caller(Privilege::Root),
    advise(
        &[Operation::SetXattr],
        DENIED,
        Advice::XattrsDenied,
    )
    .for_caller(Privilege::Root),
    row(
        MAKING,
        DENIED,
        "root is denied it, by a container, a security module or `chattr +i`: the kernel's log may say more",
    )
    .for_caller(Privilege::Root),
    advise(
        MAKING,
        DENIED,
        Advice::BeRoot,
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
    advise(
        &[Operation::SetOwner],
        &[EINVAL],
        Advice::OwnerNotMapped,
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
        "IMAGE is a file or directory; docker://NAME is an image in a registry",
    ),
    row(
        &[Operation::ReadTree],
        DENIED,
        "a container or a security module restricts root: CAP_DAC_READ_SEARCH is needed here",
    )
    .for_caller(Privilege::Root),
    row(
        &[Operation::ReadTree],
        DENIED,
        "run it as root, or as the user whose files these are",
    ),
    advise(
        &[Operation::Convert],
        &[EPERM],
        Advice::ConvertOnOverlay,
    )
    .on(FileSystem::Overlay),
    row(
        &[Operation::Convert],
        DENIED,
        "root is denied it, by a container, a security module or `chattr +i`: the kernel's log may say more",
    )
    .for_caller(Privilege::Root),
    advise(&[Operation::Convert], DENIED, Advice::ConvertAsRoot),
    row(&[Operation::OpenTarget], &[ENOENT], "make the directory first"),
    row(
        &[Operation::Mount],
        DENIED,
        "a container or a security module restricts root: mounting needs CAP_SYS_ADMIN",
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
    advise(
        &[Operation::HardLink],
        &[EXDEV, EPERM, EMLINK, EOPNOTSUPP],
        Advice::NoHardLink,
    ),
    advise(
        &[Operation::Reflink],
        &[EXDEV, EINVAL, EOPNOTSUPP, ENOTTY, ENOSYS],
        Advice::NoReflink,
    ),
    row(
        &[Operation::MapIds],
        &[EPERM, EINVAL],
        "only root of the whole system may map any ids",
    ),
    advise(
        &[Operation::IdmapMount],
        &[EPERM],
        Advice::IdmapAsRoot,
    ),
    row(
        &[Operation::IdmapMount],
        &[EINVAL, ENOSYS],
        "it takes Linux 5.19, and a store on ext4, xfs, btrfs, or since 6.3 a tmpfs, which is itself not mounted with other ids",
    ),
    advise(
        &[Operation::IdmapMount],
        &[],
        Advice::MapWhileUnpacking,
    ),
    row(
        &[Operation::StartThread],
        &[EAGAIN],
        "allow more threads: `ulimit -u`, or pids.max of the container",
    ),
];

const FOREIGN: &str = "this xattr belongs to another file system or system, or a mount option of this one leaves such out";

/// What helps here.
pub fn hint(operation: Operation, errno: i32, at: Surroundings) -> Option<Told<&'static str>> {
    first(ALWAYS, operation, errno, at).or_else(|| first(ROWS, operation, errno, at))
}

fn first(
    rows: &[Row],
    operation: Operation,
    errno: i32,
    at: Surroundings,
) -> Option<Told<&'static str>> {
    let errno = Errno::from_raw(errno);
    let row = rows.iter().find(|row| row.fits(operation, errno, at));
    row.map(|row| row.hint)
}

#[cfg(test)]
mod tests;
