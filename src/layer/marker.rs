//! The meaning of a name in a layer: a deletion, an opaque directory, bookkeeping, or just a name.
//!
//! Source: image-spec `layer.md`, "Whiteouts"; rules W5 and W6. Pure. [`super::intake`] calls it once
//! per entry.

use crate::error::{Error, Result};
use crate::path::EntryPath;

/// The prefix that image-spec reserves.
pub const PREFIX: &[u8] = b".wh.";
/// The name that makes its directory opaque.
pub const OPAQUE: &[u8] = b".wh..wh..opq";
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// Whether a component of a path begins like a marker. lowerdir writes such a name only as a marker
/// (rule W6).
pub fn is_marker_in(path: &EntryPath) -> bool {
    path.components().any(|name| name.starts_with(PREFIX))
}

/// The meaning of an entry's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `.wh.NAME`: this path is deleted from the layers below.
    Remove(EntryPath),
    /// `.wh..wh..opq`: this directory is emptied of what is below.
    Opaque(EntryPath),
    /// aufs bookkeeping (such as `.wh..wh.plnk`), or something below it: skipped.
    Reserved,
    /// Not a marker.
    None,
}

impl Marker {
    /// Reads the marker in a path. Errors ([`Kind::Refused`](crate::Kind::Refused)): `.wh.`,
    /// `.wh..` and `.wh...`, which would name their own directory or its parent, and anything
    /// inside a `.wh.NAME`.
    pub fn of(path: &EntryPath) -> Result<Marker> {
        let refuse = |why: &str| Err(Error::refused(why).at_entry(path));
        let Some((parent, name)) = path.split() else {
            return Ok(Marker::None);
        };
        for component in parent.components() {
            if component.starts_with(BOOKKEEPING) && component != OPAQUE {
                return Ok(Marker::Reserved);
            }
            if component.starts_with(PREFIX) {
                return refuse("an entry inside a whiteout");
            }
        }
        let Some(target) = name.strip_prefix(PREFIX) else {
            return Ok(Marker::None);
        };
        match target {
            b"" | b"." | b".." => refuse("a whiteout of no name"),
            _ if name == OPAQUE => Ok(Marker::Opaque(parent)),
            _ if name.starts_with(BOOKKEEPING) => Ok(Marker::Reserved),
            _ => Ok(Marker::Remove(parent.join(target)?)),
        }
    }
}
