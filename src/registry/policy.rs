//! containers-policy.json(5): what it rejects, and what needs a check that is not made here, is refused.
//!
//! Otherwise lowerdir would be the way around the policy of a host. A signature of sigstore with a key can be checked:
//! [`super::Repository`] does, for each [`Requirement`].

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::error::{Error, Result};

use super::name::Name;
use super::signature::{Identity, Key};

/// A signature that an image must have: by one of these keys, for that name.
#[derive(Clone, Debug)]
pub struct Requirement {
    pub keys: Vec<Key>,
    pub identity: Identity,
}

/// The signatures that an image of that name must have. Errors: the policy of this host does not let it through
/// ([`Kind::Refused`](crate::Kind::Refused)), or is not readable.
pub fn requirements(name: &Name) -> Result<Vec<Requirement>> {
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
        return of(&policy, name)?.ok_or_else(|| {
            let text = format!(
                "{shown} rejects {}, or asks for a signature of another sort",
                name.place()
            );
            let hint = "signatures by keys of sigstore are checked here; `skopeo copy` checks others, to oci:DIR:TAG";
            Error::refused(text).hint(hint)
        });
    }
    Ok(Vec::new())
}

/// What a policy wants for a name; `None` if it rejects it, or what it wants cannot be checked here.
fn of(policy: &Value, name: &Name) -> Result<Option<Vec<Requirement>>> {
    let docker = &policy["transports"]["docker"];
    let scoped = scopes(name).into_iter().find_map(|scope| docker.get(scope));
    let wanted = scoped.unwrap_or(&policy["default"]).as_array();
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(None);
    };
    let mut requirements = Vec::new();
    for one in wanted {
        match one["type"].as_str() {
            Some("insecureAcceptAnything") => {}
            Some("sigstoreSigned") => match requirement(one)? {
                Some(requirement) => requirements.push(requirement),
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok(Some(requirements))
}

/// `None` if something in it is not understood here.
fn requirement(wanted: &Value) -> Result<Option<Requirement>> {
    let Some(members) = wanted.as_object() else {
        return Ok(None);
    };
    let mut keys = Vec::new();
    let mut identity = Identity::RepositoryOrExact;
    for (member, value) in members {
        let texts = value.as_array().into_iter().flatten().chain(Some(value));
        let texts = texts.filter_map(Value::as_str);
        match &**member {
            "type" => {}
            "keyPath" | "keyPaths" => {
                for path in texts {
                    keys.push(Key::in_file(path.as_ref())?);
                }
            }
            "keyData" | "keyDatas" => {
                for text in texts {
                    let pem = STANDARD.decode(text).ok();
                    let Some(key) = pem.and_then(|pem| Key::parse(&pem)) else {
                        return Ok(None);
                    };
                    keys.push(key);
                }
            }
            "signedIdentity" => match identity_of(value) {
                Some(understood) => identity = understood,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    Ok((!keys.is_empty()).then_some(Requirement { keys, identity }))
}

fn identity_of(value: &Value) -> Option<Identity> {
    let text = |member: &str| value[member].as_str().map(String::from);
    match value["type"].as_str()? {
        "matchRepository" => Some(Identity::Repository),
        "matchRepoDigestOrExact" => Some(Identity::RepositoryOrExact),
        "matchExact" => Some(Identity::Exact),
        "exactReference" => text("dockerReference").map(Identity::Reference),
        "exactRepository" => text("dockerRepository").map(Identity::ExactRepository),
        _ => None,
    }
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

    fn permits(policy: &Value, name: &str) -> bool {
        let wanted = of(policy, &Name::parse(name).unwrap()).unwrap();
        wanted.is_some_and(|wanted| wanted.is_empty())
    }

    #[test]
    fn signatures_by_keys_are_wanted_and_others_are_refused() {
        let key = STANDARD.encode(include_bytes!("signature/key.pem"));
        let wanted = |one: Value| {
            let policy = json!({ "default": [one] });
            of(&policy, &Name::parse("h.x/a").unwrap()).unwrap()
        };
        let signed = |more: Value| {
            let mut one = json!({"type": "sigstoreSigned", "keyData": key});
            one.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            wanted(one)
        };
        let usual = signed(json!({})).unwrap();
        assert_eq!(usual[0].identity, Identity::RepositoryOrExact);
        let loose = json!({"signedIdentity": {"type": "matchRepository"}});
        assert_eq!(signed(loose).unwrap()[0].identity, Identity::Repository);
        for odd in [
            json!({"fulcio": {}}),
            json!({"rekorPublicKeyData": "x"}),
            json!({"signedIdentity": {"type": "remapIdentity"}}),
            json!({"keyData": "AAAA"}),
        ] {
            assert!(signed(odd.clone()).is_none(), "{odd}");
        }
        assert!(wanted(json!({"type": "sigstoreSigned"})).is_none());
        assert!(wanted(json!({"type": "signedBy", "keyPath": "/x"})).is_none());
    }

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
            assert_eq!(permits(&policy, name), is, "{name}");
        }
        let everything = json!({ "default": accept });
        assert!(permits(&everything, "alpine"));
        assert!(!permits(&json!({}), "alpine"));
    }
}
