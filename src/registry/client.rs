//! `Client`: one request to a registry, with the authorization that it wants. Retries are up to the callers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ureq::http::Response;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};
use ureq::{Agent, Body};

use crate::error::{Error, Result};

use super::access::{Access, Logins};
use super::challenge::Challenge;
use super::credentials::{self, Search};
use super::endpoints::Endpoint;
use super::name::Name;
use super::proxy;
use super::queue::CONNECTIONS;
use super::redirect;
use super::retry::{self, Fault};
use super::tls::{self, TlsConnector};
use super::token::Authorization;

const CONNECT_MAX: Duration = Duration::from_secs(30);
const HEADERS_MAX: Duration = Duration::from_secs(60);
/// A registry that answers 403 to a token of this age means that it is too old.
const TOKEN_AGE: Duration = Duration::from_secs(60);
/// For one request.
const RENEWALS_MAX: u32 = 3;
const BUFFER: usize = 256 << 10;
/// Where docker.io is.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// Speaks to one repository.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    name: Name,
    may_be_plain: bool,
    verifies: bool,
    logins: Logins,
    /// `https://HOST` or, where plain HTTP may be used, what answers there.
    base: OnceLock<String>,
    has_answered: AtomicBool,
    access: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    challenge: Option<Challenge>,
    authorization: Option<Authorization>,
    /// What was found, once it was looked for.
    search: Option<Search>,
}

