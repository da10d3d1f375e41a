//! Where a repository is asked for: its mirrors in order, then its registry, as containers-registries.conf(5) says.
//!
//! [`super::hosts`] calls it. What is not understood in a table that applies is an error: it may be there to forbid
//! something. Short names are not looked up: a name without a host is one of docker.io.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};

use super::name::Name;

/// A place to ask for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The host and the repository there.
    pub name: Name,
    /// Whether certificates are not verified, and plain HTTP will do.
    pub is_insecure: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    registry: Vec<Table>,
    /// Version 1.
    registries: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Table {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

/// The places for a name on this host. Errors: it is blocked ([`Kind::Refused`](crate::Kind::Refused)); a file cannot be
/// understood ([`Kind::Conflict`](crate::Kind::Conflict)).
pub fn of(name: &Name) -> Result<Vec<Endpoint>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut tables = Vec::new();
    for path in files(&variable) {
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::system(format!("reading {shown}"), error)),
        };
        let file = parse(&text).map_err(|why| Error::conflict(format!("{shown}: {why}")))?;
        for table in file {
            // A later file overrides an earlier one.
            tables.retain(|(_, known): &(PathBuf, Table)| known.prefix() != table.prefix());
            tables.push((path.clone(), table));
        }
    }
    let applies = tables
        .iter()
        .filter_map(|(path, table)| Some((table.rank(name)?, path, table)));
    match applies.max_by_key(|(rank, ..)| *rank) {
        None => Ok(vec![Endpoint::of(name)]),
        Some((_, path, table)) => table.endpoints(name, path),
    }
}

/// The files, those that override others last.
fn files(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let home = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
    let home = home.map(|path| path.join("containers"));
    let own = home.as_ref().map(|home| home.join("registries.conf"));
    let given = variable("CONTAINERS_REGISTRIES_CONF").map(PathBuf::from);
    let main = given.or_else(|| own.filter(|path| path.exists()));
    let mut files = vec![main.unwrap_or_else(|| "/etc/containers/registries.conf".into())];
    let directories = match variable("CONTAINERS_REGISTRIES_CONF_DIR") {
        Some(only) => vec![PathBuf::from(only)],
        None => {
            let own = home.map(|home| home.join("registries.conf.d"));
            let all = Some("/etc/containers/registries.conf.d".into());
            all.into_iter().chain(own).collect()
        }
    };
    for directory in directories {
        let entries = directory.read_dir().into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_one = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "conf");
        let mut paths: Vec<PathBuf> = paths.filter(is_one).collect();
        paths.sort();
        files.append(&mut paths);
    }
    files
}

fn parse(text: &str) -> std::result::Result<Vec<Table>, String> {
    let file: File = basic_toml::from_str(text).map_err(|error| error.to_string())?;
    match file.registries {
        Some(_) => Err("it is in the format of version 1, which is not read".into()),
        None => Ok(file.registry),
    }
}

impl Endpoint {
    fn of(name: &Name) -> Endpoint {
        Endpoint {
            name: name.clone(),
            is_insecure: false,
        }
    }
}

impl Table {
    fn prefix(&self) -> &str {
        match self.prefix.is_empty() {
            true => &self.location,
            false => &self.prefix,
        }
    }

