//! `lowerdir` turns the layers of an OCI or Docker image into directories that one overlay mount
//! can stack.
//!
//! A layer is a tar archive whose deletions are files named `.wh.NAME`; overlayfs wants 0:0
//! character devices and `trusted.overlay.opaque` instead. This crate unpacks each layer into a
//! directory of its own, in the spelling of overlayfs, so that the mounted stack is exactly the
//! image: whatever the order of the entries, of the layers, or of the threads.
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
//!   unpack     entries -> a directory, and a Pending: what only the layers below can tell
//!     │
//!     │ one after another, bottom to top                               store::pipeline
//!     ▼
//!   overlay    what the finished layers below show, merged
//!   unpack     settle: whiteouts, opaque marks, attributes of directories
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
//! | [`escape`], [`error`], [`path`], [`meta`], [`ids`], [`digest`], [`content`], [`limits`], [`chunk`], [`threads`], [`magic`], `copy` | small types that every folder needs |
//! | [`tar`] | archive bytes to entries, and back; no semantics |
//! | [`compress`] | gzip, zstd, xz, and digests on the way |
//! | [`layer`] | the translation rules that are pure: markers, paths through links, the tree of a layer |
//! | [`progress`] | what long work reports, and how it is asked to stop |
//! | [`fs`] | the callers of the kernel for files: directories by descriptor, files that appear complete |
//! | [`overlay`] | how overlayfs spells a layer, what a stack of directories shows, which mounts use a directory |
//! | [`image`] | references, manifests, layers and blobs |
//! | [`unpack`] | one layer into its directory, then settled against those below |
//! | [`store`] | layers by chain ID, whole or absent; scheduling, listings, verification, removal |
//! | [`mount`] | a stack of layers, mounted or printed |
//! | [`view`] | an image without unpacking it: listings, differences, flattening |
//! | [`repack`] | the way back: pack, translate, convert; layouts that are written to |
//! | [`engines`] | bundles for OCI runtimes, exports for Podman, CRI-O, systemd, composefs, mtree |
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
//!
//! # Example
//!
//! A layer that deletes a file, over the layer that has it, without privilege:
//!
//! ```
//! use std::io::Write;
//! use std::path::PathBuf;
//!
//! use lowerdir::compress::codec::Expected;
//! use lowerdir::overlay::dialect::{Dialect, Namespace};
//! use lowerdir::image::Blob;
//! use lowerdir::store::Sync;
//! use lowerdir::{Options, Owners, Parents, Run, unpack_layer};
//!
//! fn layer(name: &str) -> Result<Blob, Box<dyn std::error::Error>> {
//!     let mut archive = tar::Builder::new(tempfile::tempfile()?);
//!     let mut header = tar::Header::new_gnu();
//!     header.set_mode(0o644);
//!     header.set_size(0);
//!     archive.append_data(&mut header, name, std::io::empty())?;
//!     let mut file = archive.into_inner()?;
//!     file.flush()?;
//!     Ok(Blob::of_file(file)?)
//! }
//!
//! let place = tempfile::tempdir()?;
//! let (base, top) = (place.path().join("base"), place.path().join("top"));
//! let options = Options {
//!     dialect: Dialect { namespace: Namespace::User, ..Dialect::default() },
//!     owners: Owners::Caller,
//!     ..Options::default()
//! };
//! let unpack = |name, directory, parents: &[PathBuf]| {
//!     let (blob, expected) = (layer(name)?, Expected::default());
//!     let parents = Parents::Known(parents.to_vec());
//!     let run = Run { sync: Sync::None, ..Run::default() };
//!     let done = unpack_layer(&blob, &expected, directory, &parents, &options, run)?;
//!     Ok::<_, Box<dyn std::error::Error>>(done)
//! };
//! unpack("etc/motd", &base, &[])?;
//! let (report, _) = unpack("etc/.wh.motd", &top, &[base.clone()])?;
//!
//! assert_eq!(report.deletions, 1);
//! let whiteout = std::fs::symlink_metadata(top.join("etc/motd"))?;
//! assert!(std::os::unix::fs::FileTypeExt::is_char_device(&whiteout.file_type()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod chunk;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod compress;
pub mod content;
mod copy;
pub mod dialect;
pub mod digest;
pub mod engines;
pub mod error;
pub mod escape;
pub mod fs;
pub mod ids;
pub mod image;
pub mod layer;
pub mod limits;
pub mod magic;
pub mod meta;
pub mod mount;
pub mod overlay;
pub mod path;
pub mod progress;
pub mod repack;
#[doc = include_str!("../docs/rules.md")]
pub mod rules {}
#[cfg(feature = "containerd")]
pub mod snapshotter;
pub mod store;
pub mod tar;
pub mod threads;
pub mod unpack;
pub mod view;

pub use error::{Error, Kind, Result};
pub use image::{Image, Platform, Reference};
pub use limits::Limits;
pub use mount::stack::Stack;
pub use progress::{Progress, Silent};
pub use store::Store;
pub use store::pipeline::{Parents, Run, unpack_image, unpack_layer};
pub use unpack::{Options, Owners};
