//! The way back and across: an upperdir into a layer ([`pack`](mod@pack)), a layer from one form into the
//! other, as an archive ([`translate`]) or as a directory ([`convert`](mod@convert)); and OCI layouts that are
//! written to ([`layout`]).

pub mod convert;
pub mod layout;
pub mod pack;
pub mod translate;

pub use crate::compress::encoder::Compression;
