//! The name of an image in a registry: `[HOST/]NAME[:TAG][@DIGEST]`. Pure.
//!
//! As in skopeo, a name without a host is one of docker.io: there are no short names and no search list.

use crate::digest::Digest;
use crate::error::{Error, Result};

const DEFAULT_HOST: &str = "docker.io";
/// distribution-spec, "Pulling manifests".
const TAG_MAX: usize = 128;
const LENGTH_MAX: usize = 255;

/// A repository, and which of its images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub host: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Name {
    /// Without a tag or a digest, it is tagged `latest`. Errors: it is not a name
    /// ([`Kind::Usage`](crate::Kind::Usage)).
    pub fn parse(text: &str) -> Result<Name> {
        let name = Name::parse_as_is(text)?;
        let latest = || name.digest.is_none().then(|| "latest".to_string());
        Ok(Name {
            tag: name.tag.clone().or_else(latest),
            ..name
        })
    }

    /// The same, where a name without a tag has none.
    pub(super) fn parse_as_is(text: &str) -> Result<Name> {
        let refuse = |why: &str| {
            let shown = crate::path::display(text.as_bytes());
            let what = format!("docker://{shown} is not the name of an image: {why}");
            let hint = "such names look like docker://[HOST/]NAME[:TAG][@DIGEST], in lower case";
            Error::usage(what).hint(hint)
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = Digest::parse(digest).map_err(|error| refuse(&error.to_string()))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (DEFAULT_HOST, rest),
        };
        let host = match host {
            "index.docker.io" => DEFAULT_HOST,
            host => host,
        };
        let repository = match host == DEFAULT_HOST && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_string(),
        };
        if !is_host(host) {
            return Err(refuse("its host cannot be one"));
        }
        if repository.len() > LENGTH_MAX || path.is_empty() || !repository.split('/').all(is_part) {
            return Err(refuse(
                "a part of it is empty or has characters that names cannot have",
            ));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("its tag cannot be one"));
        }
        Ok(Name {
            host: host.into(),
            repository,
            tag: tag.map(String::from),
            digest,
        })
    }

    /// `HOST/NAME`, which is parsed as the same repository.
    pub fn place(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }
}

fn is_host(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    !text.is_empty() && text.chars().all(is_allowed)
}

/// Lower case letters and digits, with separators between them.
fn is_part(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.chars().all(|c| is_word(c) || "._-".contains(c))
        && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG_MAX
        && text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || ".-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, place, tag) in [
            ("alpine", "docker.io/library/alpine", "latest"),
            ("alpine:3.20", "docker.io/library/alpine", "3.20"),
            (
                "index.docker.io/alpine",
                "docker.io/library/alpine",
                "latest",
            ),
            ("user/app", "docker.io/user/app", "latest"),
            ("localhost/app:1", "localhost/app", "1"),
            ("localhost:5000/a/b", "localhost:5000/a/b", "latest"),
            ("[::1]:5000/a:x", "[::1]:5000/a", "x"),
            ("example.org/a_b/c--d:V1.0", "example.org/a_b/c--d", "V1.0"),
        ] {
            let name = Name::parse(text).unwrap();
            assert_eq!(name.place(), place, "{text}");
            assert_eq!(name.tag.as_deref(), Some(tag), "{text}");
            assert_eq!(Name::parse(&name.place()).unwrap().place(), place);
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = Digest::of(b"x");
        let name = Name::parse(&format!("alpine@{digest}")).unwrap();
        assert_eq!((name.tag, name.digest), (None, Some(digest)));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "Alpine",
            "a//b",
            "a/../b",
            "/a",
            "a/",
            "a:",
            "a:.x",
            "a@sha256:1",
            "-a",
            "a b",
            "example.org/",
            "ex\u{e4}mple.org/a",
            "a?b",
            "example.org:80#/x",
        ] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }
}
