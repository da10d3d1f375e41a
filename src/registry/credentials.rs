//! Users and passwords: the auth files of Podman, skopeo and Docker, and the `docker-credential-*` programs that these
//! name. Source: containers-auth.json(5), and Docker's `config.json`.
//!
//! [`super::token`] asks for them once a registry wants some. A secret is never in an error, a log or an argument.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::access::Logins;
use super::name::Name;

/// What Docker calls docker.io in its files.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// The user whose password is an identity token.
const TOKEN_USER: &str = "<token>";

/// How long a helper may take: it may ask its user.
const HELPER_MAX: Duration = Duration::from_secs(60);
/// The longest answer of a helper that is read, in bytes.
const OUTPUT_MAX: u64 = 1 << 20;

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
    Password { user: String, password: Secret },
    Identity(Secret),
}

/// A login, and where it was found.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub login: Login,
    /// A file, if it was not given.
    pub found_in: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    identitytoken: String,
}

/// The answer of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The login for a repository: the one that was given, or that of the first file that has one. Errors: a file or a
/// helper does not work; the text names it.
pub fn find(name: &Name, logins: &Logins) -> Result<Option<Credentials>, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let user = rustix::process::geteuid();
    let files = match logins {
        Logins::None => return Ok(None),
        Logins::Given(login) => {
            return Ok(Some(Credentials {
                login: login.clone(),
                found_in: None,
            }));
        }
        Logins::File(file) if !file.exists() => {
            return Err(format!("there is no auth file {}", file.display()));
        }
        Logins::File(file) => vec![file.clone()],
        Logins::Found => files(&variable, user.is_root()),
    };
    for file in files {
        if let Some(login) = in_file(&file, name)? {
            let found_in = Some(file);
            return Ok(Some(Credentials { login, found_in }));
        }
    }
    Ok(None)
}

/// The auth files, in the order in which they are asked.
fn files(variable: &dyn Fn(&str) -> Option<OsString>, is_root: bool) -> Vec<PathBuf> {
    if let Some(only) = variable("REGISTRY_AUTH_FILE") {
        return vec![only.into()];
    }
    let home = variable("HOME").map(PathBuf::from);
    let under_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let runtime = match is_root {
        true => Some(PathBuf::from("/run/containers/0")),
        false => variable("XDG_RUNTIME_DIR").map(|path| PathBuf::from(path).join("containers")),
    };
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| under_home(".config"));
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| under_home(".docker"));
    let files = [
        runtime.map(|path| path.join("auth.json")),
        config.map(|path| path.join("containers/auth.json")),
        docker.map(|path| path.join("config.json")),
    ];
    files.into_iter().flatten().collect()
}

fn in_file(path: &Path, name: &Name) -> Result<Option<Login>, String> {
    let shown = crate::path::display(path.as_os_str().as_encoded_bytes()).to_string();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("the auth file {shown} cannot be read: {error}")),
    };
    // The parser's message might quote a secret.
    let file: AuthFile =
        serde_json::from_slice(&bytes).map_err(|_| format!("the auth file {shown} is not one"))?;
    in_auths(&file, name).map_err(|why| format!("{shown}: {why}"))
}

fn in_auths(file: &AuthFile, name: &Name) -> Result<Option<Login>, String> {
    if let Some(helper) = file.cred_helpers.get(&name.host) {
        return ask(helper, &name.host);
    }
    if !file.creds_store.is_empty() {
        let server = match name.host.as_str() {
            "docker.io" => DOCKER_KEY,
            host => host,
        };
        if let Some(login) = ask(&file.creds_store, server)? {
            return Ok(Some(login));
        }
    }
    let keys = keys(name);
    let found = keys
        .iter()
        .find_map(|key| Some((key, file.auths.get(key)?)));
    match found {
        Some((_, entry)) if !entry.identitytoken.is_empty() => Ok(Some(Login::Identity(
            Secret::new(entry.identitytoken.clone()),
        ))),
        Some((key, entry)) if !entry.auth.is_empty() => match decode(&entry.auth) {
            Some(login) => Ok(Some(login)),
            None => Err(format!(
                "the `auth` of {key} is not base64 of USER:PASSWORD"
            )),
        },
        _ => Ok(None),
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
    match name.host.as_str() {
        "docker.io" => keys.extend([DOCKER_KEY.into(), "index.docker.io".into()]),
        host => keys.extend(["https", "http"].map(|scheme| format!("{scheme}://{host}"))),
    }
    keys
}

/// The password may have colons, and Docker once wrote NULs behind it.
fn decode(auth: &str) -> Option<Login> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0');
    Some(login(user, password))
}

fn login(user: &str, password: &str) -> Login {
    let password = Secret::new(password.into());
    match user {
        TOKEN_USER => Login::Identity(password),
        user => Login::Password {
            user: user.into(),
            password,
        },
    }
}

/// Runs `docker-credential-HELPER get`.
fn ask(helper: &str, server: &str) -> Result<Option<Login>, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let program = format!("docker-credential-{helper}");
    if !helper.chars().all(is_name) {
        return Err("the name of a credential helper has odd characters".into());
    }
    let (is_good, output) = run(&program, server)
        .map_err(|error| format!("running {program}: {error}"))?
        .ok_or_else(|| format!("{program} did not answer in {} s", HELPER_MAX.as_secs()))?;
    if !is_good {
        let text = String::from_utf8_lossy(&output);
        return match text.contains("credentials not found") {
            true => Ok(None),
            false => Err(format!("{program} failed")),
        };
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| format!("{program} did not answer with a user and a secret"))?;
    Ok(Some(login(&answer.username, &answer.secret)))
}

/// Whether a helper succeeded, and what it printed; `None` if it took too long.
fn run(program: &str, server: &str) -> std::io::Result<Option<(bool, Vec<u8>)>> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that does not read it says no by its status.
    let _ = stdin.write_all(server.as_bytes());
    drop(stdin);
    let stdout = child.stdout.take().expect("it is piped");
    let (to, output) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(OUTPUT_MAX).read_to_end(&mut bytes);
        // Nobody waits any more if it took too long.
        let _ = to.send(read.map(|_| bytes));
    });
    let output = output.recv_timeout(HELPER_MAX);
    if output.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    match output {
        Ok(output) => Ok(Some((status.success(), output?))),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(login(user, password))
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
            assert_eq!(in_auths(&file, &name).unwrap(), expected, "{name:?}");
        }
    }

    #[test]
    fn a_bad_entry_names_its_key_and_shows_nothing_of_it() {
        let file: AuthFile =
            serde_json::from_str(r#"{"auths":{"h.x":{"auth":"c2VjcmV0"}}}"#).unwrap();
        let error = in_auths(&file, &Name::parse("h.x/a").unwrap()).unwrap_err();
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
        assert_eq!(shown(files(&all, false)), expected);
        let root = "/run/containers/0/auth.json";
        assert_eq!(shown(files(&set(&[]), true)), [root]);
        let only = set(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f")]);
        assert_eq!(shown(files(&only, true)), ["/f"]);
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
