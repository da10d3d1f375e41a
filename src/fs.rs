//! Files by way of the kernel: directories by descriptor ([`root`], [`dir_tree`], [`dir_cache`]), files that
//! appear complete ([`newfile`]), the mount at a place (`table`), how many files may be open
//! ([`descriptors`]).
//!
//! Nothing here knows of images or of overlayfs.

pub mod descriptors;
pub mod dir_cache;
pub mod dir_tree;
pub mod newfile;
pub mod root;
pub(crate) mod table;
