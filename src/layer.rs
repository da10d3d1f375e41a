//! The translation rules: what the entries of a layer mean, decided once for all sinks.
//!
//! Every entry goes through [`intake`], then through [`apply`], which gives it a place and says what to do
//! ([`action::Action`]); when all are in, [`plan`] says what the layer needs besides. [`crate::unpack`],
//! [`crate::repack::translate`] and [`crate::view`] are sinks: they carry that out and decide nothing.
//! What the layers below show is asked through [`lower::Lower`].
//!
//! Pure: no descriptor and no system call. `docs/rules.md` defines the rules by number.

pub mod action;
pub mod apply;
pub mod below;
pub mod intake;
mod links;
pub mod lower;
pub mod marker;
pub mod options;
pub mod own_directories;
mod places;
pub mod plan;
pub mod report;
pub mod tree;
pub mod walk;
pub mod xattrs;
