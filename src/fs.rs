//! Files by way of the kernel: directories by descriptor ([`root`]), files that appear complete
//! ([`newfile`]), the mount at a place (`table`).
//!
//! Nothing here knows of images or of overlayfs.

pub mod newfile;
pub mod root;
pub(crate) mod table;
