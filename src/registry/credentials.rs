//! Users and passwords: the auth files of Podman, skopeo and Docker, and the programs that these name. Source: containers-auth.json(5), and Docker's `config.json`.
//!
//! [`super::token`] asks for them once a registry wants some. A secret is never in an error, a log or an argument.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::access::Logins;
use super::helper;
use super::name::Name;

/// What Docker calls docker.io in its files.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// The user whose password is an identity token.
const TOKEN_USER: &str = "<token>";

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text itself, for a request.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What proves who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// What a token server gives tokens for.
    Identity(Secret),
    /// What the registry itself takes.
    Token(Secret),
}

/// A login, and where it was found.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub login: Login,
    /// As `the login SOURCE`.
    pub source: String,
}

/// What was found, and in which files it was looked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub found: Option<Credentials>,
    pub files: Vec<PathBuf>,
}

/// A file or a helper that does not work. It quotes nothing of what these hold.
#[derive(Debug)]
pub struct Trouble {
    pub text: String,
    pub hint: String,
}

impl Trouble {
    pub fn new(text: impl Into<String>, hint: impl Into<String>) -> Trouble {
        let (text, hint) = (text.into(), hint.into());
        Trouble { text, hint }
    }
}

/// As Go reads it: a member that is null is not there.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

/// Docker's also have a user and a password as they are, and a token for the registry.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The login for a repository: the one that was given, or that of the first file that has one.
pub fn find(name: &Name, logins: &Logins) -> Result<Search, Trouble> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let files = match logins {
        Logins::None => return Ok(Search::default()),
        Logins::Given(login) => {
            let (login, source) = (login.clone(), "that was given".into());
            return Ok(Search {
                found: Some(Credentials { login, source }),
                files: Vec::new(),
            });
        }
        Logins::File(file) if !file.exists() => {
            let text = format!("there is no auth file {}", shown(file));
            let hint = format!("{} makes it", log_in(&name.host, logins));
            return Err(Trouble::new(text, hint));
        }
        Logins::File(file) => vec![file.clone()],
        Logins::Found => files(&variable, rustix::process::geteuid().as_raw()),
    };
    let mut found = None;
    for file in &files {
        found = in_file(file, name)?;
        if found.is_some() {
            break;
        }
    }
    Ok(Search { found, files })
}

/// The command that writes a login where it is looked for.
pub fn log_in(host: &str, logins: &Logins) -> String {
    match logins {
        Logins::File(file) => {
            let file = crate::escape::quoted(file.as_os_str());
            let file = String::from_utf8_lossy(&file);
            format!("`podman login --authfile {file} {host}`")
        }
        _ => format!("`podman login {host}`"),
    }
}

fn shown(path: &Path) -> String {
    crate::path::display(path.as_os_str().as_encoded_bytes()).to_string()
}

/// The auth files, in the order in which they are asked.
fn files(variable: &dyn Fn(&str) -> Option<OsString>, user: u32) -> Vec<PathBuf> {
    if let Some(only) = variable("REGISTRY_AUTH_FILE") {
        return vec![only.into()];
    }
    let home = variable("HOME").map(PathBuf::from);
    let under_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let runtime = match variable("XDG_RUNTIME_DIR") {
        Some(path) => PathBuf::from(path).join("containers"),
        None => PathBuf::from(format!("/run/containers/{user}")),
    };
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| under_home(".config"));
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| under_home(".docker"));
    let files = [
        Some(runtime.join("auth.json")),
        config.map(|path| path.join("containers/auth.json")),
        docker.map(|path| path.join("config.json")),
    ];
    files.into_iter().flatten().collect()
}

