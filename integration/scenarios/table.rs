//! The images that are written to, what is done to each, and what overlayfs does otherwise.

use std::collections::BTreeSet;

use crate::tarball::{LayerBuilder, Meta};

type Stack = (&'static str, fn() -> Vec<LayerBuilder>);

pub const STACKS: [Stack; 3] = [
    ("three layers", three_layers),
    ("an opaque root", opaque_root),
    ("one layer", one_layer),
];

/// Something of everything, over each other: kept, changed, deleted, emptied, replaced.
fn three_layers() -> Vec<LayerBuilder> {
    let middle = LayerBuilder::new()
        .whiteout("gone")
        .whiteout("gonedir")
        .dir("wasfile", 0o755)
        .file("wasfile/new", 0o644, "new")
        .file("wasdir", 0o644, "a file now")
        .opaque("emptied")
        .file("emptied/new", 0o644, "new")
        .opaque("hollow")
        .whiteout("allgone/a")
        .whiteout("allgone/b")
        .whiteout("partgone/a")
        .hardlink("h3", "h1");
    let top = LayerBuilder::new()
        .file("dir/top", 0o644, "top")
        .whiteout("dir/c")
        .dir("changed", Meta::new(0o700).owner(7, 7).time(77, 7))
        .whiteout("h3");
    vec![base(), middle, top]
}

/// What is below is gone by a mark that overlayfs does not know on a root (rule O3).
fn opaque_root() -> Vec<LayerBuilder> {
    let top = base().opaque("").whiteout("nothing");
    let middle = LayerBuilder::new()
        .file("old", 0o644, "old")
        .file("dir/old", 0o644, "old")
        .file("gone/old", 0o644, "old");
    vec![base(), middle, top]
}

fn one_layer() -> Vec<LayerBuilder> {
    vec![base()]
}

fn base() -> LayerBuilder {
    let meta = |mode| Meta::new(mode).owner(1000, 1000).time(1_500_000_000, 5);
    LayerBuilder::new()
        .dir("", Meta::new(0o755).time(1_400_000_000, 0))
        .file("f", meta(0o644).xattr("user.k", "v"), "base f")
        .file("suid", Meta::new(0o4755).time(5, 0), "suid")
        .file("empty-file", 0o644, "")
        .file("large", meta(0o600), "large ".repeat(3000))
        .file("h1", meta(0o644), "linked")
        .hardlink("h2", "h1")
        .dir("dir", meta(0o755).xattr("user.d", "v"))
        .file("dir/a", 0o644, "a")
        .file("dir/b", 0o644, "b")
        .file("dir/c", 0o644, "c")
        .dir("dir/sub", meta(0o2775))
        .file("dir/sub/x", 0o644, "x")
        .file("deep/1/2/3/4/5/f", 0o644, "deep")
        .dir("empty", meta(0o755))
        .dir("empty2", meta(0o700))
        .symlink("link", "f")
        .symlink("dirlink", "dir")
        .symlink("dangling", "nowhere")
        .file("gone", 0o644, "gone")
        .file("gonedir/x", 0o644, "x")
        .file("wasfile", 0o644, "a file")
        .file("wasdir/x", 0o644, "x")
        .file("emptied/old", 0o644, "old")
        .file("hollow/old", 0o644, "old")
        .file("allgone/a", 0o644, "a")
        .file("allgone/b", 0o644, "b")
        .file("partgone/a", 0o644, "a")
        .file("partgone/b", 0o644, "b")
        .dir("changed", meta(0o755))
        .file("changed/f", 0o644, "f")
        .fifo("pipe", 0o600)
        .chardev("null", 0o666, (1, 3))
        .file("n\u{e9}", 0o644, "a name")
}

/// A name, and the calls.
pub const SCENARIOS: &[(&str, &str)] = &[
    ("rename a file", "rename f new; read new; read f"),
    ("rename a file over another", "rename f suid; read suid"),
    ("rename a file back", "rename f new; rename new f; read f"),
    (
        "rename a file into a deleted name",
        "rename f gone; read gone",
    ),
    (
        "rename a file into a lower directory",
        "rename f dir/f; list dir",
    ),
    (
        "rename a file over a directory",
        "rename f dir; rename f empty",
    ),
    (
        "rename a file out of an emptied directory",
        "rename emptied/new out; list emptied",
    ),
    (
        "rename a symbolic link",
        "rename link link2; readlink link2",
    ),
    (
        "rename a pipe and a device",
        "rename pipe pipe2; rename null null2",
    ),
    ("rename a hard link over the other", "rename h1 h2; list ."),
    (
        "rename a new directory",
        "mkdir new; create new/f; rename new newer; list newer",
    ),
    (
        "rename a new directory over an empty lower one",
        "mkdir new; create new/f; rename new empty; list empty",
    ),
    (
        "rename a new directory over a full lower one",
        "mkdir new; rename new dir",
    ),
    (
        "rename a new directory over one whose files are all deleted",
        "mkdir new; rename new allgone; list allgone",
    ),
    (
        "rename a new directory over a hollow one",
        "mkdir new; rename new hollow; list hollow",
    ),
    (
        "rename a new directory to a deleted name",
        "mkdir new; create new/f; rename new gonedir; list gonedir",
    ),
    ("rename a lower directory", "rename dir new; list new"),
    ("rename an empty lower directory", "rename empty new"),
    (
        "rename a lower directory over an empty one",
        "rename dir empty",
    ),
    (
        "rename a lower directory into itself",
        "rename dir dir/sub/new",
    ),
    (
        "move a lower directory as mv does",
        "move dir new; list new; list dir",
    ),
    (
        "move a deep directory as mv does",
        "move deep/1/2 two; list two; list deep/1",
    ),
    (
        "rename without replacing",
        "noreplace f new; noreplace suid dir; noreplace link gone",
    ),
    ("exchange two files", "exchange f suid; read f; read suid"),
    ("exchange a file and a link", "exchange f link; readlink f"),
    (
        "exchange a file with a new directory",
        "mkdir new; create new/x; exchange f new; list f",
    ),
    ("exchange with a deleted name", "exchange f gone"),
    ("exchange two lower directories", "exchange dir empty"),
    ("leave a whiteout behind", "leave-whiteout f new"),
    ("unlink a file", "unlink f; read f; unlink f"),
    (
        "unlink and create again",
        "unlink f; create f; read f; unlink f; create f",
    ),
    (
        "unlink a link, a pipe and a device",
        "unlink link; unlink dangling; unlink pipe; unlink null",
    ),
    (
        "unlink what is deleted already",
        "unlink gone; unlink gonedir/x; unlink dir/c",
    ),
    ("unlink a directory", "unlink dir; unlink empty"),
    (
        "a file becomes a directory",
        "unlink f; mkdir f; create f/x; list f",
    ),
    (
        "a directory becomes a file",
        "rmtree dir; create dir; read dir",
    ),
    ("a file becomes a link", "unlink f; symlink suid f; read f"),
    (
        "remove an empty directory",
        "rmdir empty; rmdir empty; list .",
    ),
    ("remove a full directory", "rmdir dir"),
    ("empty a directory and remove it", "rmtree dir; list ."),
    (
        "empty a directory by hand",
        "unlink dir/sub/x; rmdir dir/sub; unlink dir/a; unlink dir/b; list dir",
    ),
    (
        "remove a directory whose files are all deleted",
        "list allgone; rmdir allgone",
    ),
    (
        "remove a directory whose files are partly deleted",
        "unlink partgone/b; rmdir partgone",
    ),
    (
        "remove a directory that was emptied",
        "unlink emptied/new; rmdir emptied",
    ),
    ("remove a hollow directory", "list hollow; rmdir hollow"),
    (
        "make a directory where one was",
        "rmtree dir; mkdir dir; list dir; create dir/a; list dir",
    ),
    (
        "make a directory over a deleted one",
        "mkdir gonedir; list gonedir; create gonedir/y; list gonedir",
    ),
    (
        "make a directory over a deleted file",
        "mkdir gone; list gone",
    ),
    (
        "make a directory over one that is there",
        "mkdir dir; mkdir f; mkdir dangling",
    ),
    (
        "create over a deleted file",
        "create gone; read gone; append gone more; read gone",
    ),
    (
        "create over what is there",
        "create f; create dir; create dangling",
    ),
    (
        "create in every directory",
        "create dir/n; create emptied/n; create wasfile/n; create hollow/n; create allgone/n; create partgone/a; list partgone",
    ),
    (
        "write through links",
        "write link new; read f; write dirlink/a new; read dir/a; write dangling x; read nowhere",
    ),
    ("write over a file", "write f new; read f"),
    ("append to a file", "append f more; append f more; read f"),
    (
        "write into a large file",
        "patch large XX; punch large; truncate large 9000",
    ),
    (
        "make a file shorter and longer",
        "truncate f 3; read f; truncate f 9; read f; truncate empty-file 5",
    ),
    ("write to what is no file", "write dir x; append empty x"),
    ("write to a file without a name", "write-unlinked f; read f"),
    (
        "write to a new file without a name",
        "create new; write-unlinked new",
    ),
    ("read by a descriptor from before", "read-before-write f"),
    (
        "read by a descriptor from before, of a file that was written to",
        "append f x; read-before-write f",
    ),
    (
        "link a file",
        "link f new; links f; links new; append new more; read f",
    ),
    (
        "link over what is there and what is gone",
        "link f suid; link f gone; read gone",
    ),
    (
        "link a link, a pipe and a directory",
        "link link new; link pipe pipe2; link dir new2",
    ),
    (
        "link a new file and remove the first name",
        "create new; link new newer; unlink new; links newer; read newer",
    ),
    ("remove one of two names", "unlink h1; read h2"),
    ("write to one of two names", "append h1 more; read h2"),
    ("change one of two names", "chmod h1 600"),
    ("link a file that has two names", "link h1 new; links new"),
    (
        "change the mode of files",
        "chmod f 600; chmod suid 4711; chmod f 4755",
    ),
    (
        "change the mode of directories",
        "chmod dir 1777; chmod empty 0; chmod changed 2750; list dir",
    ),
    (
        "change owners",
        "chown f 7 7; chown suid 7 7; chown link 7 7; chown dir 7 7; chown pipe 7 7; chown null 7 7",
    ),
    (
        "change times",
        "utime f; utime dir; utime link; utime pipe; utime suid",
    ),
    (
        "set and remove xattrs",
        "setxattr f user.n v; rmxattr f user.k; rmxattr f user.none; setxattr dir user.n v; rmxattr dir user.d",
    ),
    (
        "set xattrs of overlayfs",
        "setxattr f trusted.overlay.opaque y; setxattr dir user.overlay.opaque y; setxattr dir trusted.overlay.whiteout y; list dir",
    ),
    (
        "set xattrs where they may not be",
        "setxattr link user.n v; setxattr pipe user.n v; setxattr link trusted.n v",
    ),
    (
        "make nodes",
        "mkfifo p2; mknod b2; mkfifo gone; mknod f; chmod p2 644",
    ),
    ("make a device of a whiteout", "mknod-zero zero"),
    (
        "name a file that had none",
        "tmpfile dir dir/new; read dir/new; tmpfile . new; links new",
    ),
    (
        "name a file over what is there and what is gone",
        "tmpfile dir f; tmpfile dir gone; read gone; tmpfile emptied emptied/old; list emptied",
    ),
    (
        "a file without a name where nothing is",
        "tmpfile gonedir new; tmpfile f new",
    ),
    (
        "write far below",
        "append deep/1/2/3/4/5/f more; create deep/1/2/3/new; mkdir deep/1/2/3/4/6; rmtree deep/1/2/3/4",
    ),
    (
        "remove far below and make again",
        "rmtree deep; mkdir deep; mkdir deep/1; list deep/1; create deep/1/2",
    ),
    (
        "symbolic links over all sorts",
        "symlink x f; symlink x gone; symlink x dir; readlink gone; symlink x dir/c",
    ),
    (
        "what a layer replaced",
        "list wasfile; read wasdir; rmtree wasfile; create wasfile; unlink wasdir; mkdir wasdir; list wasdir",
    ),
    (
        "a directory that a layer only changed",
        "list changed; create changed/g; unlink changed/f; rmtree changed; mkdir changed; list changed",
    ),
    (
        "a name of other bytes",
        "append n\u{e9} more; rename n\u{e9} m\u{e9}; create n\u{e9}",
    ),
    (
        "a path through what is no directory",
        "create f/x; mkdir link/x; unlink f/x; read dangling/x",
    ),
];

/// What overlayfs does otherwise.
pub struct Exception {
    pub scenario: &'static str,
    /// All, if it is empty.
    pub stack: &'static str,
    /// All, if there are none.
    pub dialects: &'static [&'static str],
    /// A call on the mount with what comes of it; none if no call tells.
    pub call: &'static str,
    #[allow(dead_code)]
    pub why: &'static str,
}

