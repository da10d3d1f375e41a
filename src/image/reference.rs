//! `Reference`: how a user names an image, `TRANSPORT:PATH[:TAG]` or just a path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where an image is, and which of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What the path is said to be.
    pub transport: Transport,
    /// A file or directory; `-` is standard input.
    pub path: PathBuf,
    /// The tag in a layout, or the name in a Docker archive.
    pub tag: Option<String>,
}

/// The kinds of image store that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `oci:DIR[:TAG]`
    Oci,
    /// `oci-archive:FILE[:TAG]`
    OciArchive,
    /// `docker-archive:FILE[:NAME]`
    DockerArchive,
    /// No prefix: recognised by content.
    Any,
}

impl Reference {
    /// Reads a reference. A path may hold colons: the longest part that exists is the path.
    pub fn parse(text: &OsStr) -> Result<Reference> {
        let bytes = text.as_bytes();
        let transports = [
            (&b"oci:"[..], Transport::Oci),
            (b"oci-archive:", Transport::OciArchive),
            (b"docker-archive:", Transport::DockerArchive),
        ];
        let (transport, rest) = transports
            .iter()
            .find_map(|(prefix, transport)| Some((*transport, bytes.strip_prefix(*prefix)?)))
            .unwrap_or((Transport::Any, bytes));
        let (path, tag) = split(rest);
        if path.is_empty() {
            return Err(Error::not_found("the image reference names no file")
                .hint("references look like oci:DIR:TAG, docker-archive:FILE or just FILE"));
        }
        let tag = match tag.map(std::str::from_utf8).transpose() {
            Ok(tag) => tag.filter(|tag| !tag.is_empty()).map(String::from),
            Err(_) => return Err(Error::not_found("the tag is no UTF-8")),
        };
        Ok(Reference {
            transport,
            path: PathBuf::from(OsStr::from_bytes(path)),
            tag,
        })
    }
}

fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let exists = |path: &[u8]| path == b"-" || Path::new(OsStr::from_bytes(path)).exists();
    if exists(text) {
        return (text, None);
    }
    let colons: Vec<usize> = (0..text.len()).filter(|&at| text[at] == b':').collect();
    let longest = colons.iter().rev().find(|&&colon| exists(&text[..colon]));
    match longest.or(colons.first()) {
        Some(&colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    }
}
