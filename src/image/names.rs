//! The names of images: which one matches a reference, and which one is close to it.
//!
//! Pure. [`super::layout`] and [`super::docker`] use it to choose among the images of an archive.

use std::collections::BTreeSet;

use crate::error::{Error, Result};

use super::reference::{self, Reference};

/// Prefixes that Docker leaves out of the names that it shows.
const DOCKER_PREFIXES: [&str; 2] = ["docker.io/library/", "docker.io/"];
/// How many names an error lists.
const LISTED_MAX: usize = 30;
/// How similar, from 0 to 1, a name must be to be suggested.
const ALIKE: f64 = 0.8;

/// Suffixes of archives, which are not part of an image's name.
const ENDINGS: [&str; 11] = [
    ".gz", ".tgz", ".zst", ".zstd", ".tzst", ".xz", ".txz", ".oci", ".docker", ".tar", ".img",
];
/// The length of a name in a store, in bytes.
const LENGTH_MAX: usize = 512;

/// Whether `wanted` matches an image's name: Docker's short names match its long ones, and no tag
/// means `latest`.
pub fn matches(wanted: &str, name: &str) -> bool {
    let short = |name: &str| -> String {
        let mut prefixes = DOCKER_PREFIXES.iter();
        let rest = prefixes.find_map(|prefix| name.strip_prefix(prefix));
        rest.unwrap_or(name).into()
    };
    wanted == name || tagged(&short(wanted)) == tagged(&short(name))
}

/// No tag means `latest`.
fn tagged(name: &str) -> String {
    match name.rsplit('/').next().unwrap_or_default().contains(':') {
        true => name.into(),
        false => format!("{name}:latest"),
    }
}

/// The name that may have been meant, if one is similar.
pub fn closest<T: AsRef<str>>(wanted: &str, names: impl IntoIterator<Item = T>) -> Option<T> {
    let alike = |name: T| (strsim::jaro_winkler(wanted, name.as_ref()), name);
    let alike = names
        .into_iter()
        .map(alike)
        .filter(|(alike, _)| *alike >= ALIKE);
    let closest = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    closest.map(|(_, name)| name)
}

/// The error for an unknown name, which lists the names that there are.
pub fn no_such(wanted: &str, names: &[String]) -> Error {
    let error = Error::not_found(format!("no image is named {wanted}"));
    let closest = closest(wanted, names);
    let listed = listed(names);
    error.hint(match (closest, names.is_empty()) {
        (_, true) => "the images in it have no names: leave the name out".to_string(),
        (Some(closest), _) if names.len() == 1 => format!("did you mean {closest}?"),
        (Some(closest), _) => format!("did you mean {closest}? There are: {listed}"),
        (None, _) => format!("there are: {listed}"),
    })
}

/// The error for a reference without a name if there are several images.
pub fn ambiguous(names: &[String]) -> Error {
    let error = Error::not_found("there are several images, and no name says which");
    error.hint(format!(
        "add one of these to the reference, after a colon: {}",
        listed(names)
    ))
}

/// The error for an image number, from 0, that does not exist.
pub fn no_such_index(at: usize, count: usize) -> Error {
    let what = format!("there is no image @{at}");
    Error::not_found(what).hint(match count {
        0 => "there is no image in it".to_string(),
        1 => "there is one image, @0".to_string(),
        more => format!("there are {more} images, @0 to @{}", more - 1),
    })
}

/// The error for a name of several images, which only digests (with `@`) tell apart.
pub fn of_one_name(name: Option<&str>, digests: &[String]) -> Error {
    let count = digests.len();
    let what = match name {
        Some(name) => format!("there are {count} different images named {name}"),
        None => format!("there are {count} different images, and no name says which"),
    };
    Error::not_found(what).hint(format!(
        "add the digest of one of them to the reference: {}",
        listed(digests)
    ))
}

/// The error for a name of several images, in a reference that takes no digest.
pub fn several(name: &str, count: usize) -> Error {
    let what = format!("there are {count} images named {name}");
    Error::not_found(what).hint("give the one that is meant a name of its own: `skopeo copy`")
}

/// The distinct names, sorted; only the first ones if there are very many.
pub fn listed(names: &[String]) -> String {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    let first = names.into_iter().take(LISTED_MAX);
    let first = first.collect::<Vec<_>>().join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// A name for an image in a store, with the tag `latest` if it has none.
///
/// Errors: it could not be given on a command line: empty, too long, with white space or characters that are not
/// printed, or like a digest or an option ([`Kind::Usage`](crate::Kind::Usage)).
pub fn parse(name: &str) -> Result<String> {
    let refuse = |why: &str| {
        let shown = crate::path::display(name.as_bytes());
        Err(Error::usage(format!(
            "{shown} is not a name for an image: {why}"
        )))
    };
    if name.is_empty() {
        return Err(Error::usage("the name for the image is empty"));
    }
    if name.len() > LENGTH_MAX {
        let text = format!("the name for the image has more than {LENGTH_MAX} bytes");
        return Err(Error::usage(text));
    }
    if name.contains(char::is_whitespace)
        || crate::path::display(name.as_bytes()).to_string() != name
    {
        return refuse("it has white space or characters that are not printed");
    }
    if name.starts_with('-')
        || name.contains('@')
        || name.starts_with(['/', '.', ':'])
        || name.ends_with([':', '/'])
    {
        return refuse("it would be read as something else");
    }
    if crate::digest::Digest::parse(name).is_ok() {
        return refuse("it is a digest");
    }
    // `store:oci:latest` would find it, but `oci:latest` never.
    if name.contains("://") || reference::prefix(name.as_bytes()).is_some() {
        return refuse("it would be read as the place of an image");
    }
    Ok(tagged(name))
}

/// How closely a name in a store matches: 0 is best, `None` not at all. After the name itself come those
/// without what Docker leaves out, and those behind a `/`.
pub fn rank(wanted: &str, name: &str) -> Option<u8> {
    if wanted == name {
        return Some(0);
    }
    if matches(wanted, name) {
        return Some(1);
    }
    let rest = name.strip_suffix(&*tagged(wanted))?;
    rest.ends_with('/').then_some(2)
}

/// The names of an image in a store: the full ones that it came with, or else one made of its file's name and
/// its tag.
pub fn in_store(given: &[String], reference: &Reference) -> Vec<String> {
    let is_full = |name: &&String| name.contains(['/', ':']);
    let full = given.iter().filter(is_full);
    let full: Vec<String> = full.filter_map(|name| parse(name).ok()).collect();
    if !full.is_empty() || !reference.is_named_by_file() {
        return full;
    }
    // `.` and `..` have a name of their own.
    let path = reference.path.canonicalize().unwrap_or_default();
    let Some(file) = path.file_name().and_then(|name| name.to_str()) else {
        return Vec::new();
    };
    let mut base = file;
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| base.strip_suffix(ending)) {
        base = shorter;
    }
    let tag = given.iter().find(|name| !is_full(name));
    let tag = tag.map_or("latest", String::as_str);
    parse(&format!("{base}:{tag}")).into_iter().collect()
}
