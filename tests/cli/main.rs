//! The command as its users see it: what it prints, its exit status, what its errors say, and
//! what it leaves behind. Nothing here needs privilege.

support::start!();

use support::{layout, oci, tarball, touched};

mod bench;

mod bundle;
mod convert;
mod damaged_ends;
mod diff;
mod digests;
mod dir_images;
mod errors;
mod exit_status;
mod export;
mod few_descriptors;
mod few_threads;
mod file_limit;
mod flatten;
mod hostile_names;
mod image_as_layer;
mod image_choice;
mod image_documents;
mod image_formats;
mod images_rm_prune;
mod incomplete;
mod index_entries;
mod inspect;
mod json_output;
mod json_reference;
mod kinds;
mod limits;
mod link_names;
mod ls;
mod manual;
mod mount_print;
mod new_images;
mod no_store;
mod not_tar;
mod one_store_at_once;
mod outputs;
mod pack;
mod read_back;
mod refusals;
mod rootless;
mod screen;
mod several_stores;
mod sparse_archives;
mod stack;
mod standard_output;
mod store;
mod store_format;
mod streams;
mod system_faults;
mod terminal;
mod transcripts;
mod translate;
mod unpack_layer;
mod unusual_archives;
mod verify;
mod writes_in_store;
