//! What the tests, the benchmarks, the fuzz targets and the second program of this project use of the
//! inside.
//!
//! Nothing here is part of the public API: it may change or go in any version.

pub use crate::chunk::Chunks;
pub use crate::compress::codec::{Decoder, LayerReader};
pub use crate::digest::{Hasher, HashingReader, chain_id};
pub use crate::engines::export::verity::Verity;
pub use crate::escape::controls;
pub use crate::fs::root::Dir;
pub use crate::layer::below::Below;
pub use crate::layer::lower::Lower;
pub use crate::layer::marker::Marker;
pub use crate::overlay::merged_view::{DirectoryId, MergedView, Seen};
pub use crate::tar::archive::{Archive, Entry, EntryKind};
pub use crate::tar::writer::{Writer, stored};
pub use crate::threads::ThreadBudget;
pub use crate::unpack::settle::settle;
pub use crate::unpack::{Pending, unpack};

/// Whether an xattr belongs to another system or to one file system (rule X2).
pub fn is_foreign_xattr(name: &[u8]) -> bool {
    crate::meta::is_foreign_xattr(name)
}

/// What only `lowerdir-snapshotter` and its tests use.
#[cfg(feature = "containerd")]
pub mod snapshotter {
    pub use crate::snapshotter::failure::hint;
    pub use crate::snapshotter::service::Service;

    /// The part of containerd's interface that it serves.
    pub mod api {
        pub use crate::snapshotter::api::*;
    }
}
