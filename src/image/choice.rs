//! Chooses an image from an index: the only one, or the best match for the platform. Errors list the
//! images that are there, with digests (rule T2).
//!
//! [`super::layout`] calls it for each index on the way. Manifests and configs are read only if the
//! index leaves a doubt.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::error::{Advice, Error, Hint, Result};

use super::Selection;
use super::blob::Source;
use super::entries::{other_entry, other_manifest};
use super::json::{self, Config, Descriptor, Document};
use super::layout::{name_or_digest, names_of, platform_of};
use super::names;
use super::platform::Platform;

/// How many manifests are read to find out the platforms that an index does not give.
pub const LOOKS_MAX: usize = 50;
/// How many entries that are not images an error lists.
const LISTED_MAX: usize = 5;

/// Chooses the image among entries that all have the given `name`, if one was given.
pub fn choose(
    source: &Source,
    entries: Vec<Descriptor>,
    wanted: &Selection,
    name: Option<&str>,
) -> Result<Descriptor> {
    let (mut all, mut others) = candidates(entries);
    let mut best = best_of(&all, wanted);
    let says_nothing = |&at: &usize| all[at].platform.is_none();
    if best.len() > 1 || (all.len() > 1 && best.iter().any(says_nothing)) {
        for &at in best.iter().take(LOOKS_MAX) {
            all[at].inspect(source);
        }
        others.extend(all.iter().filter_map(Candidate::as_other));
        all.retain(|candidate| candidate.other.is_none());
        best = best_of(&all, wanted);
    }
    let Some((&first, more)) = best.split_first() else {
        return Err(match all.is_empty() {
            true => no_image(&others),
            false => wanted.no_such_platform(all.iter().filter_map(Candidate::label)),
        });
    };
    if !more.iter().all(|&at| all[at].is_same_image(&all[first])) {
        let several: Vec<&Candidate> = best.iter().map(|&at| &all[at]).collect();
        return Err(ambiguous(&several, name));
    }
    match missing_part(source, &all[first].descriptor) {
        Some(part) => Err(absent(source, part, &all[first], &all)),
        None => Ok(all.swap_remove(first).descriptor),
    }
}

/// An entry that may be the image.
struct Candidate {
    descriptor: Descriptor,
    /// From the index, or else from the config.
    platform: Option<Platform>,
    /// The digest of its config.
    config: Option<String>,
    /// What it is, if its manifest says that it is not an image.
    other: Option<String>,
}

impl Candidate {
    fn of(descriptor: Descriptor) -> Candidate {
        Candidate {
            platform: platform_of(&descriptor),
            descriptor,
            config: None,
            other: None,
        }
    }

    /// Reads the manifest and the config. Errors are ignored here: if the entry is chosen, reading it
    /// again reports them.
    fn inspect(&mut self, source: &Source) {
        let Some(document) = document(source, &self.descriptor) else {
            return;
        };
        self.other = other_manifest(&self.descriptor, &document);
        let Some(config) = document.config else {
            return;
        };
        if self.platform.is_none() {
            let bytes = config.fetch_config(source);
            let read =
                bytes.and_then(|bytes| json::parse::<Config>(&bytes, "the config", &json::CONFIG));
            self.platform = read.ok().and_then(|config| config.platform.platform());
        }
        self.config = Some(config.digest);
    }

    /// Whether both are the same image under two manifests: equal configs have equal layers.
    fn is_same_image(&self, other: &Candidate) -> bool {
        self.config.is_some() && self.config == other.config
    }

    /// Its platform and digest; `None` if the platform is not known.
    fn label(&self) -> Option<String> {
        let platform = self.platform.as_ref()?;
        Some(format!("{platform} ({})", short(&self.descriptor)))
    }

    fn as_other(&self) -> Option<String> {
        let other = self.other.as_ref()?;
        Some(format!("{other} ({})", short(&self.descriptor)))
    }

    /// How a reference names it by digest.
    fn by_digest(&self) -> String {
        let digest = &self.descriptor.digest;
        match &self.platform {
            Some(platform) => format!("@{digest} ({platform})"),
            None => format!("@{digest}"),
        }
    }
}

