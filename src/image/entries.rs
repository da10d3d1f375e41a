//! Which entries of an index are images (rule T2), by what the index and their manifests say.
//!
//! Source: image-spec `image-index.md` and `manifest.md`, "artifactType"; BuildKit's
//! `attestation-storage.md` and its registry cache; cosign's `SIGNATURE_SPEC.md`. Pure.
//! [`super::choice`] chooses among those that are.

use super::json::{Descriptor, Document};
use super::layout::names_of;

/// BuildKit marks the manifests that only describe another manifest.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// `cosign save` tells the entries of a layout apart by it.
const COSIGN_KIND: &str = "kind";
const COSIGN: &str = "dev.cosignproject.cosign/";
/// The kinds of cosign that are images.
const COSIGN_IMAGES: [&str; 2] = ["image", "imageIndex"];
/// What cosign's tags end in that are no images.
const COSIGN_TAGS: [&str; 3] = [".sig", ".att", ".sbom"];

pub const SCHEMA_2: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// What an entry may be that leads to an image. Schema 1 is refused by name, later.
const MANIFESTS: [&str; 7] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    SCHEMA_2,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "",
];
/// The media types of configs of images; other manifests describe artifacts of other kinds.
const CONFIGS: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "",
];
/// Docker 1.10 called a config so (moby, `distribution/registry.go`, "imageTypes").
const CONFIG_OF_1_10: &str = "application/octet-stream";

/// What an entry of an index is that is no image, as far as the index tells.
pub fn other_entry(descriptor: &Descriptor) -> Option<String> {
    if descriptor.annotations.contains_key(ATTESTATION) {
        return Some("an attestation".into());
    }
    if is_of_cosign(descriptor) {
        return Some("a signature or attestation of cosign".into());
    }
    if !MANIFESTS.contains(&&*descriptor.media_type) {
        return Some(format!("a blob of type {}", descriptor.media_type));
    }
    // Of an image, it may be the type of its config.
    let artifact_type = &*descriptor.artifact_type;
    (!CONFIGS.contains(&artifact_type)).then(|| format!("an artifact of type {artifact_type}"))
}

/// What a manifest describes that is no image.
pub fn other_manifest(descriptor: &Descriptor, manifest: &Document) -> Option<String> {
    let artifact_type = &*manifest.artifact_type;
    match CONFIGS.contains(&artifact_type) {
        true => other_config(descriptor, manifest),
        false => Some(format!("an artifact of type {artifact_type}")),
    }
}

/// The same by its config alone: the manifest was asked for by its digest.
pub fn other_config(descriptor: &Descriptor, manifest: &Document) -> Option<String> {
    let config = manifest.config.as_ref()?;
    let media_type = &*config.media_type;
    let is_schema_2 = [&*manifest.media_type, &*descriptor.media_type].contains(&SCHEMA_2);
    let is_image = CONFIGS.contains(&media_type) || (media_type == CONFIG_OF_1_10 && is_schema_2);
    (!is_image).then(|| format!("an artifact with a config of type {media_type}"))
}

fn is_of_cosign(descriptor: &Descriptor) -> bool {
    let kind = descriptor.annotations.get(COSIGN_KIND);
    if let Some(kind) = kind.and_then(|kind| kind.strip_prefix(COSIGN)) {
        return !COSIGN_IMAGES.contains(&kind);
    }
    names_of(descriptor)
        .iter()
        .any(|name| is_tag_of_cosign(name))
}

/// `sha256-DIGITS.sig`, alone or at the end of a name.
fn is_tag_of_cosign(name: &str) -> bool {
    let tag = name.rsplit(':').next().unwrap_or_default();
    let mut ends = COSIGN_TAGS.iter();
    let digits = ends.find_map(|end| tag.strip_suffix(end)?.strip_prefix("sha256-"));
    digits.is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
