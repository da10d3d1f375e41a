//! Which entries of an index are images (rule T2), judging by the index and their manifests.
//!
//! Source: image-spec `image-index.md` and `manifest.md`, "artifactType"; BuildKit's
//! `attestation-storage.md` and its registry cache; cosign's `SIGNATURE_SPEC.md`. Pure.
//! [`super::choice`] chooses among the images.

use super::json::{Descriptor, Document};
use super::layout::names_of;

/// BuildKit's annotation on manifests that only describe another manifest.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// The annotation by which `cosign save` tells the entries of a layout apart.
const COSIGN_KIND: &str = "kind";
const COSIGN: &str = "dev.cosignproject.cosign/";
/// The kinds in cosign's annotation that are images.
const COSIGN_IMAGES: [&str; 2] = ["image", "imageIndex"];
/// The suffixes of cosign's tags that are not images.
const COSIGN_TAGS: [&str; 3] = [".sig", ".att", ".sbom"];

pub const SCHEMA_2: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media types of entries that lead to an image. Schema 1 is refused by name, later.
const MANIFESTS: [&str; 7] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    SCHEMA_2,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "",
];
/// Media types of image configs; a manifest with any other config is an artifact.
const CONFIGS: [&str; 3] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "",
];
/// Docker 1.10's media type for configs (moby, `distribution/registry.go`, "imageTypes").
const CONFIG_OF_1_10: &str = "application/octet-stream";

/// What an entry of an index is, if the index shows that it is not an image.
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
    // For an image, this may be the media type of its config.
    let artifact_type = &*descriptor.artifact_type;
    (!CONFIGS.contains(&artifact_type)).then(|| format!("an artifact of type {artifact_type}"))
}

/// What a manifest describes, if it is not an image.
pub fn other_manifest(descriptor: &Descriptor, manifest: &Document) -> Option<String> {
    let artifact_type = &*manifest.artifact_type;
    match CONFIGS.contains(&artifact_type) {
        true => other_config(descriptor, manifest),
        false => Some(format!("an artifact of type {artifact_type}")),
    }
}

/// The same, judging by the config alone, for a manifest that was named by its digest.
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
