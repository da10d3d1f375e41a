//! `Reference`: how a user names an image, `TRANSPORT:PATH[:TAG]` or just a path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Advice, Error, Result};

/// The source of an image, and which of its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The format of the source, if given.
    pub transport: Transport,
    /// A file or directory; `-` is standard input.
    pub path: PathBuf,
    /// Which of the images, if given.
    pub choice: Option<Choice>,
}

/// How a reference selects an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// By the tag in a layout, or the name in a Docker archive: `:NAME`.
    Name(String),
    /// By the digest of the manifest, or of an index that leads to it: `@DIGEST`.
    Digest(Digest),
    /// By a name, which must lead to this digest: `:NAME@DIGEST`.
    NameAndDigest(String, Digest),
    /// By its number in `index.json` or `manifest.json`, from 0, as in skopeo: `:@N`.
    Index(usize),
}

/// The formats that images are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// `oci:DIR[:TAG]`
    Oci,
    /// `oci-archive:FILE[:TAG]`
    OciArchive,
    /// `docker-archive:FILE[:NAME]`
    DockerArchive,
    /// `dir:DIR`, as skopeo writes it: `manifest.json`, and blobs beside it.
    Dir,
    /// No prefix: recognised by content.
    Any,
    /// A directory of blobs and nothing else, as containerd keeps them.
    Blobs,
    /// `docker://[HOST/]NAME[:TAG][@DIGEST]`: the path is `HOST/NAME`.
    #[cfg(feature = "registry")]
    Docker,
    /// `store:NAME`: the path is a name or the first digits of a digest in a [`Store`](crate::Store).
    Store,
}

const PREFIXES: [(&[u8], Transport); 5] = [
    (b"oci:", Transport::Oci),
    (b"oci-archive:", Transport::OciArchive),
    (b"docker-archive:", Transport::DockerArchive),
    (b"dir:", Transport::Dir),
    (b"store:", Transport::Store),
];

impl Reference {
    /// Parses a reference, which need not be UTF-8. Paths may contain colons: the longest prefix that
    /// exists is the path.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Reference> {
        let bytes = text.as_ref().as_bytes();
        #[cfg(feature = "registry")]
        if let Some(name) = bytes.strip_prefix(b"docker://") {
            return Reference::in_registry(&String::from_utf8_lossy(name));
        }
        let (transport, rest) = prefix(bytes).unwrap_or((Transport::Any, bytes));
        let (path, choice) = match transport {
            Transport::Store => (rest, None),
            _ => split(rest),
        };
        if path.is_empty() {
            return Err(Error::usage("the image reference names no image")
                .hint("references look like oci:DIR:TAG, docker-archive:FILE, FILE or NAME:TAG"));
        }
        Ok(Reference {
            transport,
            path: PathBuf::from(OsStr::from_bytes(path)),
            choice: choice.map(Choice::parse).transpose()?.flatten(),
        })
    }

    #[cfg(feature = "registry")]
    fn in_registry(text: &str) -> Result<Reference> {
        let name = crate::registry::Name::parse(text)?;
        Ok(Reference {
            transport: Transport::Docker,
            path: name.place().into(),
            choice: match (name.tag, name.digest) {
                (Some(tag), Some(digest)) => Some(Choice::NameAndDigest(tag, digest)),
                (None, Some(digest)) => Some(Choice::Digest(digest)),
                (tag, None) => tag.map(Choice::Name),
            },
        })
    }

    /// What it names in a registry. Errors: its path was not made from a name.
    #[cfg(feature = "registry")]
    pub(super) fn registry_name(&self) -> Result<crate::registry::Name> {
        let place = self.path.to_string_lossy();
        let mut name = crate::registry::Name::parse(&place)?;
        if let Some(choice) = &self.choice {
            name.tag = choice.name().map(String::from);
            name.digest = choice.digest().cloned();
        }
        Ok(name)
    }

    /// The name, or else the digest, that an image of a registry has in a store.
    #[cfg(all(feature = "cli", feature = "registry"))]
    pub(crate) fn name_in_store(&self) -> Option<String> {
        let choice = self
            .choice
            .as_ref()
            .filter(|_| self.transport == Transport::Docker)?;
        let name = choice
            .name()
            .map(|tag| format!("{}:{tag}", self.path.display()));
        choice.digest().map(ToString::to_string).or(name)
    }

    /// Without registries there is none.
    #[cfg(all(feature = "cli", not(feature = "registry")))]
    pub(crate) fn name_in_store(&self) -> Option<String> {
        None
    }

    /// Whether it names a file that does not exist, without saying that it is one: then it may be a name in a
    /// store.
    pub fn may_be_in_store(&self) -> bool {
        let is_stdin = self.path == Path::new("-");
        self.transport == Transport::Any && !is_stdin && !self.path.exists()
    }

    /// Whether the file that it names says something about the image: not if it is standard input, or one
    /// blob among many.
    pub(super) fn is_named_by_file(&self) -> bool {
        self.transport != Transport::Blobs && self.path != Path::new("-")
    }

    /// A manifest or an index in a directory of blobs: `[NAME@]DIGEST`.
    pub fn in_blobs(directory: &Path, text: &OsStr) -> Result<Reference> {
        let text = text.to_string_lossy();
        let digest = text.rsplit_once('@').map_or(&*text, |(_, digest)| digest);
        let digest = parse_digest(digest).map_err(|error| error.hint(Advice::DigestInStore))?;
        Ok(Reference {
            transport: Transport::Blobs,
            path: directory.into(),
            choice: Some(Choice::Digest(digest)),
        })
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        Reference::parse(text)
    }
}

