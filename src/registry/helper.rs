//! `docker-credential-*`: the programs that keep logins, in the protocol of docker/docker-credential-helpers.
//!
//! [`super::credentials`] runs the one that an auth file names. It gets the server on standard input; no secret is in its
//! arguments or its environment, and nothing that it writes is shown.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::credentials::{Login, Trouble};

/// Some ask their user for the password of a key ring.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;
const MOMENT: Duration = Duration::from_millis(10);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Its name as a program.
pub fn program(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// Runs `docker-credential-HELPER get`; `None` if it has no login for the server. Errors: it does not work.
pub fn ask(helper: &str, server: &str) -> Result<Option<Login>, Trouble> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !helper.chars().all(is_name) {
        let text = "the name of a credential helper has characters that names cannot have";
        return Err(Trouble::new(text, "correct it in that file"));
    }
    ask_program(&program(helper), server, PATIENCE)
}

fn ask_program(program: &str, server: &str, patience: Duration) -> Result<Option<Login>, Trouble> {
    let shown = std::path::Path::new(program).file_name();
    let shown = shown.map_or(program.into(), |name| name.to_string_lossy());
    let by_hand = format!("`echo {server} | {shown} get` shows what it answers");
    let fails = |why: &str| Trouble::new(format!("the credential helper {shown} {why}"), &by_hand);
    let child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let child = child.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Trouble::new(
            format!("the credential helper {shown} is not in PATH"),
            "install it, or remove it from that file",
        ),
        _ => fails(&format!("cannot be run: {error}")),
    })?;
    let Some((status, output)) = talk(child, server, patience) else {
        return Err(fails(&format!(
            "did not answer within {} s",
            patience.as_secs()
        )));
    };
    if !status.success() {
        // Helpers report errors on standard output.
        return match String::from_utf8_lossy(&output).contains("credentials not found") {
            true => Ok(None),
            false => Err(fails(&format!("failed ({status})"))),
        };
    }
    match serde_json::from_slice::<Answer>(&output) {
        Ok(answer) if answer.username.is_empty() && answer.secret.is_empty() => Ok(None),
        Ok(answer) => Ok(Some(Login::of(&answer.username, &answer.secret))),
        // The parser's message might quote the secret.
        Err(_) => Err(fails("did not answer with a user and a secret")),
    }
}

/// What it answers to a server; `None`, and it is killed, if that takes too long.
fn talk(mut child: Child, server: &str, patience: Duration) -> Option<(ExitStatus, Vec<u8>)> {
    let until = Instant::now() + patience;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it says no by its status.
        let _ = stdin.write_all(server.as_bytes());
    }
    let (sender, answer) = mpsc::channel();
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map(|stdout| stdout.take(ANSWER_MAX).read_to_end(&mut bytes));
        // Nobody waits for it any more, or it is there.
        let _ = sender.send((read, bytes));
    });
    let output = answer.recv_timeout(patience).ok().map(|(_, bytes)| bytes);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if output.is_some() && Instant::now() < until => std::thread::sleep(MOMENT),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    status.zip(output)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn answers(script: &str, patience: Duration) -> Result<Option<Login>, Trouble> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("docker-credential-x");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        ask_program(program.to_str().unwrap(), "h.x", patience)
    }

    #[test]
    fn a_helper_is_asked_and_what_is_wrong_with_it_is_told() {
        let good = r#"read host; echo "{\"Username\":\"$host\",\"Secret\":\"$1\"}""#;
        let found = answers(good, PATIENCE).unwrap();
        assert_eq!(found, Some(Login::of("h.x", "get")));
        let none = "echo credentials not found in native keychain; exit 1";
        assert_eq!(answers(none, PATIENCE).unwrap(), None);
        for (script, words) in [
            (
                "echo hunter2; exit 1",
                "docker-credential-x failed (exit status: 1)",
            ),
            ("echo hunter2", "did not answer with a user and a secret"),
            ("kill -9 $$", "signal: 9"),
            (
                "while :; do echo '{\"Username\":\"hunter2\"'; done",
                "docker-credential-x",
            ),
        ] {
            let trouble = answers(script, PATIENCE).unwrap_err();
            assert!(trouble.text.contains(words), "{script}: {trouble:?}");
            assert!(!format!("{trouble:?}").contains("hunter2"), "{trouble:?}");
            assert!(
                trouble.hint.contains("docker-credential-x get"),
                "{trouble:?}"
            );
        }
    }

    #[test]
    fn a_helper_that_hangs_is_given_up() {
        for script in ["exec sleep 1000", "exec >&-; exec sleep 1000"] {
            let trouble = answers(script, Duration::from_millis(300)).unwrap_err();
            assert!(trouble.text.contains("did not answer"), "{trouble:?}");
        }
    }

    #[test]
    fn a_missing_helper_is_named() {
        let trouble = ask("not-installed-here", "h.x").unwrap_err();
        let expected = "the credential helper docker-credential-not-installed-here is not in PATH";
        assert_eq!(trouble.text, expected);
        assert!(ask("../x", "h.x").is_err());
    }
}
