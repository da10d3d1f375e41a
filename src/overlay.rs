//! How overlayfs spells a layer ([`crate::dialect`]), what a name on disk is to it ([`inspect`]), what a
//! stack of layer directories shows ([`merged_view`]), and which mounts a directory is part of (`overlays`).
//!
//! Source: kernel `Documentation/filesystems/overlayfs.rst`.

pub mod inspect;
pub mod merged_view;
pub(crate) mod overlays;
