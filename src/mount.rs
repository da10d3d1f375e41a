//! Mounting a [`Stack`], and taking the mount down again.
//!
//! It uses the mount API of Linux 5.2 with the option `lowerdir+` of 6.5, one call for each layer:
//! no string of all of them has to fit one page, and no path has to be escaped.
//! Source: `fsopen(2)`, `fsconfig(2)`; kernel `Documentation/filesystems/overlayfs.rst`.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::error::{Error, Result};
use crate::stack::Stack;

/// `fsconfig(2)` takes strings of up to 255 bytes.
const STRING_MAX: usize = 255;
/// The file system type that `statfs(2)` reports for overlayfs (`OVERLAYFS_SUPER_MAGIC`).
const OVERLAY_MAGIC: i64 = 0x794c_7630;

/// Where changes go.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Takes the changes.
    pub upperdir: &'a Path,
    /// An empty directory on the same file system.
    pub workdir: &'a Path,
}

/// Mounts a stack on a directory, read-only unless there is an upper.
///
/// Errors: what the system says, with what the kernel wrote to the mount's own log
/// ([`Kind::System`](crate::Kind::System)).
pub fn mount(stack: &Stack, target: &Path, upper: Option<Upper<'_>>) -> Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|errno| failed("opening an overlay mount", errno, None))?;
    let mut configuration = Configuration {
        context,
        open: Vec::new(),
    };
    configuration.set("source", "overlay".as_ref())?;
    for directory in stack.directories() {
        configuration.set_directory("lowerdir+", directory)?;
    }
    if let Some(upper) = upper {
        configuration.set_directory("upperdir", upper.upperdir)?;
        configuration.set_directory("workdir", upper.workdir)?;
    }
    if stack.needs_userxattr() {
        fsconfig_set_flag(&configuration.context, "userxattr")
            .map_err(|errno| configuration.failed("setting the option userxattr", errno))?;
    }
    fsconfig_create(&configuration.context)
        .map_err(|errno| configuration.failed("making the overlay mount", errno))?;
    let attributes = match upper {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    let mounted = fsmount(
        &configuration.context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )
    .map_err(|errno| configuration.failed("making the overlay mount", errno))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&mounted, "", CWD, target, flags).map_err(|errno| {
        let doing = format!("mounting on {}", target.display());
        configuration.failed(&doing, errno)
    })
}

/// Takes down an overlay mount. Errors: the target is none.
pub fn umount(target: &Path) -> Result<()> {
    let looking = |errno: Errno| Error::system(format!("looking at {}", target.display()), errno);
    let found = rustix::fs::statfs(target).map_err(looking)?;
    if found.f_type != OVERLAY_MAGIC {
        let text = format!("{} is not an overlay mount", target.display());
        return Err(Error::not_found(text));
    }
    umount2(target, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| {
        let doing = format!("unmounting {}", target.display());
        let error = Error::system(doing, std::io::Error::from(errno));
        match errno {
            nix::Error::EBUSY => error.hint("something in it is still in use"),
            nix::Error::EINVAL => error.hint("it is in an overlay mount, but is none itself"),
            _ => error,
        }
    })
}

struct Configuration {
    context: OwnedFd,
    /// Directories that are named by descriptor until the mount is made.
    open: Vec<OwnedFd>,
}

impl Configuration {
    fn set(&self, key: &str, value: &std::ffi::OsStr) -> Result<()> {
        fsconfig_set_string(&self.context, key, value).map_err(|errno| {
            let doing = format!("setting the option {key}={}", value.display());
            self.failed(&doing, errno)
        })
    }

    fn set_directory(&mut self, key: &str, path: &Path) -> Result<()> {
        let bytes = path.as_os_str().as_bytes();
        // The kernel takes a backslash in an upperdir for an escape, and in a lowerdir+ not.
        if bytes.len() <= STRING_MAX && !bytes.contains(&b'\\') {
            return self.set(key, path.as_os_str());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| {
            let doing = format!("opening {}", path.display());
            self.failed(&doing, errno)
        })?;
        let name = OsString::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        self.open.push(directory);
        self.set(key, &name)
    }

    fn failed(&self, doing: &str, errno: Errno) -> Error {
        failed(doing, errno, self.log())
    }

    /// The last thing that the kernel wrote to the log of this mount.
    fn log(&self) -> Option<String> {
        let mut last = None;
        let mut log = File::from(rustix::io::dup(&self.context).ok()?);
        let mut line = [0; 1024];
        while let Ok(count) = log.read(&mut line) {
            let text = String::from_utf8_lossy(&line[..count]);
            last = text.trim_end().get(2..).map(String::from).or(last);
            if count == 0 {
                break;
            }
        }
        last
    }
}

fn failed(doing: &str, errno: Errno, log: Option<String>) -> Error {
    let doing = match log {
        Some(log) => format!("{doing} ({log})"),
        None => doing.to_string(),
    };
    let error = Error::system(doing, errno);
    match errno {
        Errno::PERM | Errno::ACCESS => error.hint("mount as root, or in a user namespace"),
        Errno::NODEV => error.hint("the kernel has no overlayfs: load the module `overlay`"),
        Errno::NOSYS => {
            error.hint("mounting takes Linux 6.5; `lowerdir stack` prints what `mount` takes")
        }
        _ => error,
    }
}