impl Choice {
    fn parse(text: &[u8]) -> Result<Option<Choice>> {
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(Error::usage("the name in the reference is not UTF-8"));
        };
        Ok(match (text.strip_prefix('@'), text.rsplit_once('@')) {
            (Some(digits), _) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Choice::Index(parse_index(digits)?))
            }
            (Some(digest), _) => Some(Choice::Digest(parse_digest(digest)?)),
            (None, Some((name, digest))) if digest.contains(':') => {
                Some(Choice::NameAndDigest(name.into(), parse_digest(digest)?))
            }
            _ if text.is_empty() => None,
            _ => Some(Choice::Name(text.into())),
        })
    }

    /// The name, if there is one.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Choice::Name(name) | Choice::NameAndDigest(name, _) => Some(name),
            Choice::Digest(_) | Choice::Index(_) => None,
        }
    }

    /// The digest, if there is one.
    pub(super) fn digest(&self) -> Option<&Digest> {
        match self {
            Choice::Digest(digest) | Choice::NameAndDigest(_, digest) => Some(digest),
            Choice::Name(_) | Choice::Index(_) => None,
        }
    }
}

/// The transport that a reference begins with, and the rest.
pub(super) fn prefix(text: &[u8]) -> Option<(Transport, &[u8])> {
    let mut transports = PREFIXES.iter();
    transports.find_map(|(prefix, transport)| Some((*transport, text.strip_prefix(*prefix)?)))
}

fn parse_index(digits: &str) -> Result<usize> {
    let what = || Error::usage(format!("`@{digits}` is neither a digest nor a number"));
    digits.parse().map_err(|_| what())
}

/// An invalid digest is the user's error, not the image's.
fn parse_digest(text: &str) -> Result<Digest> {
    Digest::parse(text).map_err(|error| Error::usage(error.to_string()))
}

/// Splits off what follows the path: a name after a colon, or a digest with its `@`.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let exists = |path: &[u8]| path == b"-" || Path::new(OsStr::from_bytes(path)).exists();
    if exists(text) {
        return (text, None);
    }
    let ends: Vec<usize> = (0..text.len())
        .filter(|&at| matches!(text[at], b':' | b'@'))
        .collect();
    let longest = ends.iter().rev().find(|&&end| exists(&text[..end]));
    match longest.or(ends.first()) {
        Some(&end) if text[end] == b'@' => (&text[..end], Some(&text[end..])),
        Some(&end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    }
}
