//! Threads with names, for whoever looks at the process; where the system has no more of them, that
//! is an error and not a panic.
//!
//! Whoever works on several threads starts them here. Pure but for that.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::error::{Error, Operation, Result};

/// Starts a thread in a scope. The system shows at most 15 bytes of its name.
///
/// Errors: the system has no more threads.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().name(name.into()).spawn_scoped(scope, work);
    started.map_err(|error| {
        Error::system(format!("starting a thread to {name}"), error).during(Operation::StartThread)
    })
}
