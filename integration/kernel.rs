//! What the kernel's overlayfs does with directories made by hand, without a line of the product.
//!
//! Every behaviour that the translation rules rest on has a test here, so that a kernel which
//! changes says so by the name of a rule. Each test builds layers on a tmpfs of its own, mounts
//! them through `fsopen` and looks. The rules (W3, O3, X1 ...) are those of the design.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount, move_mount, unmount,
};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tempfile::TempDir;

/// `assert_eq!` that names the kernel, the thing that changed when it fails.
macro_rules! kernel_says {
    ($left:expr, $right:expr) => {
        assert_eq!($left, $right, "on Linux {}", release())
    };
}

fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Whether the kernel is at least that new; if not, says what is skipped (an error under STRICT).
fn since(major: u32, minor: u32, what: &str) -> bool {
    let release = release();
    let mut numbers = release.split(['.', '-']).map(str::parse);
    let number = |part: Option<Result<u32, _>>| part.and_then(Result::ok);
    if (number(numbers.next()), number(numbers.next())) >= (Some(major), Some(minor)) {
        return true;
    }
    let message = format!("skipped: {what} needs Linux {major}.{minor}, this is {release}");
    let strict = std::env::var_os("STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "{message}");
    eprintln!("{message}");
    false
}

/// The two spellings of overlayfs's marks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Trusted,
    User,
}

use Dialect::{Trusted, User};

const BOTH: [Dialect; 2] = [Trusted, User];

impl Dialect {
    fn key(self, name: &str) -> String {
        match self {
            Trusted => format!("trusted.overlay.{name}"),
            User => format!("user.overlay.{name}"),
        }
    }

    fn other(self) -> Dialect {
        match self {
            Trusted => User,
            User => Trusted,
        }
    }
}

/// A tmpfs of one test: it holds both kinds of xattrs wherever the temporary directory is.
struct Site(TempDir);

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().expect("a temporary directory");
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), None)
            .expect("mounting a tmpfs: these tests need root");
        Site(dir)
    }

    /// A layer from words: `d/` is a directory, `w!` a whiteout, `l@` a symlink to nowhere, and
    /// `f` a file that holds the layer's name.
    fn layer(&self, name: &str, words: &str) -> Layer {
        let root = self.0.path().join(name);
        fs::create_dir_all(&root).expect("a layer's directory");
        for word in words.split_whitespace() {
            let path = |end| word.strip_suffix(end).map(|path| root.join(path));
            if let Some(directory) = path('/') {
                fs::create_dir_all(directory).expect("a directory");
            } else if let Some(whiteout) = path('!') {
                mknod_whiteout(&whiteout).expect("a whiteout");
            } else if let Some(link) = path('@') {
                symlink("nowhere", link).expect("a symlink");
            } else {
                fs::write(root.join(word), name).expect("a file");
            }
        }
        Layer(root)
    }

    /// Mounts the layers, topmost first.
    fn view(&self, dialect: Dialect, layers: &[&Layer]) -> View {
        let tree = overlay(dialect, layers).expect("an overlay mount");
        let (target, flags) = (self.target(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
        move_mount(&tree, "", CWD, &target, flags).expect("moving the mount to its place");
        View(target)
    }

    /// Mounts by mount(2), with all options in one text.
    fn classic_view(&self, options: &str) -> View {
        let (target, options) = (self.target(), CString::new(options).expect("no NUL"));
        let mounted = mount("overlay", &target, "overlay", MountFlags::RDONLY, &*options);
        mounted.expect("a classic mount");
        View(target)
    }

    fn target(&self) -> PathBuf {
        let target = tempfile::tempdir_in(self.0.path()).expect("a mount point");
        target.keep()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// One layer's directory.
struct Layer(PathBuf);

impl Layer {
    /// Sets an xattr of overlayfs on a path (`""` is the root), as it stands on disk.
    fn mark(self, dialect: Dialect, path: &str, name: &str, value: &str) -> Layer {
        let path = self.0.join(path);
        xattr::set(path, dialect.key(name), value.as_bytes()).expect("an xattr");
        self
    }

    fn opaque(self, dialect: Dialect, path: &str) -> Layer {
        self.mark(dialect, path, "opaque", "y")
    }

    /// A whiteout as an xattr on an empty file; its directory needs `opaque=x` besides.
    fn xattr_whiteout(self, dialect: Dialect, path: &str) -> Layer {
        fs::write(self.0.join(path), "").expect("an empty file");
        self.mark(dialect, path, "whiteout", "")
    }

    fn link(self, old: &str, new: &str) -> Layer {
        fs::hard_link(self.0.join(old), self.0.join(new)).expect("a hard link");
        self
    }
}

/// A mounted stack.
struct View(PathBuf);

impl View {
    /// What readdir lists, sorted, in one string.
    fn names(&self, dir: &str) -> String {
        let entries = fs::read_dir(self.0.join(dir)).expect("a directory of the mount");
        sorted(entries.map(|entry| entry.expect("an entry").file_name().into_string()))
    }

    fn stat(&self, path: &str) -> io::Result<fs::Metadata> {
        fs::symlink_metadata(self.0.join(path))
    }

    /// The error number of lstat, 0 where it works.
    fn errno(&self, path: &str) -> i32 {
        let error = self.stat(path).err();
        error.and_then(|error| error.raw_os_error()).unwrap_or(0)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).expect("a file of the mount")
    }

    /// The listed xattrs that speak of overlay, sorted, in one string.
    fn marks(&self, path: &str) -> String {
        let names = xattr::list(self.0.join(path)).expect("a list of xattrs");
        let names = names.filter(|name| name.to_string_lossy().contains(".overlay."));
        sorted(names.map(|name| name.into_string()))
    }

    fn xattr(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        xattr::get(self.0.join(path), name).ok()?
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn sorted<E: std::fmt::Debug>(names: impl Iterator<Item = Result<String, E>>) -> String {
    let mut names: Vec<String> = names.map(|name| name.expect("ASCII")).collect();
    names.sort();
    names.join(" ")
}

/// A detached overlay mount without an upper directory.
fn overlay(dialect: Dialect, layers: &[&Layer]) -> Result<OwnedFd, Errno> {
    let context = context(dialect)?;
    for layer in layers {
        fsconfig_set_string(&context, "lowerdir+", &layer.0)?;
    }
    finish(&context)
}

fn context(dialect: Dialect) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if dialect == User {
        fsconfig_set_flag(&context, "userxattr")?;
    }
    Ok(context)
}

fn finish(context: &OwnedFd) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    fsmount(context, flags, MountAttrFlags::empty())
}

fn mknod_whiteout(path: &Path) -> Result<(), Errno> {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)
}

mod merging;
mod mounting;
mod nobody;
mod whiteouts;
mod xattr_whiteouts;
mod xattrs;

const ENOENT: i32 = Errno::NOENT.raw_os_error();
const EPERM: i32 = Errno::PERM.raw_os_error();
