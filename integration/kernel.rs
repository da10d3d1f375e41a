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

const ENOENT: i32 = Errno::NOENT.raw_os_error();
const EPERM: i32 = Errno::PERM.raw_os_error();

// Whiteouts as devices (W1, W3).

#[test]
fn whiteout_hides_the_name_below_and_is_not_listed() {
    let site = Site::new();
    let bottom = site.layer("bottom", "gone d/ d/gone d/stays");
    let top = site.layer("top", "gone! d/ d/gone!");
    let view = site.view(Trusted, &[&top, &bottom]);
    kernel_says!(
        (view.names(""), view.names("d")),
        ("d".into(), "stays".into())
    );
    kernel_says!((view.errno("gone"), view.errno("d/gone")), (ENOENT, ENOENT));
}

#[test]
fn needless_whiteout_in_a_merged_directory_or_the_root_is_filtered() {
    let site = Site::new();
    let top = site.layer("top", "never! d/ d/never!");
    let view = site.view(Trusted, &[&top, &site.layer("bottom", "d/")]);
    kernel_says!(
        (view.names(""), view.names("d")),
        ("d".into(), String::new())
    );
}

#[test]
fn needless_whiteout_in_an_unmerged_directory_is_a_ghost() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/never!");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.names("d"), "never");
        kernel_says!(view.errno("d/never"), ENOENT);
    }
}

#[test]
fn whiteout_in_an_opaque_directory_is_a_ghost_even_if_the_name_is_below() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/gone!").opaque(dialect, "d");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/gone")]);
        kernel_says!(view.names("d"), "gone");
        kernel_says!(view.errno("d/gone"), ENOENT);
    }
}

#[test]
fn empty_origin_mark_makes_the_kernel_filter_an_unmerged_directory() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/never! d/stays");
        let top = top.mark(dialect, "d", "origin", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.names("d"), "stays");
        kernel_says!(view.marks("d"), "");
    }
}

#[test]
fn empty_origin_mark_makes_the_kernel_filter_an_opaque_directory() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/gone! d/stays").opaque(dialect, "d");
        let top = top.mark(dialect, "d", "origin", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/gone")]);
        kernel_says!(view.names("d"), "stays");
    }
}

#[test]
fn origin_mark_in_the_other_dialect_is_no_mark() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/never!");
        let top = top.mark(dialect.other(), "d", "origin", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.names("d"), "never");
    }
}

#[test]
fn origin_mark_works_in_a_middle_layer_too() {
    let site = Site::new();
    let middle = site.layer("middle", "d/ d/never!");
    let middle = middle.mark(Trusted, "d", "origin", "");
    let (top, bottom) = (site.layer("top", ""), site.layer("bottom", ""));
    kernel_says!(site.view(Trusted, &[&top, &middle, &bottom]).names("d"), "");
}

#[test]
fn origin_mark_does_not_change_a_merged_directory() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ d/gone d/below");
    let top = site.layer("top", "d/ d/gone! d/above");
    let top = top.mark(Trusted, "d", "origin", "");
    kernel_says!(
        site.view(Trusted, &[&top, &bottom]).names("d"),
        "above below"
    );
}

// Whiteouts as xattrs.

#[test]
fn xattr_whiteout_hides_in_a_directory_and_in_a_root_marked_opaque_x() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").mark(dialect, "", "opaque", "x");
        let top = top.mark(dialect, "d", "opaque", "x");
        let top = top
            .xattr_whiteout(dialect, "gone")
            .xattr_whiteout(dialect, "never");
        let top = top.xattr_whiteout(dialect, "d/gone");
        let bottom = site.layer("bottom", "gone d/ d/gone d/stays");
        let view = site.view(dialect, &[&top, &bottom]);
        kernel_says!(
            (view.names(""), view.names("d")),
            ("d".into(), "stays".into())
        );
        kernel_says!((view.errno("gone"), view.errno("d/gone")), (ENOENT, ENOENT));
    }
}

#[test]
fn xattr_whiteout_without_opaque_x_hides_and_is_a_ghost() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").xattr_whiteout(dialect, "gone");
        let top = top.xattr_whiteout(dialect, "d/gone");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "gone d/ d/gone")]);
        kernel_says!(
            (view.names(""), view.names("d")),
            ("d gone".into(), "gone".into())
        );
        kernel_says!((view.errno("gone"), view.errno("d/gone")), (ENOENT, ENOENT));
    }
}

#[test]
fn needless_xattr_whiteout_in_an_unmerged_directory_needs_opaque_x_and_the_origin_mark() {
    for dialect in BOTH {
        let (x, origin) = (("opaque", "x"), ("origin", ""));
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[]), "never");
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[x]), "never");
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[origin]), "never");
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &[x, origin]), "");
    }
}

