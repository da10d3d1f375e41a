//! The options of the engine. The defaults give exactly the image.

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::error::Result;
use crate::ids::IdMaps;
use crate::meta::{Meta, Time};
use crate::setters::setters;

/// How a layer is translated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Options {
    /// How deletions and opaque directories are written.
    pub dialect: Dialect,
    /// What to do with xattrs in the layer that overlayfs would obey (rule X1).
    pub overlay_xattrs: OverlayXattrs,
    /// What to do with a 0:0 character device in the layer (rule S1).
    pub device_zero: DeviceZero,
    /// Whether a parent that is a symbolic link in a lower layer is followed (rule N4); if not,
    /// a directory masks it.
    pub keep_dirlinks: bool,
    /// Whether eStargz bookkeeping files are left out (rule S3).
    pub drop_estargz: bool,
    /// Whether `security.selinux` is kept (rule X2).
    pub selinux: bool,
    /// What to do with xattrs of other systems and file systems (rule X2).
    #[serde(default, skip_serializing_if = "ForeignXattrs::is_lenient")]
    pub foreign_xattrs: ForeignXattrs,
    /// The owner of the files.
    pub owners: Owners,
    /// What becomes of the ids in the layer: of owners, in ACLs, of capabilities.
    #[serde(default, skip_serializing_if = "IdMaps::is_empty")]
    pub ids: IdMaps,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dialect: Dialect::default(),
            overlay_xattrs: OverlayXattrs::Escape,
            device_zero: DeviceZero::Refuse,
            keep_dirlinks: true,
            drop_estargz: false,
            selinux: false,
            foreign_xattrs: ForeignXattrs::Lenient,
            owners: Owners::Image,
            ids: IdMaps::default(),
        }
    }
}

impl Options {
    setters! {
        dialect: Dialect,
        overlay_xattrs: OverlayXattrs,
        device_zero: DeviceZero,
        keep_dirlinks: bool,
        drop_estargz: bool,
        selinux: bool,
        foreign_xattrs: ForeignXattrs,
        owners: Owners,
        ids: IdMaps,
    }

    /// The attributes of a whiteout (rule W7), whose owner is the image's root.
    pub(crate) fn whiteout_meta(&self, mtime: Time) -> Result<Meta> {
        let mut meta = self.dialect.whiteout_meta(mtime);
        self.ids.map(&mut meta)?;
        Ok(meta)
    }

    /// The attributes of a directory that no layer describes (rule I2), whose owner is the image's root.
    pub(crate) fn implied_meta(&self) -> Result<Meta> {
        let mut meta = Meta::of_implied_directory();
        self.ids.map(&mut meta)?;
        Ok(meta)
    }
}

/// What becomes of `trusted.overlay.*` (or `user.overlay.*`) xattrs that a layer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayXattrs {
    /// Written so that the mount shows them as they were and obeys none (kernel 6.7).
    Escape,
    /// Left out, with a warning.
    Drop,
    /// The layer is refused.
    Refuse,
}

/// What becomes of xattrs that belong to another system or to one file system, see
/// [`is_foreign_xattr`](crate::meta::is_foreign_xattr).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForeignXattrs {
    /// Left out, with a warning.
    #[default]
    Lenient,
    /// The layer is refused.
    Strict,
}

impl ForeignXattrs {
    fn is_lenient(&self) -> bool {
        *self == ForeignXattrs::Lenient
    }
}

/// What becomes of a character device 0:0 in a layer, which overlayfs would read as a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceZero {
    /// The layer is refused.
    Refuse,
    /// Left out, with a warning.
    Skip,
}

/// The owner of the files of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owners {
    /// As in the image: needs root, or a user namespace that maps the ids.
    Image,
    /// The caller, whatever the image says: for an unprivileged process. Devices and xattrs that it may not
    /// set (`trusted.*`, `security.*`) are left out with a warning.
    Caller,
}
