//! The names that images go by: which of them a user means, and which they may have meant.
//!
//! Pure. [`super::layout`] and [`super::docker`] choose by it among the images of one archive.

use std::collections::BTreeSet;

use crate::error::Error;

/// What Docker leaves out of the names that it shows.
const DOCKER_PREFIXES: [&str; 2] = ["docker.io/library/", "docker.io/"];
/// How alike two names are, from 0 to 1, before one is proposed for the other.
const ALIKE: f64 = 0.8;

/// Whether an image of this name is meant: Docker's short names stand for its long ones, and no
/// tag for `latest`.
pub fn is_meant(wanted: &str, name: &str) -> bool {
    let short = |name: &str| -> String {
        let mut prefixes = DOCKER_PREFIXES.iter();
        let rest = prefixes.find_map(|prefix| name.strip_prefix(prefix));
        rest.unwrap_or(name).into()
    };
    let tagged = |name: String| match name.rsplit('/').next().unwrap_or_default().contains(':') {
        true => name,
        false => name + ":latest",
    };
    wanted == name || tagged(short(wanted)) == tagged(short(name))
}

/// There is no image of a name: the error lists what there is.
pub fn no_such(wanted: &str, names: &[String]) -> Error {
    let error = Error::not_found(format!("no image is named {wanted}"));
    let closest = names
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let listed = listed(names);
    error.hint(match (closest, names.is_empty()) {
        (_, true) => "the images in it have no names: leave the name out".to_string(),
        (Some((_, closest)), _) if names.len() == 1 => format!("did you mean {closest}?"),
        (Some((_, closest)), _) => format!("did you mean {closest}? There are: {listed}"),
        (None, _) => format!("there are: {listed}"),
    })
}

/// There are several images, and the reference does not say which.
pub fn ambiguous(names: &[String]) -> Error {
    let error = Error::not_found("there are several images, and no name says which");
    error.hint(format!(
        "add one of these to the reference, after a colon: {}",
        listed(names)
    ))
}

/// Each once, in order.
pub fn listed(names: &[String]) -> String {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