fn short(descriptor: &Descriptor) -> String {
    let digest = Digest::parse(&descriptor.digest);
    digest.map_or_else(|_| descriptor.digest.clone(), |digest| digest.short())
}

/// Each image once, and descriptions of the entries that are not images.
fn candidates(entries: Vec<Descriptor>) -> (Vec<Candidate>, Vec<String>) {
    let (mut images, mut others) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for entry in entries {
        match other_entry(&entry) {
            Some(other) => others.push(format!("{other} ({})", short(&entry))),
            None if seen.insert(entry.digest.clone()) => images.push(Candidate::of(entry)),
            None => {}
        }
    }
    (images, others)
}

/// The indices of the best matches: several if nothing distinguishes them. A single image is chosen
/// whatever its platform, unless a platform was given.
fn best_of(all: &[Candidate], wanted: &Selection) -> Vec<usize> {
    let machine = wanted.platform();
    let is_alone = all.len() == 1 && wanted.platform.is_none();
    let distance = |candidate: &Candidate| match &candidate.platform {
        // An exact match comes before an entry without a platform.
        None => Some(u32::MAX),
        Some(built_for) if is_alone && !built_for.needs_features() => Some(0),
        Some(built_for) => machine.distance(built_for),
    };
    let distances: Vec<Option<u32>> = all.iter().map(distance).collect();
    let Some(least) = distances.iter().flatten().min() else {
        return Vec::new();
    };
    let places = 0..all.len();
    places
        .filter(|&at| distances[at].as_ref() == Some(least))
        .collect()
}

fn document(source: &Source, descriptor: &Descriptor) -> Option<Document> {
    let bytes = descriptor.fetch(source, "the manifest").ok()?;
    json::parse(&bytes, "the manifest", &json::MANIFEST).ok()
}

/// Which document of a listed image is missing.
fn missing_part(source: &Source, descriptor: &Descriptor) -> Option<&'static str> {
    let has = |descriptor: &Descriptor| {
        let digest = Digest::parse(&descriptor.digest);
        digest.is_ok_and(|digest| !source.lacks(&digest))
    };
    match document(source, descriptor) {
        _ if !has(descriptor) => Some("manifest"),
        Some(Document {
            config: Some(config),
            ..
        }) if !has(&config) => Some("config"),
        _ => None,
    }
}

/// The error for an image that is listed, but was not fetched.
fn absent(source: &Source, part: &str, meant: &Candidate, all: &[Candidate]) -> Error {
    let (digest, platform) = (short(&meant.descriptor), meant.platform.as_ref());
    let of = platform.map_or_else(String::new, |platform| format!(" for {platform}"));
    let what = format!("the image{of} ({digest}) is listed, but its {part} is not there");
    let is_there = |candidate: &&Candidate| missing_part(source, &candidate.descriptor).is_none();
    let there = all.iter().take(LOOKS_MAX).filter(is_there);
    let there: Vec<String> = there.filter_map(Candidate::label).collect();
    Error::not_found(what).hint(match there.is_empty() {
        true => Hint::from("the image is incomplete: fetch it again"),
        false => Advice::ChoosePlatform.with(names::listed(&there)),
    })
}

/// The error for an index without images.
fn no_image(others: &[String]) -> Error {
    let listed = &others[..others.len().min(LISTED_MAX)];
    match (&listed, others.len() - listed.len()) {
        ([], _) => Error::not_found("there is no image in it"),
        (some, 0) => Error::refused(format!("there is no image in it, only {}", some.join(", "))),
        (some, more) => Error::refused(format!(
            "there is no image in it, only {} and {more} more such entries",
            some.join(", ")
        )),
    }
}

fn ambiguous(several: &[&Candidate], name: Option<&str>) -> Error {
    let names: Vec<String> = several
        .iter()
        .map(|candidate| name_or_digest(&candidate.descriptor))
        .collect();
    let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if name.is_none() && distinct {
        return names::ambiguous(&names);
    }
    let by_digest: Vec<String> = several.iter().map(|one| one.by_digest()).collect();
    let shared = several.first().map(|one| names_of(&one.descriptor));
    let shared = shared.and_then(|names| names.into_iter().next());
    names::of_one_name(name.or(shared.as_deref()), &by_digest)
}
