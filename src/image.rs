//! `Image`: an ordered list of layers, each with what it must turn out to be and where its bytes
//! are. It reads OCI layouts and Docker archives; it unpacks nothing and writes nothing, but for
//! an unnamed temporary file where a whole archive is compressed or comes through a pipe.
//!
//! The command line opens images, [`crate::pipeline`] takes their layers.
//! Source: image-spec `image-layout.md`, `image-index.md`, `manifest.md`, `config.md`; Docker's
//! image specification v1.2 for the archives of `docker save`.

mod archive;
mod blob;
mod docker;
mod json;
mod layout;
mod reference;

use std::fs::File;
use std::path::Path;

use crate::codec::Expected;
use crate::digest::Digest;
use crate::error::{Error, Result};

pub use blob::{Blob, BlobReader};
pub use layout::Platform;
pub use reference::{Reference, Transport};

use archive::Members;
use blob::Source;

/// An image, ready to be unpacked.
#[derive(Clone, Debug)]
pub struct Image {
    /// The digest of its manifest; of its config where the archive has no manifest.
    pub digest: Digest,
    /// The name that the archive or layout gives it.
    pub name: Option<String>,
    /// The lowest first.
    pub layers: Vec<Layer>,
}

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its place in the image, from 1 at the bottom, as errors name it.
    pub number: usize,
    /// The digest of its uncompressed archive: what identifies it.
    pub diff_id: Digest,
    /// What its blob must turn out to be.
    pub expected: Expected,
    /// Its bytes.
    pub blob: Blob,
}

impl Layer {
    /// How errors and progress name it: `2 (sha256:ab12…)`.
    pub fn label(&self) -> String {
        let digest = self.expected.blob.as_ref().unwrap_or(&self.diff_id);
        format!("{} ({})", self.number, digest.short())
    }
}

impl Image {
    /// Opens the image that a reference names, and checks its manifest and config against their
    /// digests. The layers are checked when they are read.
    ///
    /// Errors: nothing there, or no such tag ([`Kind::NotFound`](crate::Kind::NotFound)); several
    /// images and no tag; documents that break the specification
    /// ([`Kind::Refused`](crate::Kind::Refused)) or differ from their digests
    /// ([`Kind::Mismatch`](crate::Kind::Mismatch)).
    pub fn open(reference: &Reference, platform: &Platform) -> Result<Image> {
        let source = open_source(reference)?;
        let is_docker = match reference.transport {
            Transport::DockerArchive => true,
            Transport::Oci | Transport::OciArchive => false,
            // Docker writes both documents, and may leave the OCI one empty.
            Transport::Any => source.has("manifest.json"),
        };
        match is_docker {
            true => docker::open(&source, reference.tag.as_deref()),
            false => layout::open(&source, reference.tag.as_deref(), platform),
        }
    }
}

fn open_source(reference: &Reference) -> Result<Source> {
    let path = &reference.path;
    if path == Path::new("-") {
        let stdin = std::io::stdin();
        let file = rustix::io::dup(&stdin)
            .map_err(|error| Error::system("opening standard input", error))?;
        return Members::read(File::from(file)).map(Source::Archive);
    }
    let opening = |error| Error::system(format!("opening {}", path.display()), error);
    if std::fs::metadata(path).map_err(opening)?.is_dir() {
        return match reference.transport {
            Transport::Oci | Transport::Any => Ok(Source::Directory(path.clone())),
            _ => Err(
                Error::refused(format!("{} is a directory, not an archive", path.display()))
                    .hint("a layout in a directory is named oci:DIR"),
            ),
        };
    }
    if reference.transport == Transport::Oci {
        let what = format!("{} is not a directory", path.display());
        return Err(Error::refused(what).hint("a layout in a file is named oci-archive:FILE"));
    }
    Members::read(File::open(path).map_err(opening)?).map(Source::Archive)
}
