//! The kernel's calls for files: directories by descriptor ([`root`], [`dir_tree`], [`dir_cache`]), files
//! that appear complete ([`newfile`]), the mount on a directory (`table`), and the limit on open files
//! ([`descriptors`]).
//!
//! Nothing here knows of images or of overlayfs.

pub mod descriptors;
pub mod dir_cache;
pub mod dir_tree;
pub mod newfile;
pub mod root;
pub(crate) mod table;
