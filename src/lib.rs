//! placeholder
#![forbid(unsafe_code)]
pub mod archive;
pub mod codec;
pub mod dialect;
pub mod digest;
pub mod error;
pub mod image;
pub mod lower;
pub mod meta;
pub mod mount;
pub mod path;
pub mod pipeline;
pub mod root;
pub mod settle;
pub mod stack;
pub mod store;
pub mod unpack;
pub mod whiteout;
pub use error::{Error, Kind, Result};
