//! Compression: gzip, zstd and xz, decoded ([`codec`]) or encoded ([`encoder`]), with digests computed on
//! the way.
//!
//! Nothing here knows of archives.

pub mod codec;
pub mod encoder;
