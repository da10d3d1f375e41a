//! Which media types of layers are tar archives (rule T1). Pure.
//!
//! Source: image-spec `media-types.md`; Docker's image manifest, version 2, schema 2; containerd's
//! `core/images/mediatypes.go` for encrypted layers. The suffix for the compression is ignored: the first
//! bytes of the blob decide.

use crate::error::Error;
use crate::path;

/// Media types of tar layers without the compression's suffix, in lower case: those of the
/// specifications, and those that older or general tools write for the same.
const ARCHIVES: &[&str] = &[
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.tar",
    "application/vnd.oci.image.rootfs.tar",
    "application/vnd.oci.image.serialization.rootfs.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.container.image.rootfs.diff+x-gtar",
    "application/x-gtar",
    "application/x-tar",
    "application/tar",
];
/// Types that do not describe the content: the first bytes decide.
const ANYTHING: &[&str] = &[
    "",
    "application/octet-stream",
    "binary/octet-stream",
    "application/gzip",
    "application/x-gzip",
    "application/x-tgz",
    "application/zstd",
    "application/x-xz",
];
/// Suffixes for compressions, after a `+` or a dot. Compressions without a decoder here are refused
/// later, by their content.
const COMPRESSIONS: &[&str] = &["gzip", "gz", "zstd", "zst", "xz", "bzip2", "bz2", "lz4"];

/// Why a layer of this type cannot be read, if it cannot.
pub fn refusal(media_type: &str) -> Option<Error> {
    // Parameters do not change the type.
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    if ANYTHING.contains(&&*essence) || ARCHIVES.contains(&without_compression(&essence)) {
        return None;
    }
    let shown = path::display(media_type.as_bytes());
    Some(match is_encrypted(&essence) {
        true => Error::refused(format!("an encrypted layer, of type {shown}"))
            .hint("decrypt it first: `skopeo copy --decryption-key KEY IMAGE oci:DIR:TAG`"),
        false => Error::refused(format!(
            "a layer of type {shown}, which is not a tar archive"
        )),
    })
}

fn without_compression(essence: &str) -> &str {
    let short = COMPRESSIONS.iter().find_map(|compression| {
        let rest = essence.strip_suffix(compression)?;
        rest.strip_suffix(['+', '.'])
    });
    short.unwrap_or(essence)
}

/// ocicrypt's suffix is `+encrypted`, or `+enc` for Docker's types.
fn is_encrypted(essence: &str) -> bool {
    essence
        .split('+')
        .skip(1)
        .any(|suffix| suffix == "encrypted" || suffix == "enc")
}
