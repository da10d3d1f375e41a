//! What a finished layer directory holds, name by name: written beside it, so that [`crate::store::verify`]
//! can say which path was changed, and how.
//!
//! [`crate::store::pipeline`] writes it when a layer is settled, from the disk and from the digests that
//! were made while the files were written. It is `tree.zst` in the store: one JSON object a line
//! ([`Node`]), in the order of [`EntryPath`](crate::path::EntryPath), compressed with zstd. The
//! SHA-256 of the lines is the tree digest in `layer.json`: the same layer over the same layers has
//! the same one on every machine.

mod file;
mod node;
mod text;
mod walk;

pub use file::{Reader, write};
pub use node::Node;
pub use text::{Shown, Text};
pub use walk::Walk;
