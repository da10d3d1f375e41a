//! containers-policy.json(5): what it rejects, and what needs a check that is not made here, is refused.
//!
//! Otherwise lowerdir would be the way around the policy of a host.

use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Error, Result};

use super::name::Name;

/// Errors: the policy of this host does not let everything of that name through
/// ([`Kind::Refused`](crate::Kind::Refused)), or is not readable.
pub fn check(name: &Name) -> Result<()> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let own = home.map(|home| home.join(".config/containers/policy.json"));
    let files = own
        .into_iter()
        .chain([PathBuf::from("/etc/containers/policy.json")]);
    for path in files {
        let shown = path.display();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::system(format!("reading {shown}"), error)),
        };
        let policy: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Error::conflict(format!("{shown} is not a policy: {error}")))?;
        if permits(&policy, name) {
            return Ok(());
        }
        let text = format!("{shown} rejects {}, or asks for a signature", name.place());
        let hint = "signatures are not checked here: `skopeo copy` does, to oci:DIR:TAG";
        return Err(Error::refused(text).hint(hint));
    }
    Ok(())
}

/// Whether the requirements for a name are there, and nothing is to be checked.
fn permits(policy: &Value, name: &Name) -> bool {
    let docker = &policy["transports"]["docker"];
    let scoped = scopes(name).into_iter().find_map(|scope| docker.get(scope));
    let requirements = scoped.unwrap_or(&policy["default"]).as_array();
    let accepts = |one: &Value| one["type"] == "insecureAcceptAnything";
    requirements.is_some_and(|all| !all.is_empty() && all.iter().all(accepts))
}

/// The scopes of a name, the narrowest first.
fn scopes(name: &Name) -> Vec<String> {
    let mut place = name.place();
    let digest = name
        .digest
        .as_ref()
        .map(|digest| format!("{place}@{digest}"));
    let tag = name.tag.as_ref().map(|tag| format!("{place}:{tag}"));
    let mut scopes: Vec<String> = digest.or(tag).into_iter().collect();
    scopes.push(place.clone());
    while let Some((shorter, _)) = place.rsplit_once('/') {
        place = shorter.into();
        scopes.push(place.clone());
    }
    let mut domain = name.host.split(':').next().unwrap_or_default();
    while let Some((_, wider)) = domain.split_once('.') {
        scopes.push(format!("*.{wider}"));
        domain = wider;
    }
    scopes.push(String::new());
    scopes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_narrowest_scope_decides_and_only_acceptance_permits() {
        let accept = json!([{"type": "insecureAcceptAnything"}]);
        let reject = json!([{"type": "reject"}]);
        let signed = json!([{"type": "insecureAcceptAnything"}, {"type": "signedBy"}]);
        let policy = json!({
            "default": reject,
            "transports": { "docker": {
                "h.x": accept, "h.x/a": signed, "h.x/a/b": accept, "h.x/c:2": reject,
                "*.y": accept, "no.y": [],
            } },
        });
        for (name, is) in [
            ("h.x/z", true),
            ("h.x/a", false),
            ("h.x/a/b", true),
            ("h.x/c:1", true),
            ("h.x/c:2", false),
            ("some.y/a", true),
            ("no.y/a", false),
            ("alpine", false),
        ] {
            assert_eq!(permits(&policy, &Name::parse(name).unwrap()), is, "{name}");
        }
        let everything = json!({ "default": accept });
        assert!(permits(&everything, &Name::parse("alpine").unwrap()));
        assert!(!permits(&json!({}), &Name::parse("alpine").unwrap()));
    }
}
