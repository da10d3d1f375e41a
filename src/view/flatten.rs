//! An image as one tree, written out: into a directory, or as one tar archive. Everything is there
//! once; what a layer hides is never written.
//!
//! The order of things is that of the paths, so the same tree gives the same bytes, however it was
//! cut into layers. [`View::read`](crate::view::View::read) has decided what wins; the blobs are
//! then read once more, from the lowest layer to the topmost, for just that content. No mount is
//! made, and the store is not used.
//!
//! `lowerdir flatten` calls it, and changes the tree before by [`Edits`]. For an image of one layer
//! it writes the archive into a [`Layout`](crate::repack::layout::Layout).

mod archive;
mod directory;
mod edits;
mod ids;
mod spool;

pub use archive::write_archive;
pub use directory::write_directory;
pub use edits::{Edits, RootMeta};
pub use ids::map_ids;
