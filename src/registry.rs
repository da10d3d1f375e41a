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
mod signature;
mod spool;
mod tls;
mod token;
mod transfer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Kind, Result};

pub use access::Access;
pub use name::Name;
pub use queue::CONNECTIONS;
pub(crate) use spool::Spool;
pub use transfer::{Arriving, Remote};

use client::Client;
use hosts::Hosts;
use policy::Requirement;
use queue::Queue;
use retry::{Fault, Step};
use signature::{Identity, Key};

/// The media types of manifests and indexes that are read.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// More signatures of one image are not looked at.
const SIGNATURES_MAX: usize = 64;

/// A repository in a registry.
#[derive(Debug)]
pub struct Repository {
    hosts: Arc<Hosts>,
    queue: Arc<Queue>,
    spool: Spool,
    document_max: u64,
    name: Name,
    requirements: Vec<Requirement>,
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
        let mut requirements = policy::requirements(name)?;
        for path in &access.keys {
            requirements.push(Requirement {
                keys: vec![Key::in_file(path)?],
                identity: Identity::Repository,
            });
        }
        Ok(Repository {
            hosts: Arc::new(Hosts::new(name, access)?),
            queue: Arc::default(),
            spool: Spool::Unnamed(spool),
            document_max,
            name: name.clone(),
            requirements,
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

    /// Checks that an image has the signatures that the host or the user wants: of its manifest, or of the index that it
    /// was found in. Errors: it has not ([`Kind::Refused`](crate::Kind::Refused)).
    pub fn check_signatures(&self, digests: &[&Digest]) -> Result<()> {
        if self.requirements.is_empty() {
            return Ok(());
        }
        let mut signatures = Vec::new();
        let distinct: BTreeSet<&&Digest> = digests.iter().collect();
        for digest in distinct {
            signatures.extend(self.signatures(digest)?);
        }
        for Requirement { keys, identity } in &self.requirements {
            let check = |(payload, signature): &(Vec<u8>, String)| {
                let named = (&self.name, identity);
                signature::check(payload, signature, keys, digests, named)
            };
            let checked: Vec<_> = signatures.iter().map(check).collect();
            if checked.iter().any(std::result::Result::is_ok) {
                continue;
            }
            let why = match checked.into_iter().find_map(std::result::Result::err) {
                Some(why) => format!("it has no signature that is wanted: of one, {why}"),
                None => "it has no signature, and one is wanted".into(),
            };
            let hint = "`cosign sign --key` signs an image, and --recursive those of an index";
            return Err(Error::refused(why).hint(hint));
        }
        Ok(())
    }

    /// The payloads that are attached to a manifest, with their signatures.
    fn signatures(&self, digest: &Digest) -> Result<Vec<(Vec<u8>, String)>> {
        let tag = format!("{}-{}.sig", digest.algorithm().name(), digest.hex());
        let manifest = match self.document(&tag) {
            Ok((_, manifest)) => manifest,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let manifest: Value = serde_json::from_slice(&manifest)
            .map_err(|error| Error::reading("reading the signatures", error.into()))?;
        let layers = manifest["layers"].as_array();
        let mut found = Vec::new();
        for layer in layers.into_iter().flatten().take(SIGNATURES_MAX) {
            let signature = layer["annotations"][signature::ANNOTATION].as_str();
            let digest = layer["digest"].as_str().map(Digest::parse);
            let size = layer["size"].as_u64();
            let (Some(signature), Some(Ok(digest)), Some(size)) = (signature, digest, size) else {
                continue;
            };
            if size > self.document_max {
                continue;
            }
            let mut payload = Vec::new();
            let read = self.blob(&digest, size).open().read_to_end(&mut payload);
            read.map_err(|error| Error::reading("reading a signature", error))?;
            found.push((payload, signature.into()));
        }
        Ok(found)
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
