//! What the tests, the benchmarks and the fuzz targets of this project use of the inside.
//!
//! Nothing here is part of the public API: it may change or go in any version.

pub use crate::chunk::Chunks;
pub use crate::compress::codec::{Decoder, LayerReader};
pub use crate::digest::{Hasher, HashingReader, chain_id};
pub use crate::engines::export::Verity;
pub use crate::escape::{controls, from_display};
pub use crate::fs::root::Dir;
pub use crate::layer::below::Below;
pub use crate::layer::lower::Lower;
pub use crate::layer::marker::Marker;
pub use crate::meta::is_foreign_xattr;
pub use crate::overlay::merged_view::{DirectoryId, MergedView, Seen};
pub use crate::tar::archive::{Archive, Entry, EntryKind};
pub use crate::tar::writer::{Writer, stored};
pub use crate::threads::ThreadBudget;
pub use crate::unpack::settle::settle;
pub use crate::unpack::{Pending, unpack};
