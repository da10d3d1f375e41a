//! What the test targets of `tests/` and `integration/` share: how a test process starts, the builders
//! of layers and images, the reference model, and random stacks.
//!
//! Nothing here needs the product, so that what is expected does not come from what is tested.

pub mod canary;
pub mod dice;
pub mod generate;
pub mod granted;
pub mod layer;
pub mod layout;
pub mod model;
pub mod oci;
pub mod sample;
pub mod skip;
pub mod start;
pub mod tarball;
pub mod touched;

/// For [`start!`].
#[doc(hidden)]
pub use ctor;
