//! Formats, byte by byte: what the archive reader and the decoders make of archives that honest
//! and dishonest writers leave. Nothing here needs privilege, or touches more than memory.

#[path = "support/start.rs"]
mod start;
#[path = "support/tarball.rs"]
mod tarball;

#[path = "formats/blobs.rs"]
mod blobs;
#[path = "formats/codec.rs"]
mod codec;
#[path = "formats/damage.rs"]
mod damage;
#[path = "formats/differential.rs"]
mod differential;
#[path = "formats/digest.rs"]
mod digest;
#[path = "formats/gnu_tar.rs"]
mod gnu_tar;
#[path = "formats/image_names.rs"]
mod image_names;
#[path = "formats/long_names.rs"]
mod long_names;
#[path = "formats/members.rs"]
mod members;
#[path = "formats/names.rs"]
mod names;
#[path = "formats/not_tar.rs"]
mod not_tar;
#[path = "formats/numbers.rs"]
mod numbers;
#[path = "formats/pax.rs"]
mod pax;
#[path = "formats/read.rs"]
mod read;
#[path = "formats/reads.rs"]
mod reads;
#[path = "formats/sparse.rs"]
mod sparse;
#[path = "formats/tar_crate.rs"]
mod tar_crate;
#[path = "formats/truncation.rs"]
mod truncation;
#[path = "formats/verity.rs"]
mod verity;
#[path = "formats/writer.rs"]
mod writer;
