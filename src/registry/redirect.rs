//! Redirects: where an answer sends a request on, and what the request may carry there.
//!
//! [`super::client`] and [`super::token`] ask through [`get`]. A login goes to the scheme, host and port that it is for,
//! and to no other. Source: RFC 9110, section 15.4; RFC 3986, section 5.2.

use ureq::http::{Response, Uri};
use ureq::{Agent, Body};

use super::client::fault_of;
use super::credentials::Secret;
use super::retry::Fault;

const REDIRECTS_MAX: usize = 10;
/// The longest text beside a redirect that is read, so that the connection can be used again.
const TEXT_MAX: u64 = 64 << 10;

/// An answer that is no redirect.
pub struct Answer {
    pub response: Response<Body>,
    /// The host that gave it, if a redirect led away from the one that was asked.
    pub elsewhere: Option<String>,
}

/// Asks for a URL, and follows redirects, but not from HTTPS to plain HTTP. Only the host that is asked gets the
/// authorization.
pub fn get(
    agent: &Agent,
    url: &str,
    headers: &[(&str, String)],
    authorization: Option<&Secret>,
) -> Result<Answer, Fault> {
    let mut at = url.to_string();
    let mut elsewhere = None;
    for _ in 0..=REDIRECTS_MAX {
        let mut request = agent.get(&at);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(secret) = authorization.filter(|_| elsewhere.is_none()) {
            request = request.header("Authorization", secret.expose());
        }
        let response = request.call().map_err(|error| fault_of(&error))?;
        let Some(location) = location(&response) else {
            return Ok(Answer {
                response,
                elsewhere,
            });
        };
        let next = resolve(&at, &location)
            .ok_or_else(|| Fault::Fatal("a redirect to a bad URL".into()))?;
        if at.starts_with("https:") && !next.starts_with("https:") {
            return Err(Fault::Fatal("a redirect to plain HTTP".into()));
        }
        if origin(&next) != origin(url) {
            elsewhere = host(&next);
        }
        let text = response.into_body().into_with_config().limit(TEXT_MAX);
        // Nobody reads it.
        let _ = text.read_to_vec();
        at = next;
    }
    Err(Fault::Fatal("too many redirects".into()))
}

fn location(answer: &Response<Body>) -> Option<String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let header = answer.headers().get("Location")?;
    Some(header.to_str().ok()?.to_string())
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "https" => 443,
        _ => 80,
    };
    let port = uri.port_u16().unwrap_or(usual);
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// The host of a URL, with its port if it has one.
pub fn host(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?;
    Some(match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.into(),
    })
}

/// A URL with these added to its query.
pub fn with_query(url: &str, fields: &[(&str, &str)]) -> String {
    let mut text = url.split('#').next().unwrap_or_default().to_string();
    for (name, value) in fields {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    text.push(byte.into());
                }
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

/// `Location`, as seen from the URL that was asked; `None` if it is not HTTP.
fn resolve(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, rest) = base.split_once("://")?;
    let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest[..path_at];
    let next = match location.split_once(':') {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            format!("{}:{rest}", scheme.to_ascii_lowercase())
        }
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ => {
            let path = rest[path_at..].split('?').next().unwrap_or_default();
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{scheme}://{authority}{directory}/{location}")
        }
    };
    let is_http = next.starts_with("http://") || next.starts_with("https://");
    (is_http && host(&next).is_some()).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_seen_from_the_url_that_was_asked() {
        let base = "https://h.x:5000/v2/a/blobs/1?sig=2";
        for (location, expected) in [
            ("https://o.x/b?c=/d:e", Some("https://o.x/b?c=/d:e")),
            ("HTTP://o.x/b", Some("http://o.x/b")),
            ("//o.x/b", Some("https://o.x/b")),
            ("/b?c", Some("https://h.x:5000/b?c")),
            ("b", Some("https://h.x:5000/v2/a/blobs/b")),
            ("b?at=1:2", Some("https://h.x:5000/v2/a/blobs/b?at=1:2")),
            ("/b#part", Some("https://h.x:5000/b")),
            ("ftp://o.x/b", None),
            ("file:///etc/passwd", None),
            ("https://", None),
        ] {
            assert_eq!(resolve(base, location).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        let fields = [("scope", "repository:a/b:pull"), ("service", "x&y ä")];
        let expected = "?scope=repository%3Aa%2Fb%3Apull&service=x%26y%20%C3%A4";
        assert_eq!(
            with_query("http://t/x#y", &fields),
            format!("http://t/x{expected}")
        );
        let expected = expected.replacen('?', "&", 1);
        assert_eq!(
            with_query("http://t/x?a=b", &fields),
            format!("http://t/x?a=b{expected}")
        );
    }

    #[test]
    fn another_port_is_another_place() {
        let is_same = |one: &str, other: &str| origin(one) == origin(other);
        assert!(is_same("https://h.x/a", "https://H.X:443/b?c"));
        assert!(!is_same("https://h.x/", "https://h.x:5000/"));
        assert!(!is_same("https://h.x/", "http://h.x/"));
        assert!(!is_same("https://h.x/", "https://h.x.y/"));
        assert!(!is_same("https://h.x/", "https://h.x@o.x/"));
    }
}
