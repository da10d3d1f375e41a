//! `ImageSigns`: detects a whole image archive that is given as a single layer.
//!
//! [`crate::unpack`] and [`crate::repack::translate`] pass it each entry of a bare layer. The names are
//! those of OCI layouts, of `docker save` old and new, of jib and of kaniko. Pure.

use crate::error::{Advice, Error, Result};
use crate::tar::archive::{Entry, EntryKind};

/// What was seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageSigns {
    layout: bool,
    index: bool,
    manifest: bool,
    repositories: bool,
    /// Whether a file is named like a layer or a config of an image.
    blob: bool,
}

impl ImageSigns {
    /// Records an entry.
    pub fn see(&mut self, entry: &Entry) {
        if !matches!(
            entry.kind,
            EntryKind::File(_) | EntryKind::Symlink(_) | EntryKind::HardLink(_)
        ) {
            return;
        }
        match entry.path.as_bytes() {
            b"oci-layout" => self.layout = true,
            b"index.json" => self.index = true,
            b"manifest.json" => self.manifest = true,
            b"repositories" => self.repositories = true,
            path => self.blob |= !self.blob && is_blob(path),
        }
    }

    /// Errors: the entries are those of an image archive.
    pub fn check(&self) -> Result<()> {
        let signs = match (self.layout && self.index, self.blob) {
            (true, _) => "oci-layout and index.json",
            (_, true) if self.manifest => "manifest.json and the layers that it names",
            (_, true) if self.repositories => "repositories and the layers that it names",
            _ => return Ok(()),
        };
        Err(Error::refused(format!(
            "an archive of an image, not a layer: it has {signs}"
        ))
        .hint(Advice::UnpackArchive))
    }
}

/// `blobs/sha256/DIGITS`, `ID/layer.tar`, `DIGITS.json`, `DIGITS.tar.gz`, `sha256:DIGITS`.
fn is_blob(path: &[u8]) -> bool {
    let name = path.strip_prefix(b"blobs/sha256/").unwrap_or(path);
    let name = name.strip_prefix(b"sha256:").unwrap_or(name);
    let Some((digits, rest)) = name.split_first_chunk::<64>() else {
        return false;
    };
    let endings: [&[u8]; 5] = [b"", b".json", b".tar", b".tar.gz", b"/layer.tar"];
    digits.iter().all(u8::is_ascii_hexdigit) && endings.contains(&rest)
}