fn in_file(path: &Path, name: &Name) -> Result<Option<Credentials>, Trouble> {
    let shown = shown(path);
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("the auth file {shown} cannot be read: {error}");
            return Err(Trouble::new(text, "log in again, or correct its mode"));
        }
    };
    // /dev/null stands for no logins.
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The parser's message might quote a secret.
    let file: AuthFile = serde_json::from_slice(&bytes).map_err(|_| {
        let text = format!("the auth file {shown} is not one: it is JSON with `auths`");
        Trouble::new(text, "log in again after removing it")
    })?;
    let found = in_auths(&file, name);
    let found = found.map_err(|trouble| Trouble {
        text: format!("{shown}: {}", trouble.text),
        ..trouble
    })?;
    Ok(found.map(|(login, helper)| {
        let source = match helper {
            Some(helper) => format!("of {}, which {shown} names,", helper::program(&helper)),
            None => format!("in {shown}"),
        };
        Credentials { login, source }
    }))
}

/// A login, and the helper that has it if one does.
fn in_auths(file: &AuthFile, name: &Name) -> Result<Option<(Login, Option<String>)>, Trouble> {
    let hub = [DOCKER_KEY, "index.docker.io"];
    let others = match name.host.as_str() {
        "docker.io" => &hub[..],
        _ => &[],
    };
    let servers = || std::iter::once(name.host.as_str()).chain(others.iter().copied());
    let helpers = file.cred_helpers.as_ref();
    let own = servers().find_map(|server| Some((helpers?.get(server)?, server)));
    if let Some((helper, server)) = own {
        let login = helper::ask(helper, server)?;
        return Ok(login.map(|login| (login, Some(helper.clone()))));
    }
    if let Some(store) = file.creds_store.as_ref().filter(|name| !name.is_empty()) {
        // Docker's name for it, where it has one of its own.
        let server = others.first().copied().unwrap_or(&name.host);
        if let Some(login) = helper::ask(store, server)? {
            return Ok(Some((login, Some(store.clone()))));
        }
    }
    let Some((key, entry)) = entry(file, name) else {
        return Ok(None);
    };
    match entry.login() {
        Some(login) => Ok(login.map(|login| (login, None))),
        None => {
            let text = format!("the `auth` of {key} is not base64 of USER:PASSWORD");
            let hint = format!("`podman login {}` writes another", name.host);
            Err(Trouble::new(text, hint))
        }
    }
}

/// The entry of the longest key; Docker's may be URLs.
fn entry<'a>(file: &'a AuthFile, name: &Name) -> Option<(String, &'a Entry)> {
    let auths = file.auths.as_ref()?;
    let get = |key: &String| auths.get(key)?.as_ref();
    let exact = keys(name).into_iter();
    let mut exact = exact.filter_map(|key| get(&key).map(|entry| (key, entry)));
    exact.next().or_else(|| {
        let host_of = |key: &str| -> Option<String> {
            let rest = key.strip_prefix("https://");
            let rest = rest.or_else(|| key.strip_prefix("http://"))?;
            rest.split('/').next().map(String::from)
        };
        let key = auths
            .keys()
            .find(|key| host_of(key).as_ref() == Some(&name.host))?;
        Some((key.clone(), get(key)?))
    })
}

impl Entry {
    /// `Some(None)` if it has none; `None` if it cannot be understood.
    fn login(&self) -> Option<Option<Login>> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.identitytoken) {
            return Some(Some(Login::Identity(Secret(token))));
        }
        if let Some(token) = filled(&self.registrytoken) {
            return Some(Some(Login::Token(Secret(token))));
        }
        match (filled(&self.auth), filled(&self.username)) {
            (Some(auth), _) => decode(&auth).map(Some),
            (None, Some(user)) => {
                let password = self.password.as_deref().unwrap_or_default();
                Some(Some(Login::of(&user, password)))
            }
            (None, None) => Some(None),
        }
    }
}

/// The keys of a repository in an auth file, the longest first.
fn keys(name: &Name) -> Vec<String> {
    let mut place = name.place();
    let mut keys = vec![place.clone()];
    while let Some((shorter, _)) = place.rsplit_once('/') {
        place = shorter.into();
        keys.push(place.clone());
    }
    if name.host == "docker.io" {
        keys.extend([DOCKER_KEY.into(), "index.docker.io".into()]);
    }
    keys
}

