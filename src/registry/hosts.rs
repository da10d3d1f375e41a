//! `Hosts`: the clients of all places where a repository is asked for, and which of them is asked now.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Result;

use super::access::Access;
use super::client::Client;
use super::endpoints;
use super::name::Name;

/// Mirrors, and at last the registry.
#[derive(Debug)]
pub struct Hosts {
    clients: Vec<Client>,
    current: AtomicUsize,
}

impl Hosts {
    /// Errors: as of [`endpoints::of`]; a certificate cannot be read.
    pub fn new(name: &Name, access: &Access) -> Result<Hosts> {
        let endpoints = endpoints::of(name)?;
        let (registry, mirrors) = endpoints.split_last().expect("the registry is one");
        let of_mirrors = access.for_mirror();
        let clients = mirrors
            .iter()
            .map(|mirror| Client::new(mirror, &of_mirrors))
            .chain([Client::new(registry, access)]);
        Ok(Hosts {
            clients: clients.collect::<Result<_>>()?,
            current: AtomicUsize::new(0),
        })
    }

    /// The one to ask now.
    pub fn client(&self) -> &Client {
        &self.clients[self.current.load(Ordering::Relaxed)]
    }

    /// Asks the next one from now on, after this one failed: whether there is one. Another thread may have moved on.
    pub fn next(&self, failed: &Client) -> bool {
        let index = self
            .clients
            .iter()
            .position(|client| std::ptr::eq(client, failed));
        let next = index.map_or(0, |index| index + 1);
        self.current
            .fetch_max(next.min(self.clients.len() - 1), Ordering::Relaxed);
        next < self.clients.len()
    }
}
