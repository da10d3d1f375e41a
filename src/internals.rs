//! What the tests, the benchmarks and the fuzz targets of this project use of the inside.
//!
//! Nothing here is part of the public API: it may change or go in any version.

pub use crate::chunk::Chunks;
pub use crate::compress::codec::{Decoder, LayerReader};
pub use crate::digest::{Algorithm, Hasher, HashingReader, chain_id};
pub use crate::engines::export::Verity;
pub use crate::escape::{controls, from_display};
// Nothing uses it yet.
pub use crate::fs::dir_cache;
pub use crate::fs::root::Dir;
// Nothing uses it yet.
pub use crate::layer::lower;
pub use crate::layer::whiteout::Marker;
pub use crate::meta::is_foreign_xattr;
pub use crate::overlay::lower::{Below, Found, LowerView};
pub use crate::tar::archive::{Archive, Entry, EntryKind, Extent, FileShape};
pub use crate::tar::writer::{Writer, stored};
pub use crate::unpack::settle::settle;
pub use crate::unpack::{Pending, unpack};
