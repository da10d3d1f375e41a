//! What a name on disk means to overlayfs ([`inspect`], by [`crate::dialect`]), what a stack of layer
//! directories shows ([`merged_view`]), and which mounts use a directory (`overlays`).
//!
//! Source: kernel `Documentation/filesystems/overlayfs.rst`.

pub mod inspect;
pub mod merged_view;
pub(crate) mod overlays;