    /// How well it fits a name: by the length of its prefix.
    fn rank(&self, name: &Name) -> Option<usize> {
        let (prefix, place) = (self.prefix(), name.place());
        let fits = match prefix.strip_prefix('*') {
            Some(domain) => {
                let host = name.host.split(':').next().unwrap_or_default();
                domain.starts_with('.') && host.ends_with(domain)
            }
            None => {
                let rest = place.strip_prefix(prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        };
        (fits && !prefix.is_empty()).then_some(prefix.len())
    }

    fn endpoints(&self, name: &Name, path: &Path) -> Result<Vec<Endpoint>> {
        let (shown, prefix) = (path.display(), self.prefix());
        let unknown = self.mirror.iter().flat_map(|mirror| mirror.unknown.keys());
        if let Some(key) = self.unknown.keys().chain(unknown).next() {
            let text = format!("{shown}: the table of {prefix} has {key}, which is not known here");
            return Err(
                Error::conflict(text).hint("`skopeo copy` fetches the image, to oci:DIR:TAG")
            );
        }
        if self.blocked {
            let text = format!("{} is blocked by {shown}", name.place());
            return Err(Error::refused(text).hint("name another registry, or change that file"));
        }
        let mut endpoints = Vec::new();
        for mirror in &self.mirror {
            let (is_pinned, only) = (name.digest.is_some(), &*mirror.pull_from_mirror);
            let is_asked = match (only, self.mirror_by_digest_only) {
                ("digest-only", _) => is_pinned,
                ("tag-only", _) => !is_pinned,
                ("" | "all", by_digest_only) => is_pinned || !by_digest_only,
                (other, _) => {
                    let text = format!("{shown}: pull-from-mirror is {other}");
                    return Err(Error::conflict(text).hint("it is all, digest-only or tag-only"));
                }
            };
            if is_asked {
                endpoints.push(self.moved(name, &mirror.location, mirror.insecure, path)?);
            }
        }
        endpoints.push(self.moved(name, &self.location, self.insecure, path)?);
        Ok(endpoints)
    }

    /// The name with another location in the place of the prefix.
    fn moved(
        &self,
        name: &Name,
        location: &str,
        is_insecure: bool,
        path: &Path,
    ) -> Result<Endpoint> {
        let place = name.place();
        // A prefix with a wildcard stands for the whole host.
        let rest = match self.prefix().starts_with('*') {
            true => place.strip_prefix(&name.host),
            false => place.strip_prefix(self.prefix()),
        };
        let place = match location {
            "" => place.clone(),
            location => format!("{location}{}", rest.unwrap_or_default()),
        };
        let moved = Name::parse(&place).map_err(|error| {
            let text = format!(
                "{}: location {location}: {}",
                path.display(),
                error.reason()
            );
            Error::conflict(text)
        })?;
        let name = Name {
            tag: name.tag.clone(),
            digest: name.digest.clone(),
            ..moved
        };
        Ok(Endpoint { name, is_insecure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        unqualified-search-registries = ["docker.io"]
        [aliases]
        "alpine" = "docker.io/library/alpine"
        [[registry]]
        prefix = "example.org/team"
        location = "inside.example.org:5000/mirrored"
        insecure = true
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "one.example.org/hub"
        [[registry.mirror]]
        location = "two.example.org"
        pull-from-mirror = "digest-only"
        insecure = true
        [[registry]]
        prefix = "*.wild.org"
        location = "tame.org"
        [[registry]]
        prefix = "bad.org"
        blocked = true
        [[registry]]
        prefix = "bad.org/but/good"
        [[registry]]
        prefix = "odd.org"
        sig-store = "x"
    "#;

    fn of(name: &str) -> Result<Vec<String>> {
        let name = Name::parse(name).unwrap();
        let tables = parse(TEXT).unwrap();
        let applies = tables
            .iter()
            .filter_map(|table| Some((table.rank(&name)?, table)));
        let Some((_, table)) = applies.max_by_key(|(rank, _)| *rank) else {
            return Ok(vec![name.place()]);
        };
        let endpoints = table.endpoints(&name, Path::new("it"))?;
        let shown = endpoints.iter().map(|endpoint| {
            let insecure = if endpoint.is_insecure { "!" } else { "" };
            format!("{}{insecure}", endpoint.name.place())
        });
        Ok(shown.collect())
    }

    #[test]
    fn the_longest_prefix_decides_where_a_name_is_asked_for() {
        let digest = format!("alpine@sha256:{}", "0".repeat(64));
        for (name, expected) in [
            (
                "example.org/team/app",
                &["inside.example.org:5000/mirrored/app!"][..],
            ),
            ("example.org/teams/app", &["example.org/teams/app"]),
            (
                "alpine",
                &[
                    "one.example.org/hub/library/alpine",
                    "docker.io/library/alpine",
                ],
            ),
            (
                &digest,
                &[
                    "one.example.org/hub/library/alpine",
                    "two.example.org/library/alpine!",
                    "docker.io/library/alpine",
                ],
            ),
            ("a.wild.org:99/x", &["tame.org/x"]),
            ("wild.org/x", &["wild.org/x"]),
            ("bad.org/but/good", &["bad.org/but/good"]),
        ] {
            assert_eq!(of(name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_blocked_or_not_understood_is_refused() {
        use crate::error::Kind;
        for (name, kind) in [
            ("bad.org/but/bad", Kind::Refused),
            ("odd.org/x", Kind::Conflict),
        ] {
            assert_eq!(of(name).unwrap_err().kind(), kind, "{name}");
        }
        assert!(parse("[registries.search]\nregistries = []").is_err());
        assert!(parse("[[registry]").is_err());
    }
}
