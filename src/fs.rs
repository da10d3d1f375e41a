//! The kernel's calls for files: directories by descriptor ([`root`], [`dir_tree`], [`dir_cache`]), files
//! that appear complete ([`atomic_file`]), the mount on a directory (`table`), and the limit on open files
//! ([`descriptors`]).
//!
//! Nothing here knows of images or of overlayfs.

pub mod atomic_file;
pub mod descriptors;
pub mod dir_cache;
pub mod dir_tree;
pub mod root;
pub(crate) mod table;
