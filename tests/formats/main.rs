//! Formats, byte by byte: what the archive reader and the decoders make of archives that honest
//! and dishonest writers leave. Nothing here needs privilege, or touches more than memory.

support::start!();

use support::tarball;

mod blobs;
mod codec;
mod damage;
mod differential;
mod digest;
mod gnu_tar;
mod image_names;
mod long_names;
mod members;
mod names;
mod not_tar;
mod numbers;
mod pax;
mod read;
mod reads;
mod sparse;
mod tar_crate;
mod truncation;
mod verity;
mod writer;
