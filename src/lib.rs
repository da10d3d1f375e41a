//! `lowerdir` turns the layers of an OCI or Docker image into directories that one overlay mount
//! can stack.
//!
//! A layer is a tar archive whose deletions are files named `.wh.NAME`; overlayfs wants 0:0
//! character devices and `trusted.overlay.opaque` instead. This crate unpacks each layer into a
//! directory of its own, in the spelling of overlayfs, so that the mounted stack is exactly the
//! image: wherever the markers stand in a layer, in whatever order the layers are processed, and with any
//! number of threads.
//!
//! # Example
//!
//! The whole trip, as root:
//!
//! ```no_run
//! use lowerdir::{Image, Reference, Store};
//!
//! let image = Image::open(&Reference::parse("alpine.tar")?)?;
//! let store = Store::open("/var/lib/lowerdir")?;
//! let stack = store.unpack(&image).jobs(4).run()?;
//! stack.mount("/mnt")?;
//! # Ok::<(), lowerdir::Error>(())
//! ```
//!
//! One layer from any [`Read`](std::io::Read), over another, without privilege:
//!
//! ```
//! use lowerdir::{Blob, Options, unpack_layer};
//! # fn layer(name: &str) -> std::io::Result<std::io::Cursor<Vec<u8>>> {
//! #     let mut archive = tar::Builder::new(Vec::new());
//! #     let mut header = tar::Header::new_gnu();
//! #     header.set_mode(0o644);
//! #     header.set_size(0);
//! #     archive.append_data(&mut header, name, std::io::empty())?;
//! #     Ok(std::io::Cursor::new(archive.into_inner()?))
//! # }
//! # let place = tempfile::tempdir()?;
//! # let (base, top) = (place.path().join("base"), place.path().join("top"));
//!
//! let options = Options::rootless(place.path())?;
//! let blob = Blob::from_reader(layer("etc/motd")?)?;
//! unpack_layer(&blob, &base).lowest().options(options.clone()).run()?;
//!
//! // `.wh.motd` deletes the file.
//! let blob = Blob::from_reader(layer("etc/.wh.motd")?)?;
//! let (report, _) = unpack_layer(&blob, &top).parents([&base]).options(options).run()?;
//! assert_eq!(report.deletions, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The tour
//!
//! ```text
//!   image      an OCI layout or a Docker archive: which layers, what digests, where the bytes are
//!     │
//!     │ several threads for each layer, layers in any order            store::pipeline
//!     ▼
//!   compress   gzip, zstd, xz or plain; both digests on the way
//!   tar        blocks -> entries
//!   layer      entries -> actions: what each makes, replaces or links
//!   unpack     actions -> a directory, and a Pending: what only the layers below can tell
//!     │
//!     │ one after another, bottom to top                               store::pipeline
//!     ▼
//!   overlay    what the finished layers below show, merged
//!   layer      a plan: whiteouts, opaque marks, attributes of directories
//!   unpack     settle: the plan carried out
//!     │
//!     ▼
//!   store      verified, on disk, renamed to the chain ID: whole or absent
//!   mount      the directories in order; fsopen and lowerdir+, or mount(2) and short names
//!   engines    what other programs run: bundles, stores of Podman and CRI-O, mount stacks
//! ```
//!
//! The folders are the architecture. Each imports only those above it in this table:
//!
//! | folder | holds |
//! |---|---|
//! | `setters`, `escape`, `error`, `path`, `meta`, `ids`, `dialect`, `digest`, `content`, `canonical`, `limits`, `chunk`, `threads`, `magic`, `copy` | small types that every folder needs |
//! | `tar` | archive bytes to entries, and back; no semantics |
//! | `compress` | gzip, zstd, xz, and digests on the way |
//! | `layer` | the translation rules, decided once for all sinks: entries in, actions out, then a plan; pure |
//! | `progress` | what long work reports, and how it is asked to stop |
//! | `fs` | the callers of the kernel for files: directories by descriptor, files that appear complete |
//! | `overlay` | how overlayfs spells a layer, what a stack of directories shows, which mounts use a directory |
//! | `image` | references, manifests, layers and blobs |
//! | `unpack` | one layer into its directory, then settled against those below |
//! | `store` | layers by chain ID, whole or absent; scheduling, listings, verification, removal |
//! | `mount` | a stack of layers, mounted or printed |
//! | `view` | an image without unpacking it: listings, differences, flattening |
//! | `repack` | the way back: pack, translate, convert; layouts that are written to |
//! | `engines` | bundles for OCI runtimes, exports for Podman, CRI-O, systemd, composefs, mtree |
//! | `snapshotter` | with the feature `containerd`: what `lowerdir-snapshotter` serves; nothing else is asynchronous |
//! | `cli` | with the feature `cli`: the program, one function for each verb; text or JSON, progress, signals |
//!
//! `cli` holds no rule of translation, and nothing else prints.
//!
//! What holds everywhere: names are bytes until they are shown; a file is reached through the
//! descriptor of its directory, never through a path that an image could bend; errors say what was
//! being done to which layer and path ([`Error`]); a directory has its final name only once it is
//! complete.
//!
//! Comments cite the translation rules by number (W1, O3, ...); [`rules`] defines them. There is no
//! unsafe code.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod canonical;
mod chunk;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod compress;
mod content;
mod copy;
mod dialect;
mod digest;
pub mod engines;
mod error;
mod escape;
mod fs;
pub mod ids;
pub mod image;
// Without it, `make check` looks whether every type of a public signature can be named.
#[cfg(not(lowerdir_surface))]
#[doc(hidden)]
pub mod internals;
mod layer;
mod limits;
mod magic;
pub mod meta;
pub mod mount;
mod overlay;
pub mod path;
mod progress;
pub mod repack;
#[doc = include_str!("../docs/rules.md")]
pub mod rules {}
mod setters;
#[cfg(feature = "containerd")]
pub mod snapshotter;
pub mod store;
mod tar;
mod threads;
mod unpack;
pub mod view;

/// The choices in how a layer is translated.
pub mod options {
    pub use crate::dialect::{Dialect, Namespace, Whiteout};
    pub use crate::layer::options::{DeviceZero, ForeignXattrs, Options, OverlayXattrs, Owners};
}

/// What was done with a layer, and what could not be.
pub mod report {
    pub use crate::layer::report::{Occurrences, Report, Warning};
}

pub use digest::Digest;
pub use error::{Advice, Error, Hint, Kind, Result};
pub use image::{Blob, Image, Platform, Reference};
pub use limits::Limits;
pub use options::{Options, Owners};
pub use progress::{Progress, Silent};
pub use store::pipeline::{Parents, Run};
pub use store::stack::Stack;
pub use store::unpack::{Unpack, UnpackLayer, unpack_layer};
pub use store::{Store, Sync};