/// The password may have colons, and Docker once wrote NULs behind it.
fn decode(auth: &str) -> Option<Login> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0');
    Some(Login::of(user, password))
}

impl Login {
    /// As auth files and helpers spell it.
    pub fn of(user: &str, password: &str) -> Login {
        let password = Secret::new(password.into());
        match user {
            TOKEN_USER => Login::Identity(password),
            user => Login::Password {
                user: user.into(),
                password,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::of(user, password))
    }

    #[test]
    fn the_longest_key_wins() {
        let auth = |text: &str| format!("{{\"auth\":\"{}\"}}", STANDARD.encode(text));
        let text = format!(
            "{{\"auths\":{{\"h.x\":{},\"h.x/a\":{},\"{DOCKER_KEY}\":{}}}}}",
            auth("host:1"),
            auth("a:2:3\0"),
            auth("hub:4"),
        );
        let file: AuthFile = serde_json::from_str(&text).unwrap();
        for (name, expected) in [
            ("h.x/a/b", password("a", "2:3")),
            ("h.x/b", password("host", "1")),
            ("alpine", password("hub", "4")),
            ("other.x/a", None),
        ] {
            let name = Name::parse(name).unwrap();
            let found = in_auths(&file, &name).unwrap();
            assert_eq!(found.map(|(login, _)| login), expected, "{name:?}");
        }
    }

    #[test]
    fn entries_are_as_docker_and_podman_write_them() {
        let identity = Some(Login::Identity(Secret::new("t".into())));
        let token = Some(Login::Token(Secret::new("t".into())));
        for (entry, expected) in [
            (r#"{"auth":"dTpw","identitytoken":"t"}"#, identity.clone()),
            (r#"{"auth":"PHRva2VuPjp0"}"#, identity),
            (r#"{"registrytoken":"t"}"#, token),
            (r#"{"username":"u","password":"p"}"#, password("u", "p")),
            (r#"{"auth":null}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            for key in ["h.x", "https://h.x", "https://h.x/v1/", "http://h.x/v2/"] {
                let text = format!(r#"{{"auths":{{"{key}":{entry},"h.xy":{{"auth":"?"}}}}}}"#);
                let file: AuthFile = serde_json::from_str(&text).unwrap();
                let found = in_auths(&file, &Name::parse("h.x/a").unwrap()).unwrap();
                assert_eq!(found.map(|(login, _)| login), expected, "{key} {entry}");
            }
        }
        let text = r#"{"auths":null,"credHelpers":null,"credsStore":""}"#;
        let file: AuthFile = serde_json::from_str(text).unwrap();
        assert!(
            in_auths(&file, &Name::parse("a").unwrap())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_bad_entry_names_its_key_and_shows_nothing_of_it() {
        let file: AuthFile =
            serde_json::from_str(r#"{"auths":{"h.x":{"auth":"c2VjcmV0"}}}"#).unwrap();
        let trouble = in_auths(&file, &Name::parse("h.x/a").unwrap()).unwrap_err();
        let error = trouble.text;
        assert!(
            error.contains("h.x") && !error.contains("c2VjcmV0"),
            "{error}"
        );
    }

    #[test]
    fn files_are_asked_in_the_documented_order() {
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            }
        };
        let shown = |files: Vec<PathBuf>| -> Vec<String> {
            files
                .iter()
                .map(|file| file.display().to_string())
                .collect()
        };
        let all = set(&[
            ("HOME", "/h"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("DOCKER_CONFIG", "/d"),
        ]);
        let expected = [
            "/r/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/d/config.json",
        ];
        assert_eq!(shown(files(&all, 0)), expected);
        let user = "/run/containers/1000/auth.json";
        assert_eq!(shown(files(&set(&[]), 1000)), [user]);
        let only = set(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f")]);
        assert_eq!(shown(files(&only, 0)), ["/f"]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", password("user", "hunter2"));
        assert!(
            shown.contains("user") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
