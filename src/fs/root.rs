//! `Dir` and `Root`: everything that is created, read or removed on disk goes through a directory
//! descriptor, beneath one directory, without following a symbolic link.
//!
//! Used by the engine ([`crate::unpack`], [`crate::unpack::settle`]), the merged view and the store. It
//! knows system calls and no rules: it never decides what to create. Calls return a plain [`io::Error`];
//! callers add what they were doing.

mod acls;
mod data;
mod details;
mod layer;
mod real;
pub mod removal;
pub mod surroundings;
mod umask;
mod xattrs;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir as Listing, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec,
    Timestamps, Uid,
};
use rustix::io::Errno;

use crate::meta::{Device, Meta, Time, Xattr};
use crate::path::{EntryPath, PATH_MAX};

pub use data::{Take, clone_or_copy, data_length, read_all, read_data};
pub use layer::Root;
pub use real::real_path;
pub use surroundings::{sees_trusted_xattrs, told};
pub use umask::clear_umask;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// How to treat a mount on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// Enter it.
    Entered,
    /// It is an error (`EXDEV`).
    Refused,
}

/// The flags that keep a path inside the directory.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// Opens a directory by a path from the user, whose symbolic links are followed.
    pub fn open(path: &Path) -> io::Result<Dir> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(Dir(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a directory below this one.
    pub fn open_beneath(&self, path: &EntryPath) -> io::Result<Dir> {
        self.open_dir(path.as_bytes(), Mounts::Entered)
    }

    /// Opens the directory at a relative path, which may be a single name; empty for this one.
    pub(crate) fn open_dir(&self, path: &[u8], mounts: Mounts) -> io::Result<Dir> {
        Ok(Dir(self.open_at(path, DIRECTORY, mounts)?))
    }

    /// Opens a directory below this one; `None` if the name is absent, or is not a directory.
    pub fn find_beneath(&self, path: &EntryPath) -> io::Result<Option<Dir>> {
        match self.open_beneath(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a file below this directory for reading.
    pub fn open_file(&self, path: &EntryPath) -> io::Result<File> {
        // Without NONBLOCK, a FIFO there would block forever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(self
            .open_at(path.as_bytes(), flags, Mounts::Entered)?
            .into())
    }

    fn open_at(&self, path: &[u8], flags: OFlags, mounts: Mounts) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        if path.len() > PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let resolve = match mounts {
            Mounts::Entered => BENEATH,
            Mounts::Refused => BENEATH.union(ResolveFlags::NO_XDEV),
        };
        loop {
            match rustix::fs::openat2(self, path, flags, Mode::empty(), resolve) {
                // The kernel returns this if a rename elsewhere raced with the lookup.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The stat of a name in this directory, without following it; `None` if it is absent.
    pub fn stat(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The stat of this directory itself.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self)?)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(self, name, Vec::new())?.into_bytes())
    }

    /// The names in this directory, sorted.
    pub fn names(&self) -> io::Result<Vec<Box<[u8]>>> {
        let mut names = Vec::new();
        for entry in Listing::read_from(self)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(name.into()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Creates a directory that only its owner may use; it gets its real mode when it is complete.
    pub fn make_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self, name, Mode::RWXU)?)
    }

    /// Creates a file, open for writing, that only its owner may use.
    pub fn make_file(&self, name: &[u8]) -> io::Result<File> {
        self.make_file_with(name, 0o600)
    }

    /// Creates a file, open for writing, with a mode, less the thread's umask.
    pub fn make_file_with(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        Ok(rustix::fs::openat(self, name, flags, mode)?.into())
    }

    /// Creates a symbolic link.
    pub fn make_symlink(&self, name: &[u8], target: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, self, name)?)
    }

    /// Creates a device node or a named pipe, without permissions.
    pub fn make_node(&self, name: &[u8], kind: FileType, device: Device) -> io::Result<()> {
        let number = rustix::fs::makedev(device.major, device.minor);
        Ok(rustix::fs::mknodat(
            self,
            name,
            kind,
            Mode::empty(),
            number,
        )?)
    }

    /// Creates a hard link: `new` in `directory`, to `name` here.
    pub fn link(&self, name: &[u8], directory: &Dir, new: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::linkat(
            self,
            name,
            directory,
            new,
            AtFlags::empty(),
        )?)
    }

    /// Removes a name that is not a directory.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, name, AtFlags::REMOVEDIR)?)
    }

    /// A path to a name in this directory, for calls that take no descriptor.
    fn proc_path(&self, name: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        path.push(std::ffi::OsStr::from_bytes(name));
        path
    }

    /// Changes the owner of a name, without following it.
    pub fn set_owner(&self, name: &[u8], uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(self, name, uid, gid, flags)?)
    }

    /// Changes the mode of a name. Errors: it is a symbolic link, which has no mode.
    pub fn set_mode(&self, name: &[u8], mode: u32) -> io::Result<()> {
        // fchmodat(2) would follow a symbolic link put there meanwhile; fchmodat2(2) is too new.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inode = rustix::fs::openat(self, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&inode)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        let path = format!("/proc/self/fd/{}", inode.as_raw_fd());
        Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
    }

    /// Sets both times of a name, without following it.
    pub fn set_times(&self, name: &[u8], time: Time) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(self, name, &timestamps(time), flags)?)
    }
}

/// Sets the owner of an open inode.
pub fn set_owner(inode: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(rustix::fs::fchown(inode, uid, gid)?)
}

/// Sets the mode of an open inode.
pub fn set_mode(inode: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(inode, Mode::from_raw_mode(mode))?)
}

/// Sets both times of an open inode.
pub fn set_times(inode: impl AsFd, time: Time) -> io::Result<()> {
    Ok(rustix::fs::futimens(inode, &timestamps(time))?)
}

/// Sets an xattr of an open inode.
pub fn set_xattr(inode: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    Ok(rustix::fs::fsetxattr(inode, name, value, flags)?)
}

/// The modification time in a stat.
pub fn mtime(stat: &Stat) -> Time {
    Time {
        seconds: stat.st_mtime,
        nanoseconds: stat.st_mtime_nsec as u32,
    }
}

/// The device number in a stat.
pub fn device(stat: &Stat) -> Device {
    Device {
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
    }
}

/// The attributes in a stat, with xattrs.
pub fn attributes(stat: &Stat, xattrs: Vec<Xattr>) -> Meta {
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: mtime(stat),
        xattrs,
    }
}

/// No atime is invented: it equals mtime (rule M2).
fn timestamps(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Whether an error means that a path does not exist, or goes through something that is not a directory.
pub fn is_absent(error: &io::Error) -> bool {
    let of = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    of(Errno::NOENT) || of(Errno::NOTDIR) || of(Errno::LOOP)
}

/// Whether the file system of an open file has space left for others; false if it is not known.
pub fn has_room(file: impl AsFd) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|told| told.f_bavail > 0)
}