/// The mark holds one value: `y` leaves no room for the `x` that the filter needs, so that here
/// nothing but W4 (no deletions in an opaque directory) prevents a ghost.
#[test]
fn xattr_whiteout_in_an_opaque_directory_is_a_ghost_that_no_mark_removes() {
    for dialect in BOTH {
        let marks = [("opaque", "y"), ("origin", "")];
        kernel_says!(unmerged_with_an_xattr_whiteout(dialect, &marks), "never");
    }
}

/// What readdir lists of `d`, which holds one needless xattr whiteout and has those marks.
fn unmerged_with_an_xattr_whiteout(dialect: Dialect, marks: &[(&str, &str)]) -> String {
    let site = Site::new();
    let top = site.layer("top", "d/").xattr_whiteout(dialect, "d/never");
    let mark = |top: Layer, (name, value): &(&str, &str)| top.mark(dialect, "d", name, value);
    let top = marks.iter().fold(top, mark);
    site.view(dialect, &[&top, &site.layer("bottom", "")])
        .names("d")
}

#[test]
fn file_with_bytes_is_no_xattr_whiteout() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site
            .layer("top", "d/ d/f")
            .mark(dialect, "d", "opaque", "x");
        let top = top.mark(dialect, "d/f", "whiteout", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/f")]);
        kernel_says!(view.read("d/f"), "top");
    }
}

// What merges and what hides (O1 to O3, I1).

#[test]
fn opaque_directory_hides_what_is_below() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ d/above").opaque(dialect, "d");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/below")]);
        kernel_says!(view.names("d"), "above");
        kernel_says!(view.errno("d/below"), ENOENT);
    }
}

#[test]
fn opaque_mark_in_the_other_dialect_hides_nothing() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").opaque(dialect.other(), "d");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/below")]);
        kernel_says!(view.names("d"), "below");
    }
}

#[test]
fn opaque_mark_on_a_layers_root_is_ignored() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/").opaque(dialect, "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "below d/ d/below")]);
        kernel_says!(
            (view.names(""), view.names("d")),
            ("below d".into(), "below".into())
        );
    }
}

#[test]
fn whiteout_in_a_middle_layer_ends_the_merge() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ d/below");
    let (top, middle) = (site.layer("top", "d/ d/above"), site.layer("middle", "d!"));
    kernel_says!(
        site.view(Trusted, &[&top, &middle, &bottom]).names("d"),
        "above"
    );
}

#[test]
fn opaque_directory_in_a_middle_layer_ends_the_merge() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ d/below");
    let middle = site.layer("middle", "d/ d/middle").opaque(Trusted, "d");
    let top = site.layer("top", "d/ d/above");
    kernel_says!(
        site.view(Trusted, &[&top, &middle, &bottom]).names("d"),
        "above middle"
    );
}

#[test]
fn non_directory_hides_a_directory_below() {
    let site = Site::new();
    let (top, bottom) = (
        site.layer("top", "f l@"),
        site.layer("bottom", "f/sub/ l/sub/"),
    );
    let view = site.view(Trusted, &[&top, &bottom]);
    kernel_says!(view.read("f"), "top");
    kernel_says!(view.stat("l").expect("a symlink").is_symlink(), true);
}

#[test]
fn directory_over_a_non_directory_does_not_merge_with_what_is_further_below() {
    let site = Site::new();
    let bottom = site.layer("bottom", "f/ f/below l/ l/below");
    let (top, middle) = (
        site.layer("top", "f/ f/above l/"),
        site.layer("middle", "f l@"),
    );
    let view = site.view(Trusted, &[&top, &middle, &bottom]);
    kernel_says!(
        (view.names("f"), view.names("l")),
        ("above".into(), String::new())
    );
}

