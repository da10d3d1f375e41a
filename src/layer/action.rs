//! `Action`: one thing that a sink has to do for a layer. [`super::apply`] makes them. Pure.

use crate::meta::{Meta, Time};
use crate::path::EntryPath;
use crate::tar::archive::EntryKind;

use super::below::PlaceId;
use super::tree::{DirId, InodeId, InodeKind};

/// One thing that a sink has to do. A name is free when something is made: an earlier action removed what
/// had it.
#[derive(Debug)]
pub enum Action {
    /// Remove what this layer has at a name, and everything below it.
    Remove {
        /// In which directory.
        parent: DirId,
        /// The whole path.
        place: EntryPath,
        /// Whether it is a directory of this layer with something in it.
        is_full_directory: bool,
    },
    /// Make a directory; its attributes, if it has an entry, are in the tree.
    MakeDirectory(DirId),
    /// An existing directory, perhaps the root, got the attributes of an entry, which are in the tree.
    Describe(DirId),
    /// Make anything else.
    Make {
        /// In which directory.
        parent: DirId,
        /// The whole path.
        place: EntryPath,
        /// Its number in the tree.
        inode: InodeId,
        /// What; never a directory nor a hard link.
        kind: EntryKind,
        /// Its attributes.
        meta: Meta,
    },
    /// Give an inode of this layer another name.
    Link {
        /// Which.
        inode: InodeId,
        /// The directory and path of a name that it has.
        source: (DirId, EntryPath),
        /// The directory of the new one.
        parent: DirId,
        /// Its whole path.
        place: EntryPath,
        /// The time of its entry; `None` for a name that a copied-up file has below.
        time: Option<Time>,
    },
    /// Leave out a hard link to something that was left out (rule H3): see
    /// [`Layer::leave_out`](super::apply::Layer::leave_out).
    LeaveOut {
        /// In which directory.
        parent: DirId,
        /// The whole path.
        place: EntryPath,
        /// The time of the entry.
        time: Time,
    },
    /// Copy a file from the layers below (rule H2).
    CopyUp {
        /// In which directory.
        parent: DirId,
        /// The whole path, the same below.
        place: EntryPath,
        /// Its number in the tree.
        inode: InodeId,
        /// The directory that has it below.
        from: PlaceId,
        /// What it is.
        kind: InodeKind,
        /// Its attributes.
        meta: Meta,
    },
}
