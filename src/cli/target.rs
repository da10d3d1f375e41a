//! Directories that a verb makes: a name that only an archive, or a reference to an image, can be meant by is
//! refused.

use std::path::Path;

use super::usage::usage;

/// How references to images begin, of which `flatten` writes the first.
const TRANSPORTS: [&str; 6] = [
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "dir:",
    "docker://",
    "containers-storage:",
];
/// What the names of archives end in.
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

/// Errors: a directory that is not there yet would get the name of an archive. `instead` says what
/// writes one.
pub fn refuse_archive_name(path: &Path, instead: &str) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let (shown, exists) = (path.display(), path.exists());
    Err(usage(match (transport_of(path), is_archive_name(path)) {
        (Some(transport), _) if !exists => format!(
            "{shown} would be a directory of that name: {transport} is not written here; ./{shown} is taken for a directory"
        ),
        (_, false) => return Ok(()),
        (_, true) if exists => format!(
            "{shown} is a file, and a directory is to be made: are the arguments the wrong way round?"
        ),
        (_, true) => format!(
            "{shown} is the name of an archive, and a directory would be made: {instead}; if a directory is meant, make it first"
        ),
    }))
}

/// The transport that a user of references may have meant.
fn transport_of(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    let transport = TRANSPORTS.iter().find(|name| text.starts_with(**name));
    transport.copied()
}

/// How an archive of this name is compressed, as `--compress` of `flatten` has it.
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

fn is_archive_name(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}
