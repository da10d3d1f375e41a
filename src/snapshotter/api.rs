//! containerd's API as messages and a service: what `make proto` made of `tests/proto/*.proto`.
//! Nobody edits it; [`super::service`] answers it, and the tests call it.

#![allow(missing_docs, clippy::pedantic, rustdoc::all)]

/// `containerd.types`.
pub mod types {
    include!("api/types.in");
}

/// `containerd.services.snapshots.v1`.
pub mod services {
    /// The snapshots service.
    pub mod snapshots {
        /// Its first version, and the only one.
        pub mod v1 {
            include!("api/snapshots.in");
        }
    }
}
