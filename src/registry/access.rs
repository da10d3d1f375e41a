//! `Access`: what the user says about asking registries. The rest is as Podman and Docker are configured on the host.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::{Login, Secret};

/// The longest time without a byte, if nothing else is said.
const STALL_MAX: Duration = Duration::from_secs(30);

/// How registries are asked. [`Access::default`] is as the host is configured: auth files and credential helpers,
/// `certs.d`, `registries.conf`, the proxy variables.
#[derive(Clone, Debug)]
pub struct Access {
    pub(super) logins: Logins,
    pub(super) certificates: Option<PathBuf>,
    pub(super) verifies: Option<bool>,
    pub(super) stall: Duration,
    pub(super) keys: Vec<PathBuf>,
}

/// Where the login for a registry comes from.
#[derive(Clone, Debug)]
pub(super) enum Logins {
    /// From the files of the host.
    Found,
    /// From this file alone.
    File(PathBuf),
    Given(Login),
    None,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            logins: Logins::Found,
            certificates: None,
            verifies: None,
            stall: STALL_MAX,
            keys: Vec::new(),
        }
    }
}

impl Access {
    /// Looks for logins in this auth file and nowhere else.
    pub fn auth_file(mut self, path: PathBuf) -> Access {
        self.logins = Logins::File(path);
        self
    }

    /// Uses this login for the registry, if it asks for one, and not for its mirrors.
    pub fn login(mut self, user: String, password: String) -> Access {
        let password = Secret::new(password);
        self.logins = Logins::Given(Login::Password { user, password });
        self
    }

    /// Uses no login.
    pub fn no_login(mut self) -> Access {
        self.logins = Logins::None;
        self
    }

    /// Reads certificates (`*.crt`, and pairs of `*.cert` and `*.key`) from this directory, and not from `certs.d`.
    pub fn certificates(mut self, directory: PathBuf) -> Access {
        self.certificates = Some(directory);
        self
    }

    /// Whether the certificates of registries are verified. If not, plain HTTP is used where nothing speaks TLS.
    pub fn tls_verify(mut self, verifies: bool) -> Access {
        self.verifies = Some(verifies);
        self
    }

    /// Wants a signature of sigstore by this key (a file in PEM) for the repository, beside what `policy.json` wants.
    pub fn verify_key(mut self, path: PathBuf) -> Access {
        self.keys.push(path);
        self
    }

    /// How long a connection may be silent before it counts as lost.
    pub fn stall(mut self, stall: Duration) -> Access {
        self.stall = stall;
        self
    }

    /// The same for a mirror.
    pub(super) fn for_mirror(&self) -> Access {
        let mut access = self.clone();
        if let Logins::Given(_) = access.logins {
            access.logins = Logins::Found;
        }
        access
    }
}
