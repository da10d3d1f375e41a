//! The report on a layer: counts, and warnings that are counted rather than repeated. The writers of
//! layers ([`crate::repack::pack`], [`crate::repack::translate`]) use it too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::path::EntryPath;

/// Counts of one layer, as it became a directory or an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Entries in the archive, markers among them.
    pub entries: u64,
    /// Bytes of file content that were written.
    pub bytes: u64,
    /// Whiteouts that were written.
    pub deletions: u64,
    /// Directories that were marked opaque.
    pub opaque: u64,
    /// Warnings about what was left out.
    pub warnings: BTreeMap<Warning, Occurrences>,
}

/// How often a warning came up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Occurrences {
    /// Times.
    pub count: u64,
    /// The first path, escaped.
    pub first: String,
}

/// A difference between the layer and its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Warning {
    /// An xattr that this kind of file, or this caller, may not have.
    XattrNotKept,
    /// An xattr of overlayfs's own, with `--overlay-xattrs=drop`.
    OverlayXattrDropped,
    /// An xattr of another system or file system (rule X2).
    ForeignXattrDropped,
    /// An entry that a global PAX header would have changed.
    GlobalHeaderSkipped,
    /// A 0:0 character device, with `--device-zero=skip`.
    DeviceZeroSkipped,
    /// A device node that this caller may not make.
    DeviceNotMade,
    /// An implied directory whose attributes depend on layers below that are not known.
    ParentNotKnown,
    /// A mark in the other xattr namespace, which this mount takes for data.
    OtherMarkIsData,
    /// A socket, which an archive cannot hold; a server creates it again.
    SocketSkipped,
}

impl Warning {
    /// The text of the warning.
    pub fn explain(self) -> &'static str {
        match self {
            Warning::XattrNotKept => {
                "xattrs left out: not allowed on this file type or to this user"
            }
            Warning::OverlayXattrDropped => "overlayfs's own xattrs left out, as asked",
            Warning::ForeignXattrDropped => {
                "xattrs left out: they belong to another system or file system"
            }
            Warning::GlobalHeaderSkipped => {
                "entries after a global PAX header, which is skipped, as container engines do"
            }
            Warning::DeviceZeroSkipped => "0:0 character devices left out, as asked",
            Warning::DeviceNotMade => "device nodes left out: making them needs root",
            Warning::ParentNotKnown => {
                "directories without an entry got 0755 0:0: --lower would tell their attributes"
            }
            Warning::OtherMarkIsData => {
                "marks of overlayfs in the other xattr namespace, kept as data: --userxattr reads user.overlay.*, and trusted.overlay.* is read without it"
            }
            Warning::SocketSkipped => "sockets left out: no archive can hold one",
        }
    }
}

impl Report {
    pub(crate) fn warn(&mut self, warning: Warning, path: &EntryPath) {
        let occurrences = self.warnings.entry(warning).or_insert_with(|| Occurrences {
            count: 0,
            first: path.to_string(),
        });
        occurrences.count += 1;
    }

    /// Adds later warnings.
    pub(crate) fn add_warnings(&mut self, later: &Report) {
        for (&warning, more) in &later.warnings {
            let known = self.warnings.entry(warning).or_insert_with(|| Occurrences {
                count: 0,
                first: more.first.clone(),
            });
            known.count += more.count;
        }
    }
}
