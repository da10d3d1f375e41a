//! The command as its users see it: what it prints, its exit status, what its errors say, and
//! what it leaves behind. Nothing here needs privilege.

support::start!();

use support::{layout, oci, tarball, touched};

mod bench;

mod bundle;
mod choice;
mod damaged_ends;
mod differences;
mod documents;
mod entries;
mod errors;
mod exit_status;
mod exporting;
mod few_descriptors;
mod few_threads;
mod file_limit;
mod flat;
mod flattening;
mod hostile_names;
mod image_as_layer;
mod images;
mod in_store;
mod incomplete;
mod json;
mod kinds;
mod limits;
mod link_names;
mod looking;
mod manual;
mod not_tar;
mod outputs;
mod print;
mod refusals;
mod remove;
mod reverse;
mod reverse_images;
mod rootless;
mod sharing;
mod sparse_archives;
mod stack;
mod store;
mod store_format;
mod stores;
mod streams;
mod system_faults;
mod terminal;
mod transcripts;
mod unpack_layer;
mod unusual_archives;
mod verification;
mod verify;
