//! How deletions and opaque directories are spelled for a mount, and how xattrs of the image that look
//! like overlayfs's own are escaped (rules X1 and X3).
//!
//! Source: kernel `Documentation/filesystems/overlayfs.rst`, "whiteouts and opaque directories",
//! "User xattr", "Nesting overlayfs mounts". Pure: spelling only, no IO.

use serde::{Deserialize, Serialize};

use crate::meta::{Meta, Time, Xattr, is_label};
use crate::setters::setters;

/// How a deletion is written into a layer directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whiteout {
    /// A character device 0:0. Any kernel; unprivileged processes may make one since 5.8.
    #[default]
    Device,
    /// An empty file with an `overlay.whiteout` xattr, in a directory whose `overlay.opaque` is
    /// `x`. Kernel 6.7 and later; for file systems and containers without device nodes.
    Xattr,
}

/// The xattr namespace that overlayfs reads its marks from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// `trusted.overlay.*`: an ordinary mount; setting them takes `CAP_SYS_ADMIN`.
    #[default]
    Trusted,
    /// `user.overlay.*`: a mount with the option `userxattr`, as in a user namespace (5.11).
    User,
}

/// The spelling of a layer directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dialect {
    /// How deletions are written.
    pub whiteout: Whiteout,
    /// Where overlayfs looks for its xattrs.
    pub namespace: Namespace,
}

/// An xattr of overlayfs's own that changes what a mount shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A directory hides what is below it ([`OPAQUE`]), or holds whiteouts that are xattrs
    /// ([`HOLDS_XATTR_WHITEOUTS`]).
    Opaque,
    /// An empty file is a deletion.
    Whiteout,
    /// A directory or a file was renamed: what is below it is at another path there.
    Redirect,
    /// A file has its content in a layer below.
    Metacopy,
    /// Where an inode was copied up from; empty, it makes the kernel filter whiteouts out of an
    /// unmerged directory (rule W3).
    Origin,
    /// How many names a file has that was copied up with `index=on`.
    Nlink,
}

impl Mark {
    const ALL: [Mark; 6] = [
        Mark::Opaque,
        Mark::Whiteout,
        Mark::Redirect,
        Mark::Metacopy,
        Mark::Origin,
        Mark::Nlink,
    ];

    /// Whether a mount reads what is below by it, so that a layer which has it is not complete.
    pub fn refers_to_below(self) -> bool {
        matches!(self, Mark::Redirect | Mark::Metacopy | Mark::Nlink)
    }

    /// Whether a mount of another namespace shows a different tree for want of it.
    fn decides(self) -> bool {
        !matches!(self, Mark::Origin | Mark::Nlink)
    }
}

impl Namespace {
    /// `trusted.overlay.` or `user.overlay.`.
    pub fn prefix(self) -> &'static str {
        match self {
            Namespace::Trusted => "trusted.overlay.",
            Namespace::User => "user.overlay.",
        }
    }

    /// The name of a mark.
    pub(crate) fn xattr(self, mark: Mark) -> &'static str {
        match (self, mark) {
            (Namespace::Trusted, Mark::Opaque) => "trusted.overlay.opaque",
            (Namespace::Trusted, Mark::Whiteout) => "trusted.overlay.whiteout",
            (Namespace::Trusted, Mark::Redirect) => "trusted.overlay.redirect",
            (Namespace::Trusted, Mark::Metacopy) => "trusted.overlay.metacopy",
            (Namespace::Trusted, Mark::Origin) => "trusted.overlay.origin",
            (Namespace::Trusted, Mark::Nlink) => "trusted.overlay.nlink",
            (Namespace::User, Mark::Opaque) => "user.overlay.opaque",
            (Namespace::User, Mark::Whiteout) => "user.overlay.whiteout",
            (Namespace::User, Mark::Redirect) => "user.overlay.redirect",
            (Namespace::User, Mark::Metacopy) => "user.overlay.metacopy",
            (Namespace::User, Mark::Origin) => "user.overlay.origin",
            (Namespace::User, Mark::Nlink) => "user.overlay.nlink",
        }
    }

    /// The mark of that name, if it is one.
    pub(crate) fn mark(self, xattr: &[u8]) -> Option<Mark> {
        if !xattr.starts_with(self.prefix().as_bytes()) {
            return None;
        }
        let mut marks = Mark::ALL.into_iter();
        marks.find(|&mark| self.xattr(mark).as_bytes() == xattr)
    }
}

/// The value of the opaque xattr on a directory that hides what is below it.
pub const OPAQUE: &[u8] = b"y";
/// The value of the opaque xattr on a directory that holds xattr whiteouts.
pub const HOLDS_XATTR_WHITEOUTS: &[u8] = b"x";

/// What overlayfs is to know of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// It hides what is below it.
    pub is_opaque: bool,
    /// There are whiteouts in it.
    pub holds_whiteouts: bool,
    /// The layers below it are not known.
    pub is_over_unknown: bool,
}

