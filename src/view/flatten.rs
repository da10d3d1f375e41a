//! Writes an image as one tree, to a directory or as one tar archive. Every file is written once; files
//! that a later layer hides are never written.
//!
//! The order is that of the paths, so the same tree gives the same bytes, however it is split into layers.
//! [`View::read`](crate::view::View::read) decides what the tree has; then the blobs are read again, from
//! the lowest layer to the topmost, for its content. It needs no mount and no store.
//!
//! Called by `lowerdir flatten`, after [`Edits`] to the tree. For an image of one layer, the archive goes
//! to a [`Layout`](crate::repack::layout::Layout).

mod archive;
mod directory;
mod edits;
mod ids;
mod spool;

pub use archive::write_archive;
pub use directory::write_directory;
pub use edits::{Edits, RootMeta};
pub use ids::map_ids;
