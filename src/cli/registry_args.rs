//! How a registry is asked: options of the verbs that fetch images.

#[cfg(feature = "registry")]
use std::io::{IsTerminal, Read};
#[cfg(feature = "registry")]
use std::path::PathBuf;
#[cfg(feature = "registry")]
use std::time::Duration;

use clap::Args;

#[cfg(feature = "registry")]
use super::usage::usage;
#[cfg(feature = "registry")]
use crate::image::Access;

/// The longest password that is read, in bytes: tokens are long.
#[cfg(feature = "registry")]
const PASSWORD_MAX: u64 = 64 << 10;

/// Without registries there are none.
#[cfg(not(feature = "registry"))]
#[derive(Debug, Args)]
pub(super) struct RegistryArgs {}

#[cfg(not(feature = "registry"))]
impl RegistryArgs {
    pub fn refuse(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "registry")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Registry (for docker://NAME)")]
pub(super) struct RegistryArgs {
    /// Look for the login in this file, as `podman login` writes it [default: as Podman and Docker do]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    #[arg(conflicts_with_all = ["creds", "username", "no_creds"])]
    authfile: Option<PathBuf>,
    /// Log in as this user. Other users of this machine may see the password in the list of processes:
    /// --username with --password-stdin hides it
    #[arg(long, value_name = "USER:PASSWORD", hide_short_help = true)]
    #[arg(conflicts_with_all = ["username", "no_creds"])]
    creds: Option<String>,
    /// Log in as this user, with the password on standard input
    #[arg(
        long,
        value_name = "USER",
        hide_short_help = true,
        requires = "password_stdin"
    )]
    #[arg(conflicts_with = "no_creds")]
    username: Option<String>,
    /// Read the password for --username from standard input
    #[arg(long, hide_short_help = true, requires = "username")]
    password_stdin: bool,
    /// Use no login
    #[arg(long, hide_short_help = true)]
    no_creds: bool,
    /// Whether to verify the registry's certificate; =false takes plain HTTP too
    /// [default: true, but for what registries.conf calls insecure]
    #[arg(long, value_name = "BOOL", hide_short_help = true)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// Certificates: authorities in *.crt, the client's own in *.cert with *.key
    /// [default: certs.d/HOST in /etc/containers and /etc/docker]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    cert_dir: Option<PathBuf>,
    /// Refuse the image unless this key has signed it: cosign.pub of `cosign generate-key-pair`
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    verify_key: Option<PathBuf>,
    /// Take a connection for lost after so long without a byte [default: 30]
    #[arg(long, value_name = "SECONDS", hide_short_help = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    stall_timeout: Option<u64>,
}

#[cfg(feature = "registry")]
impl RegistryArgs {
    /// The option that is given, if any is.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (self.authfile.is_some(), "--authfile"),
            (self.creds.is_some(), "--creds"),
            (self.username.is_some(), "--username"),
            (self.no_creds, "--no-creds"),
            (self.tls_verify.is_some(), "--tls-verify"),
            (self.cert_dir.is_some(), "--cert-dir"),
            (self.verify_key.is_some(), "--verify-key"),
            (self.stall_timeout.is_some(), "--stall-timeout"),
        ];
        let mut given = given.iter().filter(|(is_given, _)| *is_given);
        given.next().map(|(_, option)| *option)
    }

    /// Errors: one is given for an image that is not in a registry.
    pub fn refuse(&self) -> anyhow::Result<()> {
        match self.given() {
            Some(option) => Err(usage(format!(
                "{option} is for an image in a registry: docker://NAME"
            ))),
            None => Ok(()),
        }
    }

    /// Reads the password, if it is on standard input. Errors: it cannot be read.
    pub fn access(&self) -> anyhow::Result<Access> {
        let mut access = Access::default();
        if let Some(file) = &self.authfile {
            access = access.auth_file(file.clone());
        }
        if let Some(creds) = &self.creds {
            let Some((user, password)) = creds.split_once(':') else {
                return Err(usage(
                    "--creds takes USER:PASSWORD; without a password, use --username and --password-stdin",
                ));
            };
            access = access.login(user.into(), password.into());
        }
        if let Some(user) = &self.username {
            access = access.login(user.clone(), password()?);
        }
        if self.no_creds {
            access = access.no_login();
        }
        if let Some(verify) = self.tls_verify {
            access = access.tls_verify(verify);
        }
        if let Some(directory) = &self.cert_dir {
            access = access.certificates(directory.clone());
        }
        if let Some(key) = &self.verify_key {
            access = access.verify_key(key.clone());
        }
        if let Some(seconds) = self.stall_timeout {
            access = access.stall(Duration::from_secs(seconds));
        }
        Ok(access)
    }
}

/// The first line of standard input.
#[cfg(feature = "registry")]
fn password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(usage(
            "--password-stdin reads a pipe or a file, and standard input is a terminal",
        ));
    }
    let mut text = String::new();
    let read = stdin.lock().take(PASSWORD_MAX).read_to_string(&mut text);
    // The error might quote it.
    if read.is_err() {
        return Err(usage(
            "the password on standard input cannot be read as text",
        ));
    }
    Ok(text.lines().next().unwrap_or_default().into())
}
