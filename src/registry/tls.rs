//! Certificates, as the host has them: the roots of the system, and `certs.d` of Docker and Podman.

use std::path::PathBuf;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::error::{Error, Result};

/// Trusts the system's roots and the `*.crt` files in `certs.d/HOST`. Errors: such a file is not readable.
pub fn config(host: &str) -> Result<TlsConfig> {
    let system = rustls_native_certs::load_native_certs().certs;
    let mut roots: Vec<Certificate<'static>> = system
        .iter()
        .map(|root| Certificate::from_der(root).to_owned())
        .collect();
    for directory in directories(host) {
        for file in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "crt") {
                roots.extend(in_file(path)?);
            }
        }
    }
    let provider = rustls::crypto::ring::default_provider();
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .root_certs(RootCerts::from(roots))
        .build())
}

/// containers-certs.d(5).
fn directories(host: &str) -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/containers"));
    let all = [
        Some("/etc/containers".into()),
        Some("/etc/docker".into()),
        own,
    ];
    let host = host.to_string();
    all.into_iter()
        .flatten()
        .map(move |path| path.join("certs.d").join(&host))
}

fn in_file(path: PathBuf) -> Result<Vec<Certificate<'static>>> {
    let shown = path.display();
    let bytes = std::fs::read(&path)
        .map_err(|error| Error::system(format!("reading the certificate {shown}"), error))?;
    let items = parse_pem(&bytes).collect::<std::result::Result<Vec<_>, _>>();
    let items =
        items.map_err(|_| Error::conflict(format!("{shown} is not a certificate in PEM")))?;
    let certificates = items.into_iter().filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    Ok(certificates.collect())
}
