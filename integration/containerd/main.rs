//! `lowerdir-snapshotter` as a plugin of Debian's containerd: images that are imported, pulled and
//! run, while processes are killed.
//!
//! Needs root and the programs of `install-peers.sh`; `make integration` runs this target. Each test
//! has a containerd of its own, in a mount and a PID namespace: nothing of it outlives the test.

support::start!();

use support::skip::skip;
use support::{oci, tarball};

mod cri;
mod image;
mod kills;
mod node;
mod pulls;
mod runs;
mod snapshots;
