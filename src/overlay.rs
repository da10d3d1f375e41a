//! How overlayfs spells a layer ([`crate::dialect`]), what a stack of layer directories shows ([`lower`]), and
//! which mounts a directory is part of (`overlays`).
//!
//! Source: kernel `Documentation/filesystems/overlayfs.rst`.

pub use crate::dialect;

pub mod lower;
pub(crate) mod overlays;
