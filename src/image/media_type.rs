//! Which media types of layers are tar archives (rule T1). Pure.
//!
//! Source: image-spec `media-types.md`; Docker's image manifest, version 2, schema 2; containerd's
//! `core/images/mediatypes.go` for encrypted layers. A type says nothing of the compression that the
//! bytes do not say better, so only the archive counts.

use crate::error::Error;
use crate::path;

/// Types of layers without the suffix of a compression, in lower case: those of the specifications,
/// and those that older tools and general ones write for the same.
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
/// Types that say nothing of what is in them: the content decides.
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
/// How compressions are written at the end of a type, after a `+` or a dot. Those that no decoder
/// here undoes are refused by their content, which says which one it is.
const COMPRESSIONS: &[&str] = &["gzip", "gz", "zstd", "zst", "xz", "bzip2", "bz2", "lz4"];

/// Why a layer of this type cannot be read, if it cannot.
pub fn refusal(media_type: &str) -> Option<Error> {
    // Parameters say nothing of the form.
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

/// ocicrypt ends types in `+encrypted`, and Docker's in `+enc`.
fn is_encrypted(essence: &str) -> bool {
    essence
        .split('+')
        .skip(1)
        .any(|suffix| suffix == "encrypted" || suffix == "enc")
}
