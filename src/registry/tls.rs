//! TLS as the host has it configured: the roots of the system, and the certificates of `certs.d` of Docker and Podman.
//!
//! A server whose own certificate lies there is trusted, even if it calls itself an authority, as `openssl req -x509`
//! makes them: webpki alone would refuse it. So this has a connector of its own. Source: containers-certs.d(5).

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::error::{Error, Result};

/// What a directory of `certs.d` has.
#[derive(Default)]
struct Certificates {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// How a host is spoken to. `directory` takes the place of `certs.d`. Errors: a certificate or a key is not readable.
pub fn config(host: &str, directory: Option<&Path>, verifies: bool) -> Result<Arc<ClientConfig>> {
    let mut certificates = Certificates::default();
    match directory {
        Some(directory) => {
            let entries = directory.read_dir();
            entries.map_err(|error| {
                Error::system(format!("reading {}", directory.display()), error)
            })?;
            certificates.read(directory)?;
        }
        None => {
            for directory in directories(host) {
                certificates.read(&directory)?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(system.into_iter().chain(certificates.authorities.clone()));
    let known = certificates.authorities;
    let inner = match verifies && !roots.is_empty() {
        true => {
            let built =
                WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
            Some(built.build().map_err(failed)?)
        }
        false => None,
    };
    let verifier = Verifier {
        inner,
        verifies,
        known,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(failed)?.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(match certificates.client {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failed)?,
        None => builder.with_no_client_auth(),
    }))
}

fn failed(error: impl fmt::Display) -> Error {
    Error::conflict(format!("setting up TLS: {error}"))
}

/// Those of one host, in the order in which Podman reads them.
fn directories(host: &str) -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/containers"));
    let all = [
        own,
        Some("/etc/containers".into()),
        Some("/etc/docker".into()),
    ];
    let host = host.to_string();
    all.into_iter()
        .flatten()
        .map(move |path| path.join("certs.d").join(&host))
}

impl Certificates {
    /// Adds what a directory has, if it exists: `*.crt`, and the first pair of `*.cert` and `*.key`.
    fn read(&mut self, directory: &Path) -> Result<()> {
        let entries = directory.read_dir().into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let ending = path.extension().and_then(|ending| ending.to_str());
            match ending {
                Some("crt") => self.authorities.extend(in_file(&path)?),
                Some("cert") if self.client.is_none() => {
                    let key = path.with_extension("key");
                    let read = PrivateKeyDer::from_pem_file(&key);
                    let read = read.map_err(|error| unreadable(&key, "a private key", error))?;
                    self.client = Some((in_file(&path)?, read));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn in_file(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(|all| all.collect());
    read.map_err(|error| unreadable(path, "a certificate", error))
}

fn unreadable(path: &Path, what: &str, error: rustls::pki_types::pem::Error) -> Error {
    let shown = path.display();
    match error {
        rustls::pki_types::pem::Error::Io(error) => {
            Error::system(format!("reading {shown}"), error)
        }
        _ => Error::conflict(format!("{shown} is not {what} in PEM")),
    }
}

/// Verifies as webpki does, and trusts a server whose certificate is one of the known.
#[derive(Debug)]
struct Verifier {
    /// None without any root.
    inner: Option<Arc<WebPkiServerVerifier>>,
    verifies: bool,
    known: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if !self.verifies {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(inner) = &self.inner else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let verified = inner.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // webpki looks at the dates before it looks for this.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string().contains("CaUsedAsEndEntity") =>
            {
                if !self.known.contains(certificate) {
                    return Err(CertificateError::UnknownIssuer.into());
                }
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Puts TLS over a connection for `https:`.
pub struct TlsConnector(pub Arc<ClientConfig>);

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_string());
        let name = name.map_err(|_| ureq::Error::Tls("the host has no valid name"))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        let time = Arc::clone(&details.current_time);
        let mut socket = TransportAdapter::new(transport.boxed(), time);
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers = LazyBuffers::new(
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        let stream = StreamOwned::new(connection, socket);
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// A connection with TLS.
pub struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(
        &mut self,
        amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// What is wrong with a certificate, in words; `None` if that is not why TLS failed.
pub fn about_certificate(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(why) = error else {
        return None;
    };
    Some(match why {
        CertificateError::UnknownIssuer => {
            "its certificate is not from an authority that this host trusts".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is the clock right?".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".into()
        }
        other => format!("its certificate is not valid: {other}"),
    })
}
