//! Formats, byte by byte: what the archive reader and the decoders make of archives that honest
//! and dishonest writers leave. Nothing here needs privilege, or touches more than memory.

#[path = "support/tarball.rs"]
mod tarball;

#[path = "formats/codec.rs"]
mod codec;
#[path = "formats/names.rs"]
mod names;
#[path = "formats/numbers.rs"]
mod numbers;
#[path = "formats/pax.rs"]
mod pax;
#[path = "formats/read.rs"]
mod read;
#[path = "formats/sparse.rs"]
mod sparse;
#[path = "formats/tar_crate.rs"]
mod tar_crate;
#[path = "formats/truncation.rs"]
mod truncation;
