//! Checks the directory that a verb is to make: a name that looks like an archive or an image reference
//! is refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::usage::usage;

/// Prefixes of image references; `flatten` writes the first.
const TRANSPORTS: [&str; 6] = [
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "dir:",
    "docker://",
    "containers-storage:",
];
/// Suffixes of archive names.
const ENDINGS: [&str; 14] = [
    ".tar",
    ".tar.gz",
    ".tar.zst",
    ".tar.xz",
    ".tar.bz2",
    ".tar.lz4",
    ".tar.zstd",
    ".tgz",
    ".tzst",
    ".txz",
    ".tbz",
    ".tbz2",
    ".tar.lzma",
    ".tar.z",
];

/// `oci:DIR:TAG`, an image that is written; `None` if it does not begin so. Errors: there is no TAG.
pub fn layout(text: &OsStr) -> Option<anyhow::Result<(PathBuf, String)>> {
    let rest = text.as_bytes().strip_prefix(b"oci:")?;
    let colon = rest.iter().rposition(|&byte| byte == b':');
    let parts = colon.map(|colon| (&rest[..colon], &rest[colon + 1..]));
    Some(match parts {
        Some((path, tag)) if !path.is_empty() && !tag.is_empty() && !tag.contains(&b'/') => {
            let tag = std::str::from_utf8(tag).context("the tag is not UTF-8");
            tag.map(|tag| (OsStr::from_bytes(path).into(), tag.into()))
        }
        _ => Err(usage("a new image needs a name: oci:DIR:TAG")),
    })
}

/// Errors: a new directory would get the name of an archive or of an image reference. `instead` says
/// what writes an archive.
pub fn refuse_archive_name(path: &Path, instead: &str) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let (shown, exists) = (path.display(), path.exists());
    Err(usage(match (transport_of(path), is_archive_name(path)) {
        (Some(transport), _) if !exists => format!(
            "{shown} would be a directory: {transport} is not written here; if a directory is meant, name it ./{shown}"
        ),
        (_, false) => return Ok(()),
        (_, true) if exists => return refuse_file(path),
        (_, true) => format!(
            "{shown} is the name of an archive, and this makes a directory: {instead}; if a directory is meant, make it first"
        ),
    }))
}

/// What to ask of two arguments that do not fit their places.
pub const WRONG_WAY_ROUND: &str = "are the arguments the wrong way round?";

/// Errors: a file is where a directory is to be.
pub fn refuse_file(path: &Path) -> anyhow::Result<()> {
    match path.is_file() {
        true => {
            let shown = crate::path::display(path.as_os_str().as_encoded_bytes());
            Err(usage(format!(
                "{shown} is a file, not a directory: {WRONG_WAY_ROUND}"
            )))
        }
        false => Ok(()),
    }
}

/// The transport that an image reference would begin with.
fn transport_of(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    let transport = TRANSPORTS.iter().find(|name| text.starts_with(**name));
    transport.copied()
}

/// The compression that an archive's name implies, as `flatten --compression` spells it.
pub fn compression_of(path: &Path) -> Option<&'static str> {
    let name = path.to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".gz", ".tgz"]) {
        Some("gzip")
    } else if ends(&[".zst", ".zstd", ".tzst"]) {
        Some("zstd")
    } else {
        None
    }
}

pub fn is_archive_name(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}
