//! The mount API: one call per layer, so no string has to fit one page and no path has to be escaped.
//! Called by [`super::mount`].

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::error::{Error, Result};
use crate::store::stack::Stack;

use super::options::MountOptions;
use super::{Directories, SOURCE, failed};

/// `fsconfig(2)` takes strings of up to 255 bytes.
const STRING_MAX: usize = 255;
/// `/proc/self/fd/`, a number and a slash.
const DESCRIPTOR_MAX: usize = 25;
/// Errors of calls that do not exist or that a seccomp filter denies.
const DENIED: [Errno; 3] = [Errno::NOSYS, Errno::PERM, Errno::INVAL];

/// Makes a detached mount; `None` if the calls or `lowerdir+` are not available.
pub fn mount(
    stack: &Stack,
    upper: Option<Directories<'_>>,
    options: &MountOptions,
) -> Result<Option<OwnedFd>> {
    let context = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(context) => context,
        Err(errno) if DENIED.contains(&errno) => return Ok(None),
        Err(errno) => return Err(failed("opening an overlay mount".into(), errno)),
    };
    let mut configuration = Configuration {
        context,
        open: Vec::new(),
    };
    if !configuration.takes_directories(stack)? {
        return Ok(None);
    }
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
    for (name, value) in options.of_overlay() {
        configuration.set_option(name, value)?;
    }
    let making = |errno| configuration.failed("making the overlay mount", errno);
    fsconfig_create(&configuration.context).map_err(making)?;
    let read_only = match upper {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(
        &configuration.context,
        flags,
        read_only | options.attributes(),
    )
    .map(Some)
    .map_err(making)
}

/// Attaches a mount to a directory.
pub fn attach(mounted: OwnedFd, target: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&mounted, "", CWD, target, flags)
        .map_err(|errno| failed(format!("mounting on {}", target.display()), errno))
}

/// Lets the kernel check the file system of an upperdir without mounting it. Errors: overlayfs cannot
/// write to it, because it is an overlayfs itself, or is read-only.
pub fn check_upper(directory: &Path) -> Result<()> {
    let Ok(context) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
        return Ok(());
    };
    let mut trial = Configuration {
        context,
        open: Vec::new(),
    };
    let name = trial.name(directory)?;
    let set = fsconfig_set_string(&trial.context, "upperdir", &name);
    // A seccomp filter may return the same error, but leaves no log. Other errors are reported when the
    // mount is made.
    match (set, trial.log()) {
        (Err(Errno::INVAL), Some(log)) => {
            let doing = format!("taking changes in {} ({log})", directory.display());
            let hint = "use a directory on a writable ext4, xfs, btrfs or tmpfs";
            Err(failed(doing, Errno::INVAL).hint(hint))
        }
        _ => Ok(()),
    }
}

/// Whether the kernel accepts this name behind a descriptor as it is. A backslash is an escape in
/// upperdir, but not in lowerdir+.
fn fits(name: &[u8]) -> bool {
    name.len() <= STRING_MAX - DESCRIPTOR_MAX && !name.contains(&b'\\')
}

struct Configuration {
    context: OwnedFd,
    /// Directories named by descriptor, kept open until the mount is made.
    open: Vec<OwnedFd>,
}

impl Configuration {
    /// Whether the option `lowerdir+` exists. Probed on a separate context, because a failure invalidates
    /// the context.
    fn takes_directories(&self, stack: &Stack) -> Result<bool> {
        if fsconfig_set_string(&self.context, "source", SOURCE).is_err() {
            return Ok(false);
        }
        let Some(first) = stack.directories().first() else {
            return Ok(true);
        };
        let Ok(context) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
            return Ok(false);
        };
        let mut trial = Configuration {
            context,
            open: Vec::new(),
        };
        let name = trial.name(first)?;
        Ok(
            match fsconfig_set_string(&trial.context, "lowerdir+", &name) {
                Err(errno) if DENIED.contains(&errno) => match trial.log() {
                    Some(log) => !log.contains("Unknown parameter"),
                    None => false,
                },
                _ => true,
            },
        )
    }

    fn set_directory(&mut self, key: &str, path: &Path) -> Result<()> {
        let name = self.name(path)?;
        fsconfig_set_string(&self.context, key, &name).map_err(|errno| {
            let doing = format!("setting the option {key}={}", path.display());
            self.failed(&doing, errno)
        })
    }

    fn set_option(&self, name: &str, value: Option<&str>) -> Result<()> {
        let set = match value {
            Some(value) => fsconfig_set_string(&self.context, name, value),
            None => fsconfig_set_flag(&self.context, name),
        };
        set.map_err(|errno| {
            let error = self.failed(&format!("setting the option {name}"), errno);
            error.hint("this kernel may be too old for the option, or built without it")
        })
    }

    /// The name of a directory for the kernel: its path, or one through a descriptor if the path is too
    /// long. The mount table keeps showing it, so the last components stay: they hold the chain ID by
    /// which the layer is found.
    fn name(&mut self, path: &Path) -> Result<OsString> {
        if fits(path.as_os_str().as_bytes()) {
            return Ok(path.into());
        }
        let parts = [2, 1].into_iter().find_map(|steps| {
            let above = path.ancestors().nth(steps)?;
            let rest = path.strip_prefix(above).ok()?;
            fits(rest.as_os_str().as_bytes()).then_some((above, Some(rest)))
        });
        let (open, rest) = parts.unwrap_or((path, None));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, open, flags, Mode::empty())
            .map_err(|errno| failed(format!("opening {}", open.display()), errno))?;
        let mut name = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        name.extend(rest);
        self.open.push(directory);
        Ok(name.into())
    }

    fn failed(&self, doing: &str, errno: Errno) -> Error {
        failed(
            match self.log() {
                Some(log) => format!("{doing} ({log})"),
                None => doing.to_string(),
            },
            errno,
        )
    }

    /// The last message in the kernel's log of this mount.
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
