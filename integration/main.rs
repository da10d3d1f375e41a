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

support::start!();

use support::skip::skip;
use support::{dice, generate, layout, model, oci, sample, tarball, touched};

mod agreement;
mod bench;
mod bundles;
mod completions;
mod converting;
mod crash;
mod engines;
mod exporting;
mod few_processes;
mod flattening;
mod hints;
mod id_maps;
mod images;
mod kernel;
mod listing;
mod marks;
mod mounts;
mod namespace;
mod outputs;
mod overlay_xattrs;
mod own_mounts;
mod packing;
mod pages;
mod producers;
mod property;
mod read_by_others;
mod read_only_media;
mod registries;
mod root_rules;
mod rootless;
mod runc;
mod runtimes;
mod scenarios;
mod scratch;
mod translating;
mod umoci;
mod walk;
