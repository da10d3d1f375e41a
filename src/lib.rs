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
//!
//! # More
//!
//! [`guide`] shows what the library does, task by task; [`tour`] how it is built; [`rules`] defines the translation
//! rules, which comments cite by number (W1, O3, ...).

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
#[cfg(feature = "registry")]
mod registry;
pub mod repack;
#[doc = include_str!("../docs/library.md")]
pub mod guide {}
#[doc = include_str!("../docs/rules.md")]
pub mod rules {}
#[doc = include_str!("../docs/internals.md")]
pub mod tour {}
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
