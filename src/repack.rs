//! The way back: turns an upperdir into a layer ([`pack`](mod@pack)), converts a layer between forms, as an
//! archive ([`translate`]) or as a directory ([`convert`](mod@convert)), and writes OCI layouts
//! ([`layout`]).

pub mod convert;
pub mod layout;
pub mod pack;
pub mod read_back;
pub mod translate;

pub use crate::compress::encoder::Compression;
