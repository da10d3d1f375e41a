//! The translation rules, one by one: what a layer becomes on disk, seen without a mount.
//!
//! Nothing here needs privilege, and root gets the same results. Each test is named after its
//! rule (N1 to S3); what only root can see is in `integration/root_rules.rs`, what the kernel makes
//! of the directories in the rest of `integration/`.

#[path = "support/oci.rs"]
mod oci;
#[path = "support/start.rs"]
mod start;
#[path = "support/tarball.rs"]
mod tarball;

#[path = "rules/layer.rs"]
mod layer;
#[path = "rules/layer_dir.rs"]
mod layer_dir;
#[path = "rules/place.rs"]
mod place;

#[path = "rules/containment.rs"]
mod containment;
#[path = "rules/ids.rs"]
mod ids;
#[path = "rules/implied.rs"]
mod implied;
#[path = "rules/links.rs"]
mod links;
#[path = "rules/names.rs"]
mod names;
#[path = "rules/opaque.rs"]
mod opaque;
#[path = "rules/order.rs"]
mod order;
#[path = "rules/removal.rs"]
mod removal;
#[path = "rules/special.rs"]
mod special;
#[path = "rules/threads.rs"]
mod threads;
#[path = "rules/times_and_modes.rs"]
mod times_and_modes;
#[path = "rules/whiteouts.rs"]
mod whiteouts;
#[path = "rules/xattrs.rs"]
mod xattrs;
