//! What the product does together with a real kernel and real peers.
//!
//! Needs root, mounts and the programs it compares with; `make integration` brings them, and runs
//! this target, which is no part of a plain `cargo test`.
//!
//! A test that cannot run here finds that out by trying, says why and passes. Under `STRICT=1`,
//! as in CI, it fails instead.
//!
//! The strongest test is [`property`]: random images, unpacked, mounted, walked and compared with
//! an in-memory [`model`] that knows nothing of overlayfs.

mod agreement;
mod bench;
mod bundles;
mod converting;
mod crash;
#[path = "../tests/support/dice.rs"]
mod dice;
mod engines;
mod exporting;
mod flattening;
mod generate;
mod hints;
mod id_maps;
mod images;
mod kernel;
#[allow(dead_code)]
#[path = "../tests/cli/layout.rs"]
mod layout;
mod looking;
mod media;
mod model;
mod mounts;
mod namespace;
#[path = "../tests/support/oci.rs"]
mod oci;
mod outputs;
mod overlay_xattrs;
mod own_mounts;
mod packing;
mod producers;
mod property;
mod readme;
mod root_rules;
mod rootless;
mod runc;
mod runtimes;
mod scenarios;
mod scratch;
mod skip;
#[path = "../tests/support/start.rs"]
mod start;
#[path = "../tests/support/tarball.rs"]
mod tarball;
#[path = "../tests/support/touched.rs"]
mod touched;
mod translating;
mod umoci;
mod walk;
mod writing;

use skip::skip;
