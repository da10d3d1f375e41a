//! The translation rules: what the entries of a layer mean, decided once for all sinks.
//!
//! Every entry goes through [`intake`], then through [`apply`], which resolves its path and returns the
//! actions for it ([`action::Action`]). After the last entry, [`plan`] adds what the markers require.
//! [`crate::unpack`], [`crate::repack::translate`] and [`crate::view`] are sinks: they carry out actions
//! and decide nothing. [`lower::Lower`] answers what the layers below show.
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