impl Client {
    /// Errors: a certificate or a proxy variable cannot be understood.
    pub fn new(endpoint: &Endpoint, access: &Access) -> Result<Client> {
        let name = endpoint.name.clone();
        let is_here = is_loopback(&name.host);
        let verifies = access.verifies.unwrap_or(!endpoint.is_insecure);
        let tls = tls::config(&name.host, access.certificates.as_deref(), verifies)?;
        let proxy = match is_here {
            true => None,
            false => proxy::find(true)?,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(!is_here && verifies)
            .user_agent(concat!("lowerdir/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            // They are followed in `redirect`: ureq would send a login to another port of the host.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(HEADERS_MAX))
            .timeout_per_read(Some(access.stall))
            .input_buffer_size(BUFFER)
            .max_idle_connections_per_host(CONNECTIONS)
            .proxy(proxy)
            .build();
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector(tls));
        Ok(Client {
            agent: Agent::with_parts(config, connector, DefaultResolver::default()),
            name,
            may_be_plain: is_here || !verifies,
            verifies,
            logins: access.logins.clone(),
            base: OnceLock::new(),
            has_answered: AtomicBool::new(false),
            access: Mutex::default(),
        })
    }

    pub fn host(&self) -> &str {
        &self.name.host
    }

    /// Whether anything was ever heard of the registry.
    pub fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// The URL of a document or a blob, as it is shown.
    pub fn url(&self, path: &str) -> String {
        let base = self.base.get_or_init(|| self.find_base());
        format!("{base}/v2/{}/{path}", self.name.repository)
    }

    /// HTTPS; plain HTTP if nothing answers to that where plain HTTP may be used.
    fn find_base(&self) -> String {
        let host = match self.name.host.as_str() {
            "docker.io" => DOCKER_HOST,
            host => host,
        };
        let secure = format!("https://{host}");
        // A server with an unknown certificate does speak TLS.
        let answers = || match self.agent.get(format!("{secure}/v2/")).call() {
            Ok(_) => true,
            Err(error) => matches!(fault_of(&error), Fault::Certificate(_)),
        };
        match self.may_be_plain && !answers() {
            true => format!("http://{host}"),
            false => secure,
        }
    }

    /// An answer of any status but 401.
    pub fn get(
        &self,
        path: &str,
        headers: &[(&str, String)],
    ) -> std::result::Result<Response<Body>, Fault> {
        let url = self.url(path);
        let mut renewals = 0;
        loop {
            let held = self.authorization()?;
            let secret = held.as_ref().map(|held| &held.header);
            let answer = redirect::get(&self.agent, &url, headers, secret)?;
            self.has_answered.store(true, Ordering::Relaxed);
            let status = answer.response.status().as_u16();
            let age = held.as_ref().map(|held| held.since.elapsed());
            match answer.elsewhere {
                // What another host wants to see is not for it to see.
                Some(host) if matches!(status, 401 | 403) => {
                    let text = format!("{host}, to which it redirects, answered {status}");
                    return Err(Fault::Fatal(text));
                }
                Some(_) => {}
                None if self.may_renew(renewals) && wants_another(status, age) => {
                    renewals += 1;
                    if self.renew(&answer.response, held)? {
                        continue;
                    }
                    return Err(Fault::Status(status, None));
                }
                None if status == 401 => return Err(Fault::Status(401, None)),
                None => {}
            }
            if is_encoded(&answer.response) {
                return Err(Fault::Fatal("the answer has a Content-Encoding".into()));
            }
            return Ok(answer.response);
        }
    }

    /// A password is right or wrong; a token may have ended between two threads that got it.
    fn may_renew(&self, renewals: u32) -> bool {
        let is_token = matches!(self.access().challenge, Some(Challenge::Bearer { .. }));
        renewals == 0 || (is_token && renewals < RENEWALS_MAX)
    }

    /// What the next request has to carry, renewed if it is old.
    fn authorization(&self) -> std::result::Result<Option<Authorization>, Fault> {
        let mut access = self.access();
        let is_old = access
            .authorization
            .as_ref()
            .is_some_and(Authorization::is_old);
        if is_old {
            self.obtain(&mut access)?;
        }
        Ok(access.authorization.clone())
    }

    /// Answers the challenge of a refusal, unless another thread just did. Whether there is anything to answer with.
    fn renew(
        &self,
        answer: &Response<Body>,
        refused: Option<Authorization>,
    ) -> std::result::Result<bool, Fault> {
        let mut access = self.access();
        let since = |held: &Option<Authorization>| held.as_ref().map(|held| held.since);
        if since(&access.authorization) != since(&refused) {
            return Ok(true);
        }
        if refused.is_some() {
            // A helper may have another one by now.
            access.search = None;
        }
        let headers = answer.headers().get_all("WWW-Authenticate").iter();
        let mut challenges = headers.filter_map(|value| Challenge::parse(value.to_str().ok()?));
        if let Some(challenge) = challenges.next() {
            access.challenge = Some(challenge);
        }
        self.obtain(&mut access)?;
        Ok(access.authorization.is_some())
    }

    fn obtain(&self, access: &mut Held) -> std::result::Result<(), Fault> {
        let Some(challenge) = access.challenge.clone() else {
            return Ok(());
        };
        if let Challenge::Bearer { realm, .. } = &challenge {
            let is_plain_allowed = self.may_be_plain && (!self.verifies || is_here(realm));
            let is_plain = realm.starts_with("http://") && is_plain_allowed;
            if !is_plain && !realm.starts_with("https://") {
                return Err(Fault::Fatal("its token server does not use HTTPS".into()));
            }
        }
        if access.search.is_none() {
            let found = credentials::find(&self.name, &self.logins);
            access.search = Some(found.map_err(|trouble| Fault::Login {
                text: trouble.text,
                hint: trouble.hint,
            })?);
        }
        let found = access.search.as_ref();
        let credentials = found.and_then(|search| search.found.as_ref());
        let scope = format!("repository:{}:pull", self.name.repository);
        access.authorization = Authorization::answer(&self.agent, &challenge, credentials, &scope)?;
        Ok(())
    }

    fn access(&self) -> MutexGuard<'_, Held> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error for a request that is given up, after so many failures at an offset of a blob.
    pub fn error(&self, path: &str, fault: Fault, offset: u64, failures: u32) -> Error {
        let url = self.url(path);
        let why = fault.reason();
        let at = match offset {
            0 => String::new(),
            offset => format!(" at byte {offset}"),
        };
        let tries = match failures {
            1 => String::new(),
            failures => format!(", {failures} times"),
        };
        Error::network(format!("{url}: {why}{at}{tries}")).hint(self.hint(&fault))
    }

    fn hint(&self, fault: &Fault) -> String {
        let host = &self.name.host;
        match fault {
            Fault::Status(401 | 403, _) | Fault::Refused(..) => {
                login_hint(host, &self.logins, self.access().search.as_ref())
            }
            Fault::Login { hint, .. } => hint.clone(),
            Fault::Status(429, Some(pause)) => {
                format!(
                    "there were too many requests: try again in {} s",
                    pause.as_secs()
                )
            }
            Fault::Status(429, None) => {
                format!("there were too many requests: `podman login {host}`")
            }
            Fault::Certificate(_) => format!(
                "put the certificate of its authority into /etc/containers/certs.d/{host}/ca.crt"
            ),
            Fault::Status(..) => "the registry is at fault: try again later".into(),
            Fault::Fatal(_) => "the registry, or a proxy before it, is at fault".into(),
            _ => match self.agent.config().proxy() {
                Some(proxy) => format!(
                    "check the name {host}, the network and the proxy {}:{}",
                    proxy.host(),
                    proxy.port()
                ),
                None => format!("check the name {host} and the network"),
            },
        }
    }
}

/// Which login was used, or where it was looked for.
fn login_hint(host: &str, logins: &Logins, search: Option<&Search>) -> String {
    let log_in = credentials::log_in(host, logins);
    match search {
        _ if matches!(logins, Logins::None) => "no login was to be used".into(),
        None => "the registry did not ask for a login".into(),
        Some(search) => match &search.found {
            Some(found) if matches!(logins, Logins::Given(_)) => {
                format!("the login {} was refused", found.source)
            }
            Some(found) => format!("the login {} was refused: {log_in}", found.source),
            None => {
                let files = search.files.iter().map(|file| file.display().to_string());
                let files = files.collect::<Vec<_>>().join(", ");
                format!("no login for it was found in {files}: {log_in}")
            }
        },
    }
}

/// What went wrong, without the query of a URL: it may be a secret.
pub fn fault_of(error: &ureq::Error) -> Fault {
    match error {
        ureq::Error::Io(error) => match tls::about_certificate(error) {
            Some(text) => Fault::Certificate(text),
            None => retry::of_error(error),
        },
        ureq::Error::Timeout(_) => Fault::Lost("no answer in time".into()),
        ureq::Error::HostNotFound => Fault::Unreachable("no such host".into()),
        ureq::Error::ConnectionFailed => Fault::Unreachable("the connection was refused".into()),
        ureq::Error::ConnectProxyFailed(text) => of_proxy(text),
        ureq::Error::Rustls(error) => Fault::Fatal(format!("TLS: {error}")),
        ureq::Error::LargeResponseHeader(..) => {
            Fault::Fatal("its answer has too large a header".into())
        }
        ureq::Error::RequireHttpsOnly(_) => Fault::Fatal("a redirect to plain HTTP".into()),
        ureq::Error::BadUri(_) => Fault::Fatal("a redirect to a bad URL".into()),
        other => Fault::Lost(other.to_string()),
    }
}

/// Judging by the status in ureq's text: what the proxy forbids, it forbids again.
fn of_proxy(text: &str) -> Fault {
    let mut words = text.split(|c: char| !c.is_ascii_digit());
    match words.find(|word| word.len() == 3) {
        Some(status @ ("403" | "407")) => Fault::Proxy(format!("the proxy answered {status}")),
        Some(status) => Fault::Lost(format!("the proxy answered {status}")),
        None => Fault::Lost("the proxy does not connect".into()),
    }
}

/// Whether a registry that answered so may take another login than the one it got. ECR says 403 to one that is too old.
fn wants_another(status: u16, age: Option<Duration>) -> bool {
    match status {
        401 => true,
        403 => age.is_some_and(|age| age > TOKEN_AGE),
        _ => false,
    }
}

fn is_encoded(answer: &Response<Body>) -> bool {
    let header = answer.headers().get("Content-Encoding");
    header.is_some_and(|value| value != "identity")
}

/// The same for a URL.
fn is_here(url: &str) -> bool {
    redirect::host(url).is_some_and(|host| is_loopback(&host))
}

/// Whether a host is this machine, judging by its name alone.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name == "localhost"
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for (host, is) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("localhost.example.org", false),
            ("10.0.0.1:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }

    #[test]
    fn a_403_means_that_a_login_is_too_old_if_it_is_old() {
        let seconds = |count| Some(Duration::from_secs(count));
        for (status, age, is) in [
            (401, None, true),
            (401, seconds(1), true),
            (403, None, false),
            (403, seconds(59), false),
            (403, seconds(61), true),
            (404, seconds(61), false),
        ] {
            assert_eq!(wants_another(status, age), is, "{status} {age:?}");
        }
    }
}
