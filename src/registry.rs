//! Images of a registry: documents by name or digest, and blobs that are read while they arrive.
//!
//! [`crate::image`] opens a [`Repository`] for `docker://`, asks it for manifests, and gets a [`Remote`] for each
//! layer and config. Nothing is fetched before it is asked for, and nothing is written but unnamed temporary files.
//! Source: distribution-spec, "Pulling manifests" and "Pulling blobs"; RFC 9110 for ranges, RFC 6750 for tokens.

mod access;
mod challenge;
mod client;
mod credentials;
mod endpoints;
mod fetch;
mod helper;
mod hosts;
mod name;
mod policy;
mod proxy;
mod queue;
mod redirect;
mod retry;
mod spool;
mod tls;
mod token;
mod transfer;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};

pub use access::Access;
pub use name::Name;
pub use queue::CONNECTIONS;
pub(crate) use spool::Spool;
pub use transfer::{Arriving, Remote};

use client::Client;
use hosts::Hosts;
use queue::Queue;
use retry::{Fault, Step};

/// The media types of manifests and indexes that are read.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A repository in a registry.
#[derive(Debug)]
pub struct Repository {
    hosts: Arc<Hosts>,
    queue: Arc<Queue>,
    spool: Spool,
    document_max: u64,
    /// The blobs that somebody has: two layers may have one.
    blobs: Mutex<BTreeMap<Digest, Weak<Remote>>>,
}

impl Repository {
    /// Fetches nothing yet. Blobs get unnamed files in the directory `spool`; a manifest has at most
    /// `document_max` bytes. Errors: the policy of this host does not permit it
    /// ([`Kind::Refused`](crate::Kind::Refused)); it or a certificate cannot be read.
    pub fn open(
        name: &Name,
        access: &Access,
        spool: PathBuf,
        document_max: u64,
    ) -> Result<Repository> {
        policy::check(name)?;
        Ok(Repository {
            hosts: Arc::new(Hosts::new(name, access)?),
            queue: Arc::default(),
            spool: Spool::Unnamed(spool),
            document_max,
            blobs: Mutex::default(),
        })
    }

    /// The manifest or index that a tag names.
    pub fn tagged(&self, tag: &str) -> Result<Vec<u8>> {
        Ok(self.document(tag)?.1)
    }

    /// The manifest or index of a digest. Errors: the registry twice sent another one
    /// ([`Kind::Mismatch`](crate::Kind::Mismatch)).
    pub fn manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut sent = String::new();
        for _ in 0..2 {
            let (host, bytes) = self.document(&digest.to_string())?;
            let mut hasher = Hasher::new(digest.algorithm());
            hasher.update(&bytes);
            let is = hasher.finish();
            if is == *digest {
                return Ok(bytes);
            }
            sent = format!("{host} sent a manifest with the digest {is}, not {digest}");
            // Another one may have it right.
            self.hosts.next(self.hosts.client());
        }
        Err(Error::mismatch(sent))
    }

    /// A blob, which is fetched when it is first read.
    pub fn blob(&self, digest: &Digest, size: u64) -> Arc<Remote> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = blobs.get(digest).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| known.size() == size) {
            return known;
        }
        let (hosts, queue) = (Arc::clone(&self.hosts), Arc::clone(&self.queue));
        let blob = Arc::new(Remote::new(hosts, queue, self.spool.clone(), digest, size));
        blobs.insert(digest.clone(), Arc::downgrade(&blob));
        blob
    }

    /// The host that has it, and its bytes: of the first host that has.
    fn document(&self, reference: &str) -> Result<(String, Vec<u8>)> {
        let path = format!("manifests/{reference}");
        let mut failures = 0;
        loop {
            let client = self.hosts.client();
            let fault = match self.try_document(client, &path) {
                Ok(bytes) if bytes.len() as u64 > self.document_max => {
                    let text = format!("the manifest has over {} bytes", self.document_max);
                    return Err(Error::limit(text));
                }
                Ok(bytes) => return Ok((client.host().into(), bytes)),
                Err(fault) => fault,
            };
            failures += 1;
            match retry::after(&fault, failures, client.has_answered()) {
                Step::Again(pause) => std::thread::sleep(pause),
                Step::GiveUp if self.hosts.next(client) => failures = 0,
                Step::GiveUp => return Err(lacks(client, &path, fault, failures)),
            }
        }
    }

    fn try_document(&self, client: &Client, path: &str) -> std::result::Result<Vec<u8>, Fault> {
        let mut answer = client.get(path, &[("Accept", ACCEPT.into())])?;
        if answer.status() != 200 {
            return Err(retry::of_answer(&answer));
        }
        let mut bytes = Vec::new();
        let reader = answer.body_mut().with_config().limit(u64::MAX).reader();
        let read = reader.take(self.document_max + 1).read_to_end(&mut bytes);
        read.map_err(|error| Fault::Lost(error.to_string()))?;
        Ok(bytes)
    }
}

/// The error for a document that cannot be had.
fn lacks(client: &Client, path: &str, fault: Fault, failures: u32) -> Error {
    match fault {
        Fault::Status(404, _) => {
            let text = format!("{}: no such image", client.url(path));
            let hint = "check the name and the tag; a registry also says so to users who have no \
                right to the image";
            Error::not_found(text).hint(hint)
        }
        fault => client.error(path, fault, 0, failures),
    }
}
