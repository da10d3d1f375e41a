//! `ImageName`: a name as containers/image writes it, `HOST/PATH:TAG`. Readers reject a whole list if one
//! name in it is invalid.
//!
//! Source: the grammar of distribution's `reference` package.

use std::fmt;

use crate::error::{Error, Result};

/// The maximum length without the tag.
const LONGEST: usize = 255;
const LONGEST_TAG: usize = 128;

/// A name with a host and a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(String);

impl ImageName {
    /// Parses a name. The default host is `localhost`, and the default tag `latest`. Errors: it is not a
    /// name.
    pub fn parse(text: &str) -> Result<ImageName> {
        let refuse = || {
            Error::usage(format!("{text:?} is not an image name"))
                .hint("a name is [HOST/]PATH[:TAG], with PATH in small letters")
        };
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path),
            _ => ("localhost", name),
        };
        let path = match host {
            "docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_string(),
        };
        let is_name = path.split('/').all(is_component)
            && is_tag(tag)
            && host.len() + 1 + path.len() <= LONGEST;
        match is_name {
            true => Ok(ImageName(format!("{host}/{path}:{tag}"))),
            false => Err(refuse()),
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the part before the first slash is a host: it has a dot or a port, or is `localhost`.
fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let is_label = |label: &str| {
        let of = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(of)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_meant = text == "localhost" || text.contains(['.', ':']);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_meant && is_port && host.split('.').all(is_label)
}

/// Small letters and digits, with a dot, one or two underscores, or dashes between them.
fn is_component(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    let ends = [text.bytes().next(), text.bytes().last()];
    ends.into_iter().all(|end| end.is_some_and(is_plain))
        && separators.into_iter().all(is_separator)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(is_word);
    let all = text
        .bytes()
        .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
    first && all && text.len() <= LONGEST_TAG
}
