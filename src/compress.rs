//! Compression: gzip, zstd and xz, recognised and undone ([`codec`]) or made ([`encoder`]), with the
//! digests of what passes.
//!
//! Nothing here knows of archives.

pub mod codec;
pub mod encoder;
