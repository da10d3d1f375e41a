//! Where the tests with random images work: a tmpfs of their own, overlay mounts, and the product.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
    unmount,
};
use support::program;
pub use support::program::Run;
use tempfile::TempDir;

/// A directory whose file system holds all that an image can hold.
pub struct Scratch {
    directory: TempDir,
    is_mounted: bool,
}

impl Scratch {
    /// A fresh tmpfs, or a directory in LOWERDIR_SCRATCH; `None`, with a word why, where the
    /// tests cannot run.
    pub fn new() -> Option<Scratch> {
        let chosen = std::env::var_os("LOWERDIR_SCRATCH").map(PathBuf::from);
        let base = chosen.clone().unwrap_or_else(std::env::temp_dir);
        let directory = tempfile::tempdir_in(base).expect("a temporary directory");
        let path = directory.path();
        let tmpfs = || mount("tmpfs", path, "tmpfs", MountFlags::empty(), c"mode=0700");
        let is_mounted = chosen.is_none() && tmpfs().is_ok();
        let scratch = Scratch {
            directory,
            is_mounted,
        };
        match scratch.probe() {
            Ok(()) => Some(scratch),
            Err(error) => {
                crate::skip(&format!(
                    "random images need root and overlay mounts: {error}"
                ));
                None
            }
        }
    }

    /// A directory of its own for each image.
    pub fn site(&self) -> TempDir {
        tempfile::tempdir_in(self.directory.path()).expect("a directory for one image")
    }

    /// Tries what the tests are going to need.
    fn probe(&self) -> io::Result<()> {
        let site = self.site();
        let layer = site.path().join("layer");
        fs::create_dir_all(layer.join("d"))?;
        for name in ["user.probe", "trusted.probe"] {
            xattr::set(&layer, name, b"1")?;
        }
        let whiteout = (FileType::CharacterDevice, Mode::empty(), makedev(0, 0));
        mknodat(CWD, layer.join("w"), whiteout.0, whiteout.1, whiteout.2)?;
        Mounted::stack(&[layer], false, site.path()).map(drop)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
        }
    }
}

/// A mount point, unmounted when it goes out of scope.
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// A new empty directory to mount on.
    pub fn nothing(site: &Path) -> Mounted {
        let target = tempfile::tempdir_in(site).expect("a mount point");
        Mounted(target.keep())
    }

    /// Mounts layer directories, topmost first, over an empty one, without the product's help.
    pub fn stack(layers: &[PathBuf], userxattr: bool, site: &Path) -> io::Result<Mounted> {
        let (bottom, target) = (tempfile::tempdir_in(site)?.keep(), Mounted::nothing(site));
        let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in layers.iter().chain([&bottom]) {
            fsconfig_set_string(&overlay, "lowerdir+", layer)?;
        }
        if userxattr {
            fsconfig_set_flag(&overlay, "userxattr")?;
        }
        fsconfig_create(&overlay)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        let tree = fsmount(&overlay, flags, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&tree, "", CWD, &target.0, flags)?;
        Ok(target)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Runs a program until it is not refused for a mount in another mount namespace. Other tests make such
/// namespaces, which begin with a copy of all mounts: as long as they last, what was just unmounted here is
/// mounted there.
pub fn once_no_copy_is_left(mut run: impl FnMut() -> Output) -> Output {
    for _ in 0..40 {
        let output = run();
        let text = String::from_utf8_lossy(&output.stderr);
        let is_elsewhere = text.contains(", in the mount namespace of process")
            || text.contains("is in use by the mount on")
            || text.contains("which would keep the old tree");
        if !is_elsewhere && !text.contains("overlay mount that no mount table shows") {
            return output;
        }
        std::thread::sleep(Duration::from_millis(400));
    }
    run()
}

/// Runs the product.
pub fn lowerdir(arguments: &[&OsStr], stdin: Option<&Path>) -> Run {
    let mut command = program::lowerdir();
    command.args(arguments).arg("--quiet");
    let output = once_no_copy_is_left(|| {
        if let Some(path) = stdin {
            command.stdin(File::open(path).expect("the file was written"));
        }
        command.output().expect("the program can be started")
    });
    Run::ended(&command, output)
}

/// Runs any program, once no other test has a copy of a mount that is gone.
pub fn once_free(command: &mut Command) -> Run {
    let output = once_no_copy_is_left(|| command.output().expect("the program can be started"));
    Run::ended(command, output)
}
