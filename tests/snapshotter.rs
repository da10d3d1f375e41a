//! What `lowerdir-snapshotter` answers, without containerd, without privilege and without a mount.
//!
//! [`model`] compares it with a model of what containerd documents; the rest has a test for each
//! rule. What containerd itself does with it is in `integration/containerd.rs`.

#[path = "support/dice.rs"]
mod dice;
#[path = "support/oci.rs"]
mod oci;
#[path = "support/start.rs"]
mod start;
#[path = "support/tarball.rs"]
mod tarball;

#[path = "snapshotter/place.rs"]
mod place;

#[path = "snapshotter/content.rs"]
mod content;
#[path = "snapshotter/filters.rs"]
mod filters;
#[path = "snapshotter/full_disk.rs"]
mod full_disk;
#[path = "snapshotter/grpc.rs"]
mod grpc;
#[path = "snapshotter/kills.rs"]
mod kills;
#[path = "snapshotter/layers.rs"]
mod layers;
#[path = "snapshotter/lost.rs"]
mod lost;
#[path = "snapshotter/model.rs"]
mod model;
#[path = "snapshotter/races.rs"]
mod races;
#[path = "snapshotter/shapes.rs"]
mod shapes;
#[path = "snapshotter/socket.rs"]
mod socket;
