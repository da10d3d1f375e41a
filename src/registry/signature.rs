//! Signatures of images as cosign makes them with a key: whether a payload is signed, and what it says. Pure.
//!
//! [`super::Repository`] fetches the payloads, which are layers of the manifest that is tagged `ALGORITHM-HEX.sig`.
//! Source: sigstore's `SIGNATURE_SPEC.md` (simple signing); containers-policy.json(5), "sigstoreSigned".

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};
use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{Error, Result};

use super::name::Name;

/// The annotation of a layer that has the signature of its content.
pub const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What stands before the point of a key on the curve P-256 in its DER form (RFC 5480).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A public key: ECDSA on P-256, as `cosign generate-key-pair` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// Which name a signature must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The repository of the image, with whatever tag.
    Repository,
    /// The very name of the image; its repository, if the image was asked for by digest.
    RepositoryOrExact,
    /// The very name of the image.
    Exact,
    /// This name.
    Reference(String),
    /// This repository.
    ExactRepository(String),
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Claimed,
    image: Signed,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Claimed {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Key {
    /// Errors: the file cannot be read, or is not such a key in PEM ([`Kind::Conflict`](crate::Kind::Conflict)).
    pub fn in_file(path: &Path) -> Result<Key> {
        let shown = path.display();
        let bytes = std::fs::read(path)
            .map_err(|error| Error::system(format!("reading the key {shown}"), error))?;
        let not_one = || {
            let text = format!("{shown} is not a public key in PEM, ECDSA on P-256");
            Error::conflict(text).hint("`cosign generate-key-pair` makes one: cosign.pub")
        };
        Key::parse(&bytes).ok_or_else(not_one)
    }

    /// From PEM.
    pub fn parse(pem: &[u8]) -> Option<Key> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
        let point = key.strip_prefix(P256)?;
        (point.len() == 65).then(|| Key(point.to_vec()))
    }

    /// Whether this key signed a message; the signature is DER in base64.
    fn signed(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature.trim()) else {
            return false;
        };
        let algorithms = rustls::crypto::ring::default_provider();
        let mut all = algorithms.signature_verification_algorithms.all.iter();
        let algorithm = all.find(|one| {
            one.public_key_alg_id() == alg_id::ECDSA_P256
                && one.signature_alg_id() == alg_id::ECDSA_SHA256
        });
        algorithm.is_some_and(|one| one.verify_signature(&self.0, message, &signature).is_ok())
    }
}

/// Whether a payload says that one of these manifests is the image of that name, and one of the keys signed it. Errors:
/// why it does not, in words.
pub fn check(
    payload: &[u8],
    signature: &str,
    keys: &[Key],
    digests: &[&Digest],
    (name, identity): (&Name, &Identity),
) -> std::result::Result<(), String> {
    if !keys.iter().any(|key| key.signed(payload, signature)) {
        return Err("the key did not make it".into());
    }
    let parsed: Payload =
        serde_json::from_slice(payload).map_err(|_| "its payload is not understood")?;
    let Critical {
        identity: claimed,
        image,
        kind,
    } = parsed.critical;
    if kind != "cosign container image signature" {
        return Err("its payload is of another type".into());
    }
    if !digests
        .iter()
        .any(|digest| digest.to_string() == image.digest)
    {
        return Err("it is for another image".into());
    }
    match identity.accepts(&claimed.reference, name) {
        true => Ok(()),
        false => Err("it is for another name".into()),
    }
}

impl Identity {
    /// Whether a signature for `claimed` will do.
    fn accepts(&self, claimed: &str, name: &Name) -> bool {
        let Ok(claimed) = Name::parse_as_is(claimed) else {
            return false;
        };
        let is_repository = claimed.place() == name.place();
        match self {
            Identity::Repository => is_repository,
            Identity::RepositoryOrExact if name.digest.is_some() => is_repository,
            Identity::RepositoryOrExact | Identity::Exact => {
                is_repository && claimed.tag == name.tag && claimed.digest == name.digest
            }
            Identity::Reference(text) => {
                Name::parse_as_is(text).is_ok_and(|wanted| wanted == claimed)
            }
            Identity::ExactRepository(text) => {
                Name::parse_as_is(text).is_ok_and(|wanted| wanted.place() == claimed.place())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl ecparam -name prime256v1 -genkey`, and `openssl dgst -sha256 -sign` over [`PAYLOAD`].
    const KEY: &[u8] = include_bytes!("signature/key.pem");
    const PAYLOAD: &[u8] = include_bytes!("signature/payload.json");
    const SIGNATURE: &str = include_str!("signature/payload.sig");

    fn is_signed(
        payload: &[u8],
        signature: &str,
        name: &str,
        identity: &Identity,
    ) -> std::result::Result<(), String> {
        let key = Key::parse(KEY).unwrap();
        let digest = Digest::of(b"manifest");
        let name = Name::parse(name).unwrap();
        check(payload, signature, &[key], &[&digest], (&name, identity))
    }

    #[test]
    fn a_signature_is_for_bytes_a_digest_and_a_name() {
        let (good, name) = (Identity::Repository, "example.org/app:1");
        assert_eq!(is_signed(PAYLOAD, SIGNATURE, name, &good), Ok(()));
        let mut changed = PAYLOAD.to_vec();
        changed[20] ^= 1;
        for (payload, signature) in [
            (&changed[..], SIGNATURE),
            (PAYLOAD, "AAAA"),
            (PAYLOAD, "no base64"),
            (PAYLOAD, ""),
        ] {
            let refused = is_signed(payload, signature, name, &good).unwrap_err();
            assert_eq!(refused, "the key did not make it");
        }
        let other = is_signed(PAYLOAD, SIGNATURE, "example.org/other", &good);
        assert_eq!(other.unwrap_err(), "it is for another name");
        let (key, digest) = (Key::parse(KEY).unwrap(), Digest::of(b"another"));
        let name = Name::parse(name).unwrap();
        let other = check(PAYLOAD, SIGNATURE, &[key], &[&digest], (&name, &good));
        assert_eq!(other.unwrap_err(), "it is for another image");
    }

    #[test]
    fn an_identity_says_which_names_will_do() {
        let pinned = format!("example.org/app@{}", Digest::of(b"manifest"));
        let (claimed, tagged) = ("example.org/app", "example.org/app:1");
        let reference = |text: &str| Identity::Reference(text.into());
        for (identity, claimed, name, is) in [
            (Identity::Repository, claimed, tagged, true),
            (Identity::Repository, "example.org/app:2", tagged, true),
            (Identity::Repository, "example.org/ap", tagged, false),
            (Identity::RepositoryOrExact, claimed, tagged, false),
            (Identity::RepositoryOrExact, tagged, tagged, true),
            (Identity::RepositoryOrExact, claimed, &pinned, true),
            (Identity::Exact, claimed, &pinned, false),
            (Identity::Exact, tagged, tagged, true),
            (
                reference("example.org/base:3"),
                "example.org/base:3",
                tagged,
                true,
            ),
            (reference("example.org/base:3"), tagged, tagged, false),
            (
                Identity::ExactRepository("example.org/base".into()),
                "example.org/base:9",
                tagged,
                true,
            ),
        ] {
            let name = Name::parse(name).unwrap();
            assert_eq!(
                identity.accepts(claimed, &name),
                is,
                "{identity:?} {claimed}"
            );
        }
    }

    #[test]
    fn other_keys_are_not_taken() {
        assert!(Key::parse(b"").is_none());
        assert!(
            Key::parse(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_none()
        );
    }
}
