//! What `lowerdir-snapshotter` answers, without containerd, without privilege and without a mount.
//!
//! [`model`] compares it with a model of what containerd documents; the rest has a test for each
//! rule. What containerd itself does with it is in `integration/containerd`.

support::start!();

use support::{dice, oci, tarball};

mod place;

mod content;
mod filters;
mod full_disk;
mod grpc;
mod kills;
mod layers;
mod lost;
mod model;
mod races;
mod root_format;
mod shapes;
mod socket;
