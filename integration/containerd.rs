//! `lowerdir-snapshotter` as a plugin of Debian's containerd: images that are imported, pulled and
//! run, while processes are killed.
//!
//! Needs root and the programs of `install-peers.sh`; `make integration` runs this target. Each test
//! has a containerd of its own, in a mount and a PID namespace: nothing of it outlives the test.

#[path = "containerd/cri.rs"]
mod cri;
#[path = "containerd/image.rs"]
mod image;
#[path = "containerd/kills.rs"]
mod kills;
#[path = "containerd/node.rs"]
mod node;
#[path = "containerd/pulls.rs"]
mod pulls;
#[path = "containerd/runs.rs"]
mod runs;
mod skip;
#[path = "containerd/snapshots.rs"]
mod snapshots;
#[path = "../tests/support/start.rs"]
mod start;

#[path = "../tests/support/oci.rs"]
mod oci;
#[path = "../tests/support/tarball.rs"]
mod tarball;

use skip::skip;
