//! Tar archives: bytes to entries ([`archive`]) and entries to bytes ([`writer`]).
//!
//! Nothing here knows what an entry means to an image or to overlayfs, and nothing opens a file.
//! Format: POSIX.1-2017 `pax` and the GNU tar manual.

pub mod archive;
pub mod writer;
