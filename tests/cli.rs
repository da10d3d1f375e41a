//! The command as its users see it: what it prints, its exit status, what its errors say, and
//! what it leaves behind. Nothing here needs privilege.

#[path = "support/oci.rs"]
mod oci;
#[path = "support/start.rs"]
mod start;
#[path = "support/tarball.rs"]
mod tarball;
#[path = "support/touched.rs"]
mod touched;

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/layout.rs"]
mod layout;

#[path = "cli/bundle.rs"]
mod bundle;
#[path = "cli/choice.rs"]
mod choice;
#[path = "cli/damaged_ends.rs"]
mod damaged_ends;
#[path = "cli/differences.rs"]
mod differences;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/entries.rs"]
mod entries;
#[path = "cli/errors.rs"]
mod errors;
#[path = "cli/exit_status.rs"]
mod exit_status;
#[path = "cli/exporting.rs"]
mod exporting;
#[path = "cli/file_limit.rs"]
mod file_limit;
#[path = "cli/flat.rs"]
mod flat;
#[path = "cli/flattening.rs"]
mod flattening;
#[path = "cli/hostile_names.rs"]
mod hostile_names;
#[path = "cli/image_as_layer.rs"]
mod image_as_layer;
#[path = "cli/images.rs"]
mod images;
#[path = "cli/in_store.rs"]
mod in_store;
#[path = "cli/incomplete.rs"]
mod incomplete;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/kinds.rs"]
mod kinds;
#[path = "cli/limits.rs"]
mod limits;
#[path = "cli/link_names.rs"]
mod link_names;
#[path = "cli/looking.rs"]
mod looking;
#[path = "cli/not_tar.rs"]
mod not_tar;
#[path = "cli/outputs.rs"]
mod outputs;
#[path = "cli/print.rs"]
mod print;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/remove.rs"]
mod remove;
#[path = "cli/reverse.rs"]
mod reverse;
#[path = "cli/reverse_images.rs"]
mod reverse_images;
#[path = "cli/rootless.rs"]
mod rootless;
#[path = "cli/sharing.rs"]
mod sharing;
#[path = "cli/sparse_archives.rs"]
mod sparse_archives;
#[path = "cli/stack.rs"]
mod stack;
#[path = "cli/store.rs"]
mod store;
#[path = "cli/stores.rs"]
mod stores;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/system_faults.rs"]
mod system_faults;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/transcripts.rs"]
mod transcripts;
#[path = "cli/unpack_layer.rs"]
mod unpack_layer;
#[path = "cli/unusual_archives.rs"]
mod unusual_archives;
#[path = "cli/verification.rs"]
mod verification;
#[path = "cli/verify.rs"]
mod verify;