#[test]
fn merged_directory_has_the_attributes_of_the_topmost_layer() {
    let site = Site::new();
    let (top, bottom) = (site.layer("top", "d/"), site.layer("bottom", "d/"));
    for (layer, mode, owner) in [(&bottom, 0o700, 1), (&top, 0o1751, 2)] {
        for path in [layer.0.clone(), layer.0.join("d")] {
            xattr::set(&path, format!("user.{owner}"), b"").expect("an xattr");
            chown(&path, Some(owner), Some(owner)).expect("chown");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    }
    let view = site.view(Trusted, &[&top, &bottom]);
    for path in ["", "d"] {
        let (stat, real) = (
            view.stat(path).expect("stat"),
            fs::metadata(top.0.join(path)),
        );
        kernel_says!(
            (stat.mode() & 0o7777, stat.uid(), stat.gid()),
            (0o1751, 2, 2)
        );
        kernel_says!(stat.modified().ok(), real.expect("stat").modified().ok());
        let xattrs = (view.xattr(path, "user.1"), view.xattr(path, "user.2"));
        kernel_says!(xattrs, (None, Some(Vec::new())));
    }
}

#[test]
fn names_of_one_file_in_one_layer_are_one_inode_through_the_mount() {
    let site = Site::new();
    let bottom = site.layer("bottom", "d/ a c").link("a", "d/b");
    let view = site.view(Trusted, &[&site.layer("top", "d/"), &bottom]);
    let inode = |path| {
        let stat = view.stat(path).expect("stat");
        (stat.dev(), stat.ino(), stat.nlink())
    };
    kernel_says!(inode("a"), inode("d/b"));
    assert_ne!(inode("a"), inode("c"), "on Linux {}", release());
}

// Xattrs of the overlay namespace (X1).

#[test]
fn unescaped_overlay_xattr_is_not_shown() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site.layer("top", "d/ f").mark(dialect, "d", "any", "1");
        let top = top.mark(dialect, "f", "any", "1");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        for path in ["d", "f"] {
            kernel_says!(view.marks(path), "");
            kernel_says!(view.xattr(path, &dialect.key("any")), None);
        }
    }
}

#[test]
fn escaped_overlay_xattr_is_shown_unescaped_and_has_no_effect() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site
            .layer("top", "d/")
            .mark(dialect, "d", "overlay.opaque", "y");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "d/ d/below")]);
        kernel_says!(view.marks("d"), dialect.key("opaque"));
        kernel_says!(view.xattr("d", &dialect.key("opaque")), Some(b"y".into()));
        kernel_says!(view.names("d"), "below");
    }
}

#[test]
fn escape_is_taken_off_once() {
    for dialect in BOTH {
        let site = Site::new();
        let top = site
            .layer("top", "f")
            .mark(dialect, "f", "overlay.overlay.x", "1");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(view.marks("f"), dialect.key("overlay.x"));
    }
}

#[test]
fn overlay_xattr_of_the_other_dialect_is_shown_as_it_is() {
    for dialect in BOTH {
        let (site, other) = (Site::new(), dialect.other());
        let top = site.layer("top", "f").mark(other, "f", "x", "1");
        let top = top.mark(other, "f", "overlay.x", "2");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "")]);
        kernel_says!(
            view.marks("f"),
            other.key("overlay.x") + " " + &other.key("x")
        );
        kernel_says!(view.xattr("f", &other.key("x")), Some(b"1".into()));
    }
}

/// Why X1 escapes all names: a layer could show another directory in place of its own.
#[test]
fn unescaped_redirect_is_followed_where_the_kernel_is_set_so_and_else_bars_the_directory() {
    let follows = parameter_is_on("redirect_always_follow") || parameter_is_on("redirect_dir");
    for dialect in BOTH {
        for value in ["/elsewhere", "elsewhere"] {
            let site = Site::new();
            let top = site
                .layer("top", "d/")
                .mark(dialect, "d", "redirect", value);
            let bottom = site.layer("bottom", "d/ elsewhere/ elsewhere/f");
            let view = site.view(dialect, &[&top, &bottom]);
            match dialect == Trusted && follows {
                true => kernel_says!(view.names("d"), "f"),
                false => kernel_says!(view.errno("d"), EPERM),
            }
        }
    }
}

/// Why X1 escapes all names: a layer could make its file unreadable.
#[test]
fn unescaped_metacopy_bars_the_file() {
    for dialect in BOTH {
        if dialect == Trusted && parameter_is_on("metacopy") {
            continue;
        }
        let site = Site::new();
        let top = site.layer("top", "f").mark(dialect, "f", "metacopy", "");
        let view = site.view(dialect, &[&top, &site.layer("bottom", "f")]);
        kernel_says!(view.errno("f"), EPERM);
    }
}

fn parameter_is_on(name: &str) -> bool {
    let value = fs::read_to_string(format!("/sys/module/overlay/parameters/{name}"));
    value.is_ok_and(|value| value.trim() == "Y")
}

// Mounting.

#[test]
fn one_layer_alone_is_refused_and_mounts_over_an_empty_one() {
    let site = Site::new();
    let (only, empty) = (site.layer("only", "f"), site.layer("empty", ""));
    kernel_says!(overlay(Trusted, &[&only]).err(), Some(Errno::INVAL));
    kernel_says!(site.view(Trusted, &[&only, &empty]).names(""), "f");
}

#[test]
fn same_directory_twice_is_refused() {
    let site = Site::new();
    let (one, two) = (site.layer("one", ""), site.layer("two", ""));
    kernel_says!(
        overlay(Trusted, &[&one, &two, &one]).err(),
        Some(Errno::LOOP)
    );
    kernel_says!(overlay(Trusted, &[&one, &one]).err(), Some(Errno::LOOP));
}

