//! `UpperRecord`: the ids that the files of an upperdir have, kept in an xattr of the upperdir itself.
//! [`crate::mount`] writes it, [`crate::repack::pack`](mod@crate::repack::pack) reads it.
//!
//! The xattr has one of overlayfs's own names, `trusted.overlay.*`, or `user.overlay.*` of a mount with
//! `userxattr`: overlayfs neither shows such a name in the mount nor lets it be set there, and a layer's
//! are escaped (rule X1). So neither a container nor an image can forge it, and it is in no layer that
//! is made of the upperdir.

use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::dialect::{Dialect, Namespace};
use crate::error::{Error, Result};
use crate::fs::root::Dir;
use crate::ids::IdMaps;

/// What an upperdir was mounted with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpperRecord {
    /// Which ids of the host its files have in the place of the image's.
    pub ids: IdMaps,
    /// Whether the layers below have the image's own ids, which the mount showed as those of the host.
    #[serde(rename = "idmap")]
    pub is_idmapped: bool,
}

impl UpperRecord {
    /// The xattr that holds it.
    pub fn xattr(namespace: Namespace) -> String {
        let dialect = Dialect {
            namespace,
            ..Dialect::default()
        };
        format!("{}lowerdir.mounted", dialect.prefix())
    }

    /// Reads it. Errors: it is none of those that this version of lowerdir writes.
    pub fn read(upperdir: &Dir, namespace: Namespace) -> Result<Option<UpperRecord>> {
        let name = UpperRecord::xattr(namespace);
        let doing = |error: io::Error| Error::system(format!("reading xattr {name}"), error);
        let Some(value) = upperdir.short_xattr(b".", &name).map_err(doing)? else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&value).map_err(|error| doing(error.into()))?;
        Ok(Some(record))
    }

    /// Reads it, and refuses an upperdir that was mounted the other way, with `userxattr` or without: its
    /// marks have other names, and what was deleted in it would come back.
    pub fn read_or_refuse(upperdir: &Dir, namespace: Namespace) -> Result<Option<UpperRecord>> {
        let other = match namespace {
            Namespace::Trusted => Namespace::User,
            Namespace::User => Namespace::Trusted,
        };
        let found = UpperRecord::read(upperdir, namespace)?;
        let name = UpperRecord::xattr(other);
        // A container can set the name of the other kind: it never takes the place of this one.
        if found.is_some()
            || upperdir
                .short_xattr(b".", &name)
                .unwrap_or_default()
                .is_none()
        {
            return Ok(found);
        }
        let how = match other {
            Namespace::User => "with userxattr",
            Namespace::Trusted => "without userxattr",
        };
        Err(Error::conflict(format!(
            "its xattr {name} says that it was mounted {how}: its deletions would not be seen"
        )))
    }

    /// Writes it. A caller that may not set such xattrs keeps no record: an error only where there is
    /// something to remember. Errors: also, the file system keeps no xattrs.
    pub fn write(&self, upperdir: &Dir, namespace: Namespace) -> Result<()> {
        let name = UpperRecord::xattr(namespace);
        let value = serde_json::to_vec(self).expect("it is JSON");
        let Err(error) = crate::fs::root::set_xattr(upperdir, name.as_bytes(), &value) else {
            return Ok(());
        };
        let of = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        if of(Errno::OPNOTSUPP) {
            let text = "the file system of the upperdir keeps no xattrs, without which overlayfs \
                        deletes and replaces no directories";
            return Err(
                Error::unsupported(text).hint("use a directory on ext4, xfs, btrfs or a tmpfs")
            );
        }
        if self.ids.is_empty() && (of(Errno::PERM) || of(Errno::ACCESS)) {
            return Ok(());
        }
        let text = format!("writing the id maps into xattr {name} of the upperdir");
        Err(Error::system(text, error))
    }
}
