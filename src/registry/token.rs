//! The `Authorization` of requests: a password for Basic, or a token that its realm gave for one.
//!
//! [`super::client`] asks for it after a registry said 401, and again when a token is too old.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::Agent;

use super::challenge::Challenge;
use super::credentials::{Credentials, Login, Secret};
use super::redirect;
use super::retry::Fault;

/// The shortest life of a token, and the default (distribution's "Token Authentication Specification").
const LIFE_MIN: Duration = Duration::from_secs(60);
/// The longest answer of a token server that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;

/// A header, and how long it is good for.
#[derive(Clone, Debug)]
pub struct Authorization {
    pub header: Secret,
    pub since: Instant,
    until: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    /// What OAuth calls it. Docker Hub sends both.
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorization {
    /// Answers a challenge; `None` if there is nothing to answer it with.
    pub fn answer(
        agent: &Agent,
        challenge: &Challenge,
        credentials: Option<&Credentials>,
        scope: &str,
    ) -> Result<Option<Authorization>, Fault> {
        let login = credentials.map(|credentials| &credentials.login);
        match (challenge, login) {
            (Challenge::Basic, Some(Login::Password { user, password })) => {
                Ok(Some(Authorization {
                    header: basic(user, password),
                    since: Instant::now(),
                    until: None,
                }))
            }
            (Challenge::Basic, None) => Ok(None),
            (Challenge::Basic, Some(_)) => Err(Fault::Login {
                text: "the registry wants a password, and the login for it is a token".into(),
                hint: "log in with a user and a password".into(),
            }),
            // Made by a token server already.
            (Challenge::Bearer { .. }, Some(Login::Token(token))) => Ok(Some(Authorization {
                header: Secret::new(format!("Bearer {}", token.expose())),
                since: Instant::now(),
                until: None,
            })),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope: asked,
                },
                login,
            ) => {
                let scope = asked.as_deref().unwrap_or(scope);
                fetch(agent, realm, service.as_deref(), scope, login).map(Some)
            }
        }
    }

    /// Whether a token is at 80% of its life.
    pub fn is_old(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    let text = format!("{user}:{}", password.expose());
    Secret::new(format!("Basic {}", STANDARD.encode(text)))
}

fn fetch(
    agent: &Agent,
    realm: &str,
    service: Option<&str>,
    scope: &str,
    login: Option<&Login>,
) -> Result<Authorization, Fault> {
    let shown = realm.split('?').next().unwrap_or_default().to_string();
    let mut fields = vec![("scope", scope)];
    fields.extend(service.map(|service| ("service", service)));
    let mut answer = match login {
        Some(Login::Identity(token)) => {
            fields.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "lowerdir"),
                ("refresh_token", token.expose()),
            ]);
            // A redirect is not followed: the token is for this server.
            let sent = agent.post(realm).send_form(fields);
            sent.map_err(|error| super::client::fault_of(&error))?
        }
        login => {
            let secret = match login {
                Some(Login::Password { user, password }) => Some(basic(user, password)),
                _ => None,
            };
            let url = redirect::with_query(realm, &fields);
            redirect::get(agent, &url, &[], secret.as_ref())?.response
        }
    };
    match answer.status().as_u16() {
        200 => {}
        status @ (400 | 401 | 403) => return Err(Fault::Refused(status, shown)),
        _ => return Err(super::retry::of_answer(&answer)),
    }
    let body = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_MAX)
        .read_to_vec();
    let body = body.map_err(|error| Fault::Lost(error.to_string()))?;
    // The parser's message might quote the token.
    let parsed: Option<Answer> = serde_json::from_slice(&body).ok();
    let nothing = || Fault::Fatal(format!("the token server {shown} gave no token"));
    let parsed = parsed.ok_or_else(nothing)?;
    let token = parsed
        .token
        .or(parsed.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(nothing)?;
    let life = Duration::from_secs(parsed.expires_in.unwrap_or_default()).max(LIFE_MIN);
    let since = Instant::now();
    Ok(Authorization {
        header: Secret::new(format!("Bearer {token}")),
        since,
        until: since.checked_add(life * 4 / 5),
    })
}
