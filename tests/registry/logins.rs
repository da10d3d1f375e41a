//! Logins: which one is used for which host, how it is renewed, and that nothing shows it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::oci::{Compression, write_layout};
use support::program::{Run, lowerdir};
use support::tarball::LayerBuilder;

use crate::place::{Place, Reply, Request};

pub const PASSWORD: &str = "hunter2";
/// What the token server gives.
const TOKEN: &str = "token-hunter3";
/// What it gives tokens for.
const IDENTITY: &str = "identity-hunter4";
/// What the registry takes as it is.
const OWN: &str = "own-hunter5";

pub struct Site {
    directory: tempfile::TempDir,
    pub registry: Place,
    /// Where the blobs are.
    elsewhere: Place,
}

impl Site {
    /// An image in a registry that answers a request with what `guard` says, if that says anything, and has its blobs at
    /// another port.
    pub fn new(guard: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Site {
        Site::with(guard, |_| None)
    }

    /// The same with a guard for the other port.
    fn with(
        guard: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
        other: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let layout = directory.path().join("layout");
        let layer = |name: &str| LayerBuilder::new().file(name, 0o644, name).finish();
        let layers = ["a", "b", "c"].map(|name| (layer(name), Compression::Gzip));
        let manifest = write_layout(&layout, "1", &layers);
        let blobs = layout.join("blobs/sha256");
        let of_other = blobs.clone();
        let elsewhere = Place::start(move |request| {
            other(request).unwrap_or_else(|| blob(&of_other, &request.path))
        });
        let place = elsewhere.host();
        let registry = Place::start(move |request| match guard(request) {
            Some(reply) => reply,
            None if request.path.ends_with("/manifests/1") => blob(&blobs, &manifest),
            None if request.path.contains("/blobs/") => {
                let location = format!("Location: http://{place}{}?sig=1\r\n", request.path);
                (307, location, Vec::new())
            }
            None => blob(&blobs, &request.path),
        });
        Site {
            directory,
            registry,
            elsewhere,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn auth_file(&self, entry: &str) {
        self.auth_file_for(&self.registry.host(), entry);
    }

    pub fn auth_file_for(&self, host: &str, entry: &str) {
        let text = format!(r#"{{"auths":{{"{host}":{entry}}}}}"#);
        fs::write(self.path("auth.json"), text).unwrap();
    }

    fn command(&self, options: &[&str]) -> std::process::Command {
        self.command_for(&self.registry.host(), options)
    }

    pub fn command_for(&self, host: &str, options: &[&str]) -> std::process::Command {
        let mut command = lowerdir();
        command.env("REGISTRY_AUTH_FILE", self.path("auth.json"));
        command.env("TMPDIR", self.directory.path());
        command.arg("--store").arg(self.path("store"));
        command.args([
            "-v",
            "unpack",
            "--owners=caller",
            "--userxattr",
            "--whiteout=xattr",
        ]);
        command.arg(format!("docker://{host}/app:1"));
        command.args(options);
        command
    }

    fn run(&self, options: &[&str]) -> Run {
        Run::of(&mut self.command(options))
    }
}

fn blob(blobs: &Path, path: &str) -> Reply {
    let path = path.split('?').next().unwrap();
    let hex = path.rsplit([':', '/']).next().unwrap();
    match fs::read(blobs.join(hex)) {
        Ok(bytes) => (200, String::new(), bytes),
        Err(_) => (404, String::new(), Vec::new()),
    }
}

pub fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("user:{PASSWORD}")))
}

pub fn unauthorized(challenge: &str) -> Option<Reply> {
    let header = format!("WWW-Authenticate: {challenge}\r\n");
    Some((401, header, Vec::new()))
}

/// Wants tokens, which it gives for the password or the identity token, as Docker Hub does.
fn token_server(request: &Request) -> Option<Reply> {
    let authorization = request.header("authorization").unwrap_or_default();
    if request.path.starts_with("/token") {
        let is_identity = request.text.starts_with("POST ")
            && request.text.contains("grant_type=refresh_token")
            && request.text.contains(&format!("refresh_token={IDENTITY}"));
        if authorization != basic() && !is_identity {
            return Some((401, String::new(), Vec::new()));
        }
        let answer = format!(r#"{{"token":"{TOKEN}","access_token":"{TOKEN}","expires_in":300}}"#);
        return Some((200, String::new(), answer.into_bytes()));
    }
    let good = [TOKEN, OWN].map(|token| format!("Bearer {token}"));
    let host = request.header("host").unwrap();
    match good.iter().any(|good| good == authorization) {
        true => None,
        false => unauthorized(&format!(
            "Bearer realm=\"http://{host}/token\",service=\"s\""
        )),
    }
}

pub fn auth_of(user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    format!(r#"{{"auth":"{auth}"}}"#)
}

/// Nothing that proves who asks is in a text.
fn is_clean(text: &str) -> bool {
    let encoded = STANDARD.encode(format!("user:{PASSWORD}"));
    let secrets = [
        PASSWORD,
        TOKEN,
        IDENTITY,
        OWN,
        encoded.trim_end_matches('='),
    ];
    !secrets.iter().any(|secret| text.contains(secret))
}

/// The files under a directory that have a secret, but for those that the test made.
fn leaks(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            leaks(&path, found);
        } else if !path.ends_with("auth.json") && !path.ends_with("bin/docker-credential-it") {
            let text = fs::read(&path).unwrap_or_default();
            if !is_clean(&String::from_utf8_lossy(&text)) {
                found.push(path);
            }
        }
    }
}

#[test]
fn no_secret_is_shown_kept_or_sent_to_another_host() {
    let entries = [
        ("a password", auth_of("user", PASSWORD)),
        (
            "an identity token",
            format!(r#"{{"identitytoken":"{IDENTITY}"}}"#),
        ),
        ("the same as a user", auth_of("<token>", IDENTITY)),
        (
            "a registry token",
            format!(r#"{{"registrytoken":"{OWN}"}}"#),
        ),
        (
            "as they are",
            format!(r#"{{"username":"user","password":"{PASSWORD}"}}"#),
        ),
        ("a helper", String::new()),
        ("--creds", String::new()),
        ("--password-stdin", String::new()),
    ];
    for (what, entry) in &entries {
        for is_refused in [false, true] {
            let site = Site::new(move |request| match is_refused {
                true if request.path.contains("/blobs/") => Some((403, String::new(), Vec::new())),
                _ => token_server(request),
            });
            site.auth_file(if entry.is_empty() { "{}" } else { entry });
            let creds = format!("--creds=user:{PASSWORD}");
            let run = match *what {
                "a helper" => {
                    let path = helper(&site);
                    Run::of(site.command(&[]).env("PATH", path))
                }
                "--creds" => site.run(&[&creds]),
                "--password-stdin" => {
                    let mut command = site.command(&["--username=user", "--password-stdin"]);
                    Run::with_input(&mut command, format!("{PASSWORD}\n").as_bytes())
                }
                _ => site.run(&[]),
            };
            assert_eq!(run.status, i32::from(is_refused), "{what}: {run:?}");
            assert!(
                is_clean(&run.stdout) && is_clean(&run.stderr),
                "{what}: {run:?}"
            );
            let sent = site.elsewhere.requests();
            assert_eq!(sent.is_empty(), is_refused, "{what}: {sent:?}");
            for request in &sent {
                assert_eq!(request.header("authorization"), None, "{what}: {request:?}");
                assert!(is_clean(&request.text), "{what}: {request:?}");
            }
            let mut found = Vec::new();
            leaks(site.directory.path(), &mut found);
            assert!(found.is_empty(), "{what}: {found:?}");
        }
    }
}

/// Makes a helper that writes down its arguments and its environment; returns the PATH for it.
fn helper(site: &Site) -> String {
    let seen = site.path("seen");
    let answer = format!("'{{\"Username\":\"user\",\"Secret\":\"{PASSWORD}\"}}'");
    let script = format!("(echo \"$@\"; env) >> {}; echo {answer}", seen.display());
    helper_of(site, &script)
}

fn helper_of(site: &Site, script: &str) -> String {
    let directory = site.path("bin");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("docker-credential-it");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(r#"{{"credHelpers":{{"{}":"it"}}}}"#, site.registry.host());
    fs::write(site.path("auth.json"), text).unwrap();
    let before = std::env::var("PATH").unwrap();
    format!("{}:{before}", directory.display())
}

/// As with ECR, where a password ends after some hours.
#[test]
fn a_helper_is_asked_again_if_its_login_has_expired() {
    let used = AtomicUsize::new(0);
    let site = Site::new(move |request| {
        let authorization = request.header("authorization").unwrap_or_default();
        let wanted = match used.load(Ordering::SeqCst) {
            0 | 1 => "first",
            _ => "second",
        };
        let wanted = format!("Basic {}", STANDARD.encode(format!("user:{wanted}")));
        match authorization == wanted {
            true => {
                used.fetch_add(1, Ordering::SeqCst);
                None
            }
            false => unauthorized("Basic realm=\"x\""),
        }
    });
    let asked = site.path("asked");
    let answer = |secret: &str| format!("'{{\"Username\":\"user\",\"Secret\":\"{secret}\"}}'");
    let script = format!(
        "if test -e {0}; then echo {2}; else touch {0}; echo {1}; fi",
        asked.display(),
        answer("first"),
        answer("second")
    );
    let path = helper_of(&site, &script);
    let run = Run::of(site.command(&[]).env("PATH", path));
    assert_eq!(run.status, 0, "{run:?}");
}

/// A host to which the registry redirects may want a login, but gets none, wherever it says that tokens are.
#[test]
fn a_challenge_of_another_host_is_not_answered() {
    let site = Site::with(token_server, |request| {
        let host = request.header("host").unwrap();
        match request.path.starts_with("/token") {
            true => Some((200, String::new(), br#"{"token":"x"}"#.to_vec())),
            false => unauthorized(&format!("Bearer realm=\"http://{host}/token\"")),
        }
    });
    site.auth_file(&auth_of("user", PASSWORD));
    let run = site.run(&[]);
    run.fails(
        1,
        &[
            &site.elsewhere.host(),
            "to which it redirects, answered 401",
        ],
    );
    for request in site.elsewhere.requests() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
        assert!(!request.path.starts_with("/token"), "{request:?}");
    }
}

/// On this machine plain HTTP will do, but a token server on another one must use HTTPS.
#[test]
fn a_password_does_not_leave_the_machine_over_plain_http() {
    let challenge = "Bearer realm=\"http://registry.invalid/token\"";
    let site = Site::new(move |_| unauthorized(challenge));
    site.auth_file(&auth_of("user", PASSWORD));
    let run = site.run(&[]);
    run.fails(1, &["its token server does not use HTTPS"]);
}

#[test]
fn a_token_that_expires_in_mid_pull_is_renewed() {
    let (given, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let site = Site::new(move |request| {
        let authorization = request.header("authorization").unwrap_or_default();
        if request.path.starts_with("/token") {
            let count = given.fetch_add(1, Ordering::SeqCst) + 1;
            used.store(0, Ordering::SeqCst);
            let answer = format!(r#"{{"access_token":"{count}"}}"#);
            return Some((200, String::new(), answer.into_bytes()));
        }
        // Each token is good for two requests.
        let current = format!("Bearer {}", given.load(Ordering::SeqCst));
        match authorization == current && used.fetch_add(1, Ordering::SeqCst) < 2 {
            true => None,
            false => {
                let host = request.header("host").unwrap();
                unauthorized(&format!("Bearer realm=\"http://{host}/token\""))
            }
        }
    });
    let run = site.run(&[]);
    assert_eq!(run.status, 0, "{run:?}");
    let requests = site.registry.requests();
    let tokens = requests
        .iter()
        .filter(|request| request.path.starts_with("/token"));
    assert!(tokens.count() >= 2, "{requests:?}");
}

#[test]
fn a_refusal_says_which_login_was_used_and_how_to_get_another() {
    let site = Site::new(token_server);
    let (host, file) = (site.registry.host(), site.path("auth.json"));
    let (file, log_in) = (file.display(), format!("`podman login {host}`"));
    let refused = |run: &Run, error: &str, hint: &str| {
        run.fails(1, &[error]);
        assert!(run.hint().contains(hint), "{hint}: {run:?}");
    };
    let denied = "/token answered 401";
    refused(
        &site.run(&[]),
        denied,
        &format!("no login for it was found in {file}: {log_in}"),
    );
    // An empty file stands for none, and an entry for another host is not used.
    for text in ["", "{}", r#"{"auths":{"other.invalid":{"auth":"dTpw"}}}"#] {
        fs::write(site.path("auth.json"), text).unwrap();
        refused(&site.run(&[]), denied, "no login for it was found in");
    }
    site.auth_file(&auth_of("user", "wrong"));
    refused(
        &site.run(&[]),
        denied,
        &format!("the login in {file} was refused: {log_in}"),
    );
    let other = site.path("its other.json");
    fs::rename(site.path("auth.json"), &other).unwrap();
    let option = format!("--authfile={}", other.display());
    let log_in = format!("`podman login --authfile '{}' {host}`", other.display());
    refused(&site.run(&[&option]), denied, &log_in);
    fs::remove_file(&other).unwrap();
    refused(&site.run(&[&option]), "there is no auth file", &log_in);
    refused(
        &site.run(&["--creds=user:wrong"]),
        denied,
        "the login that was given was refused",
    );
    refused(
        &site.run(&["--no-creds"]),
        denied,
        "no login was to be used",
    );
    fs::write(site.path("auth.json"), "{\"auths\": hunter2").unwrap();
    refused(&site.run(&[]), "auth.json is not one", "log in again");
    // Basic has no use for a token.
    let site = Site::new(|_| unauthorized("Basic realm=\"x\""));
    site.auth_file(&format!(r#"{{"identitytoken":"{IDENTITY}"}}"#));
    refused(&site.run(&[]), "wants a password", "a user and a password");
}

/// A login that is given is for the registry that was named; for a mirror, the files are read.
#[test]
fn a_mirror_does_not_get_the_login_of_the_registry() {
    let mirror = Place::start(|_| unauthorized("Basic realm=\"mirror\"").unwrap());
    let site = Site::new(|request| match request.header("authorization") {
        Some(authorization) if authorization == basic() => None,
        _ => unauthorized("Basic realm=\"x\""),
    });
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        site.registry.host(),
        mirror.host()
    );
    fs::write(site.path("registries.conf"), conf).unwrap();
    let mut command = site.command(&[&format!("--creds=user:{PASSWORD}")]);
    let run = Run::of(command.env("CONTAINERS_REGISTRIES_CONF", site.path("registries.conf")));
    assert_eq!(run.status, 0, "{run:?}");
    let asked = mirror.requests();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}
