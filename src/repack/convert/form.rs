//! `Form`: how a tree spells deletions and opaque directories. Pure.

use std::fmt;

use crate::dialect::{Dialect, Namespace, Whiteout};

/// The form of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As in an image: `.wh.NAME`, `.wh..wh..opq`.
    Oci,
    /// As overlayfs mounts it.
    Overlay(Dialect),
    /// As fuse-overlayfs writes it if it may not create devices: `.wh.NAME`, and for an opaque directory
    /// `.wh..wh..opq` and an xattr.
    FuseOverlayfs,
}

/// fuse-overlayfs's mark for an opaque directory.
pub const FUSE_OPAQUE: &str = "user.fuseoverlayfs.opaque";

impl Form {
    /// Whether deletions are files `.wh.NAME`.
    pub fn has_marker_files(self) -> bool {
        !matches!(self, Form::Overlay(_))
    }

    /// Whether deletions are xattrs of empty files.
    pub fn has_xattr_whiteouts(self) -> bool {
        self.dialect()
            .is_some_and(|dialect| dialect.whiteout == Whiteout::Xattr)
    }

    /// The dialect, if it is overlayfs's form.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Form::Overlay(dialect) => Some(dialect),
            Form::Oci | Form::FuseOverlayfs => None,
        }
    }

    /// The name on disk of an xattr that the image has.
    pub fn on_disk(self, shown: &[u8]) -> Vec<u8> {
        let escaped = self.dialect().and_then(|dialect| dialect.escape(shown));
        escaped.unwrap_or_else(|| shown.to_vec())
    }

    /// The name in the image of an xattr on disk; `None` if it is not data of the image.
    pub fn shown(self, on_disk: &[u8]) -> Option<Vec<u8>> {
        let dialect = match self {
            Form::Oci => return Some(on_disk.to_vec()),
            Form::FuseOverlayfs => {
                return (on_disk != FUSE_OPAQUE.as_bytes()).then(|| on_disk.to_vec());
            }
            Form::Overlay(dialect) => dialect,
        };
        match dialect.is_order(on_disk) {
            true => None,
            false => Some(
                dialect
                    .unescape(on_disk)
                    .unwrap_or_else(|| on_disk.to_vec()),
            ),
        }
    }
}

/// As the command line spells it.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Oci => "oci",
            Form::FuseOverlayfs => "fuse-overlayfs",
            Form::Overlay(Dialect {
                whiteout,
                namespace,
            }) => match (namespace, whiteout) {
                (Namespace::Trusted, Whiteout::Device) => "trusted",
                (Namespace::Trusted, Whiteout::Xattr) => "trusted-xattr",
                (Namespace::User, Whiteout::Device) => "user",
                (Namespace::User, Whiteout::Xattr) => "user-xattr",
            },
        })
    }
}