#[test]
fn directory_inside_another_layer_is_refused() {
    let site = Site::new();
    let (outer, inner) = (site.layer("outer", ""), site.layer("outer/inner", ""));
    kernel_says!(overlay(Trusted, &[&outer, &inner]).err(), Some(Errno::LOOP));
}

#[test]
fn five_hundred_layers_mount_and_one_more_does_not() {
    let site = Site::new();
    let names = (0..501).map(|number: u32| number.to_string());
    let layers: Vec<Layer> = names.map(|name| site.layer(&name, &name)).collect();
    let layers: Vec<&Layer> = layers.iter().collect();
    let view = site.view(Trusted, &layers[..500]);
    kernel_says!(view.names("").split(' ').count(), 500);
    kernel_says!(overlay(Trusted, &layers).err(), Some(Errno::INVAL));
}

const ODD_NAME: &str = r"a:b,c\d e\:f";

#[test]
fn lowerdir_plus_takes_a_path_as_it_is() {
    let site = Site::new();
    let (odd, bottom) = (site.layer(ODD_NAME, "f"), site.layer("bottom", ""));
    kernel_says!(site.view(Trusted, &[&odd, &bottom]).names(""), "f");
}

#[test]
fn classic_lowerdir_takes_a_path_with_colon_comma_and_backslash_escaped() {
    let site = Site::new();
    let escape = |layer: Layer| {
        let path = layer.0.to_str().expect("UTF-8").replace('\\', r"\\");
        path.replace(':', r"\:").replace(',', r"\,")
    };
    let (odd, bottom) = (site.layer(ODD_NAME, "f"), site.layer("bottom", ""));
    let view = site.classic_view(&format!("lowerdir={}:{}", escape(odd), escape(bottom)));
    kernel_says!(view.names(""), "f");
}

/// Why a stack whose text fills a page must not be mounted this way.
#[test]
fn classic_options_are_cut_at_one_page_without_a_word() {
    let site = Site::new();
    let [top, bottom, lost] = ["top", "bottom", "lost"].map(|name| site.layer(name, name).0);
    let start = format!("lowerdir={}:", top.display());
    // Slashes in front of a path mean nothing and fill the page to its last usable byte.
    let width = 4095 - start.len();
    let page = format!("{start}{:/>width$}", bottom.to_str().expect("UTF-8"));
    let view = site.classic_view(&format!("{page}:{}", lost.display()));
    kernel_says!(view.names(""), "bottom top");
}

#[test]
fn lowerdir_plus_refuses_a_path_of_over_255_bytes_and_takes_a_descriptor() {
    let site = Site::new();
    let name = ["p".repeat(200), "l".repeat(200)].join("/");
    let (long, bottom) = (site.layer(&name, ""), site.layer("bottom", "f"));
    kernel_says!(
        overlay(Trusted, &[&long, &bottom]).err(),
        Some(Errno::INVAL)
    );
    if !since(6, 13, "lowerdir+ by descriptor") {
        return;
    }
    let context = context(Trusted).expect("a context");
    for layer in [&long, &bottom] {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = open(&layer.0, flags, Mode::empty()).expect("the layer");
        fsconfig_set_fd(&context, "lowerdir+", &descriptor).expect("a layer by descriptor");
    }
    finish(&context).expect("an overlay mount");
}

// Without privilege (what `--userxattr` relies on).

const NOBODY: u32 = 65534;

#[test]
fn nobody_may_make_whiteouts_and_user_xattrs_and_no_other_devices_and_trusted_ones() {
    let site = Site::new();
    let layer = site.layer("layer", "");
    chown(&layer.0, Some(NOBODY), Some(NOBODY)).expect("chown");
    let (whiteout, null) = (layer.0.join("gone"), layer.0.join("null"));
    let made = as_nobody(move || {
        let mark = |dialect: Dialect| xattr::set(&layer.0, dialect.key("opaque"), b"y").is_ok();
        let device = mknodat(CWD, &null, FileType::CharacterDevice, Mode::empty(), 0x103);
        (mknod_whiteout(&whiteout), device, mark(User), mark(Trusted))
    });
    kernel_says!(made, (Ok(()), Err(Errno::PERM), true, false));
    let stat = fs::symlink_metadata(site.0.path().join("layer/gone")).expect("stat");
    kernel_says!((stat.file_type().is_char_device(), stat.rdev()), (true, 0));
}

/// Runs `work` on a thread that has given up root: on Linux, identity belongs to the thread.
fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).expect("setgroups");
        set_thread_res_gid(gid, gid, gid).expect("setresgid");
        set_thread_res_uid(uid, uid, uid).expect("setresuid");
        work()
    });
    thread.join().expect("the thread's own assertions hold")
}
