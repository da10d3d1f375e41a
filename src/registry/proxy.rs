//! Proxies, from the variables that curl, Podman and Docker obey. `NO_PROXY` names hosts, with those below them.

use std::ffi::OsString;

use ureq::Proxy;

use crate::error::{Error, Result};

/// The proxy for HTTPS or HTTP, if there is one. Errors: it is not a URL of one
/// ([`Kind::Conflict`](crate::Kind::Conflict)).
pub fn find(is_secure: bool) -> Result<Option<Proxy>> {
    of(is_secure, &|name| std::env::var_os(name))
}

fn of(is_secure: bool, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Proxy>> {
    let names = match is_secure {
        true => ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        // A request may bring its own HTTP_PROXY into a CGI program.
        false => ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let get = |name: &str| {
        let text = variable(name)?.into_string().ok()?;
        (!text.is_empty()).then_some(text)
    };
    let Some((name, text)) = names.iter().find_map(|name| Some((name, get(name)?))) else {
        return Ok(None);
    };
    // The text may have a password.
    let wrong = || {
        Error::conflict(format!(
            "the variable {name} is not the URL of an HTTP proxy"
        ))
    };
    let proxy = Proxy::new(&text).map_err(|_| wrong())?;
    if !matches!(
        proxy.protocol(),
        ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https
    ) {
        return Err(wrong());
    }
    let mut builder = Proxy::builder(proxy.protocol())
        .host(proxy.host())
        .port(proxy.port());
    if let Some(user) = proxy.username() {
        builder = builder.username(user);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    let excepted = get("no_proxy").or_else(|| get("NO_PROXY"));
    for host in excepted
        .iter()
        .flat_map(|text| text.split(','))
        .map(str::trim)
    {
        builder = builder.no_proxy(host);
        if !host.starts_with(['.', '*']) && !host.is_empty() {
            builder = builder.no_proxy(&format!(".{host}"));
        }
    }
    builder.build().map(Some).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_its_variables_and_its_exceptions() {
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            }
        };
        let both = set(&[
            ("https_proxy", ""),
            ("HTTPS_PROXY", "http://u:p@secure:1"),
            ("http_proxy", "plain:2"),
            ("NO_PROXY", "near.org, .far.org"),
        ]);
        let secure = of(true, &both).unwrap().unwrap();
        assert_eq!((secure.host(), secure.port()), ("secure", 1));
        assert_eq!(secure.password(), Some("p"));
        for (url, is) in [
            ("https://near.org/", true),
            ("https://a.near.org/", true),
            ("https://a.far.org/", true),
            ("https://far.org/", false),
            ("https://notnear.org/", false),
        ] {
            assert_eq!(secure.is_no_proxy(&url.parse().unwrap()), is, "{url}");
        }
        assert_eq!(of(false, &both).unwrap().unwrap().host(), "plain");
        assert!(of(true, &set(&[])).unwrap().is_none());
        let wrong = of(true, &set(&[("ALL_PROXY", "socks5://secret")])).unwrap_err();
        assert!(!wrong.to_string().contains("secret"), "{wrong}");
    }
}