impl Dialect {
    setters! {
        whiteout: Whiteout,
        namespace: Namespace,
    }

    /// `trusted.overlay.` or `user.overlay.`.
    pub fn prefix(self) -> &'static str {
        self.namespace.prefix()
    }

    /// The xattr that marks a directory opaque.
    pub fn opaque_xattr(self) -> &'static str {
        self.namespace.xattr(Mark::Opaque)
    }

    /// The xattr that makes the kernel filter whiteouts out of an unmerged directory (rule W3).
    pub fn origin_xattr(self) -> &'static str {
        self.namespace.xattr(Mark::Origin)
    }

    /// The xattr that makes an empty file a whiteout.
    pub fn whiteout_xattr(self) -> &'static str {
        self.namespace.xattr(Mark::Whiteout)
    }

    /// The xattrs of a directory that overlayfs is to obey.
    pub(crate) fn marks(self, marks: Marks) -> Vec<Xattr> {
        let mark = |name: &str, value: &[u8]| Xattr {
            name: name.as_bytes().into(),
            value: value.into(),
        };
        let mut xattrs = Vec::new();
        if marks.is_opaque {
            xattrs.push(mark(self.opaque_xattr(), OPAQUE));
        } else if marks.holds_whiteouts && self.whiteout == Whiteout::Xattr {
            xattrs.push(mark(self.opaque_xattr(), HOLDS_XATTR_WHITEOUTS));
        }
        // Rule W3: it is not known whether the names are visible below.
        if marks.holds_whiteouts && marks.is_over_unknown {
            xattrs.push(mark(self.origin_xattr(), b""));
        }
        xattrs
    }

    /// The attributes of a whiteout (rule W7): the same on every run.
    pub fn whiteout_meta(self, mtime: Time) -> Meta {
        let mark = Xattr {
            name: self.whiteout_xattr().as_bytes().into(),
            value: Box::default(),
        };
        // Without root, a `user.*` xattr can be read only where the file can.
        let (mode, xattrs) = match self.whiteout {
            Whiteout::Device => (0, Vec::new()),
            Whiteout::Xattr => (0o400, vec![mark]),
        };
        Meta {
            mode,
            mtime,
            xattrs,
            ..Meta::default()
        }
    }

    /// Whether overlayfs would read this xattr, set on disk, as an order of its own. An escaped
    /// one (`trusted.overlay.overlay.x`) is data.
    pub fn is_order(self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix().as_bytes())
            .is_some_and(|rest| !rest.starts_with(b"overlay."))
    }

    /// Whether an xattr of an image is one that overlayfs claims, as an order or escaped.
    pub fn is_overlays(self, name: &[u8]) -> bool {
        name.starts_with(self.prefix().as_bytes())
    }

    /// Whether an inode has a mark of the other namespace, which is data to a mount of this one: then a
    /// directory is perhaps read in the wrong dialect. `xattrs` are those on disk.
    pub fn has_mark_of_other(self, xattrs: &[Xattr]) -> bool {
        let namespace = match self.namespace {
            Namespace::Trusted => Namespace::User,
            Namespace::User => Namespace::Trusted,
        };
        let is_mark = |xattr: &Xattr| namespace.mark(&xattr.name).is_some_and(Mark::decides);
        xattrs.iter().any(is_mark)
    }

    /// The name on disk that the mount shows as `name`: `trusted.overlay.X` becomes
    /// `trusted.overlay.overlay.X`, all else stays. `None` where nothing changes.
    pub fn escape(self, name: &[u8]) -> Option<Vec<u8>> {
        let rest = name.strip_prefix(self.prefix().as_bytes())?;
        Some([self.prefix().as_bytes(), b"overlay.", rest].concat())
    }

    /// The name that the mount shows for one on disk, which [`escape`](Dialect::escape) made.
    /// `None` where it is no escaped one.
    pub fn unescape(self, name: &[u8]) -> Option<Vec<u8>> {
        let rest = name.strip_prefix(self.prefix().as_bytes())?;
        let rest = rest.strip_prefix(b"overlay.")?;
        Some([self.prefix().as_bytes(), rest].concat())
    }

    /// The xattrs that the mount shows for those on disk: without orders, unescaped; without the
    /// label, which belongs to the system that the directory lies on, unless asked for (rule X2).
    pub(crate) fn shown(self, xattrs: Vec<Xattr>, selinux: bool) -> Vec<Xattr> {
        let is_shown =
            |xattr: &Xattr| !self.is_order(&xattr.name) && (selinux || !is_label(&xattr.name));
        let shown = xattrs.into_iter().filter(is_shown);
        let mut shown: Vec<Xattr> = shown
            .map(|xattr| match self.unescape(&xattr.name) {
                Some(name) => Xattr {
                    name: name.into(),
                    ..xattr
                },
                None => xattr,
            })
            .collect();
        shown.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        shown
    }
}
