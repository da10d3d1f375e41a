//! The translation rules, one by one: what a layer becomes on disk, seen without a mount.
//!
//! Nothing here needs privilege, and root gets the same results. Each test is named after its
//! rule (N1 to S3); what only root can see is in `integration/root_rules.rs`, what the kernel makes
//! of the directories in the rest of `integration/`.

support::start!();

use support::{oci, tarball};

mod layer_dir;
mod place;

mod containment;
mod ids;
mod implied;
mod links;
mod names;
mod opaque;
mod order;
mod removal;
mod special;
mod threads;
mod times_and_modes;
mod whiteouts;
mod xattrs;
