//! What the test targets of `tests/` and `integration/` share: how a test process starts and runs the
//! program, the builders of layers and images, the reference model, and random stacks.
//!
//! Nothing here needs the product, so that what is expected does not come from what is tested.

pub mod canary;
pub mod dice;
pub mod directory;
pub mod generate;
pub mod granted;
pub mod layout;
pub mod model;
pub mod oci;
pub mod program;
pub mod reference;
pub mod sample;
pub mod skip;
pub mod start;
pub mod tarball;
pub mod touched;

/// For [`start!`].
#[doc(hidden)]
pub use ctor;