const XATTR_WHITEOUTS: &[&str] = &["trusted-xattr", "user-xattr"];

const NO_REDIRECT: &str =
    "a directory of a lower layer is renamed with redirect_dir alone; mv copies it instead";
const NO_INDEX: &str = "a copy-up parts the names of a file where there is no index";
const XATTR_DELETIONS: &str = "rule W8: a directory in which a deletion is an xattr is never empty";

pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        scenario: "rename a lower directory",
        stack: "",
        dialects: &[],
        call: "rename dir new = EXDEV",
        why: NO_REDIRECT,
    },
    Exception {
        scenario: "rename an empty lower directory",
        stack: "",
        dialects: &[],
        call: "rename empty new = EXDEV",
        why: NO_REDIRECT,
    },
    Exception {
        scenario: "rename a lower directory over an empty one",
        stack: "",
        dialects: &[],
        call: "rename dir empty = EXDEV",
        why: NO_REDIRECT,
    },
    Exception {
        scenario: "exchange two lower directories",
        stack: "",
        dialects: &[],
        call: "exchange dir empty = EXDEV",
        why: NO_REDIRECT,
    },
    Exception {
        scenario: "move a lower directory as mv does",
        stack: "three layers",
        dialects: XATTR_WHITEOUTS,
        call: "move dir new = refused",
        why: XATTR_DELETIONS,
    },
    Exception {
        scenario: "a directory becomes a file",
        stack: "three layers",
        dialects: XATTR_WHITEOUTS,
        call: "rmtree dir = ENOTEMPTY",
        why: XATTR_DELETIONS,
    },
    Exception {
        scenario: "empty a directory and remove it",
        stack: "three layers",
        dialects: XATTR_WHITEOUTS,
        call: "rmtree dir = ENOTEMPTY",
        why: XATTR_DELETIONS,
    },
    Exception {
        scenario: "remove a directory whose files are partly deleted",
        stack: "three layers",
        dialects: XATTR_WHITEOUTS,
        call: "rmdir partgone = ENOTEMPTY",
        why: XATTR_DELETIONS,
    },
    Exception {
        scenario: "make a directory where one was",
        stack: "three layers",
        dialects: XATTR_WHITEOUTS,
        call: "rmtree dir = ENOTEMPTY",
        why: XATTR_DELETIONS,
    },
    Exception {
        scenario: "leave a whiteout behind",
        stack: "",
        dialects: &[],
        call: "leave-whiteout f new = EINVAL",
        why: "a whiteout is overlayfs's own business",
    },
    Exception {
        scenario: "make a device of a whiteout",
        stack: "",
        dialects: &[],
        call: "mknod-zero zero = EPERM",
        why: "a whiteout is overlayfs's own business",
    },
    Exception {
        scenario: "rename a hard link over the other",
        stack: "",
        dialects: &[],
        call: "rename h1 h2 = 0",
        why: NO_INDEX,
    },
    Exception {
        scenario: "write to one of two names",
        stack: "",
        dialects: &[],
        call: "read h2 = linked",
        why: NO_INDEX,
    },
    Exception {
        scenario: "change one of two names",
        stack: "",
        dialects: &[],
        call: "",
        why: NO_INDEX,
    },
    Exception {
        scenario: "link a file that has two names",
        stack: "",
        dialects: &[],
        call: "links new = 2",
        why: NO_INDEX,
    },
    Exception {
        scenario: "link a link, a pipe and a directory",
        stack: "",
        dialects: &["user", "user-xattr"],
        call: "",
        why: "a symbolic link has no user.* xattr, so the kernel does not know its number again",
    },
];

pub fn assert_is_whole() {
    let names: BTreeSet<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), SCENARIOS.len(), "a name comes twice");
    assert!(names.len() >= 60, "only {} scenarios", names.len());
    for exception in EXCEPTIONS {
        assert!(names.contains(exception.scenario), "{}", exception.scenario);
        let is_known = |name: &str| STACKS.iter().any(|(stack, _)| *stack == name);
        assert!(exception.stack.is_empty() || is_known(exception.stack));
    }
}
