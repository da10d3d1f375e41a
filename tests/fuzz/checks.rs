//! What is fuzzed, and what must hold: one function for each target, which panics if it does not.
//!
//! This file is the library of the fuzz crate beside it, which cargo-fuzz builds (`make fuzz`), and
//! a test of the product, which calls the same functions on every file of `corpus/` without it.

#[path = "almost.rs"]
mod almost;
#[path = "archive.rs"]
pub mod archive;
#[path = "../support/canary.rs"]
mod canary;
#[path = "codec.rs"]
pub mod codec;
#[cfg(test)]
#[path = "corpus.rs"]
mod corpus;
#[path = "../support/dice.rs"]
mod dice;
#[cfg(test)]
#[path = "../support/start.rs"]
mod start;
// The fuzz crate needs a part of it only.
#[allow(dead_code)]
#[path = "../../integration/generate.rs"]
mod generate;
// The fuzz crate needs a part of it only.
#[allow(dead_code)]
#[path = "../../integration/model.rs"]
mod model;
#[path = "../support/oci.rs"]
mod oci;
#[path = "stack.rs"]
pub mod stack;
#[path = "../support/tarball.rs"]
mod tarball;
#[path = "unpack.rs"]
pub mod unpack;
