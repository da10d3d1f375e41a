//! What is fuzzed, and what must hold: one function for each target, which panics if it does not.
//!
//! This file is the library of the fuzz crate beside it, which cargo-fuzz builds (`make fuzz`), and
//! a test of the product, which calls the same functions on every file of `corpus/` without it.

#[cfg(test)]
support::start!();

use support::{canary, dice, generate, model, oci, tarball};

mod almost;
pub mod archive;
pub mod codec;
#[cfg(test)]
mod corpus;
pub mod stack;
pub mod unpack;
