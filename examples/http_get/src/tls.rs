//! Certificates and the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use url::Host;

use crate::wire::Wire;

/// Trusts the certificates in `cafile`, or else the system's.
pub fn config(cafile: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let roots = match cafile {
        Some(path) => from_file(path).map_err(|e| {
            io::Error::other(format!(
                "cannot use the certificates in {}: {e}",
                path.display()
            ))
        })?,
        None => native()?,
    };
    let config = ClientConfig::builder().with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Blocks until the handshake is complete and the certificate is verified for `host`.
pub fn handshake(
    mut wire: Wire,
    host: Host<&str>,
    config: Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, Wire>> {
    let name = match host {
        Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
        Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
        Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
    };
    let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut wire) {
            return Err(explain(error, &wire.peer));
        }
    }
    Ok(StreamOwned::new(tls, wire))
}

fn explain(error: io::Error, peer: &str) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let message = match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let reason = distrust(reason);
            format!("the certificate of {peer} is not to be trusted: {reason}")
        }
        Some(rustls::Error::InvalidMessage(reason)) => {
            format!("{peer} does not speak TLS: {reason:?}")
        }
        Some(other) => format!("no TLS with {peer}: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("no TLS with {peer}: it closed the connection during the handshake")
        }
        // An error of the socket has its message already.
        None => return error,
    };
    io::Error::new(error.kind(), message)
}

fn distrust(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "no authority known here has signed it (--cafile names others)".to_owned()
        }
        // The certificate that `openssl req -x509` makes by default.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "it is an authority's, and a server needs one that is not (CA:FALSE)".to_owned()
        }
        other => other.to_string(),
    }
}

fn from_file(path: &Path) -> Result<RootCertStore, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("there is none".into());
    }
    Ok(roots)
}

fn native() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // A system's store may contain malformed certificates; the others are still used.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons = found.errors.iter().map(|error| format!(": {error}"));
        return Err(io::Error::other(format!(
            "this system has no certificates to trust, name some with --cafile{}",
            reasons.collect::<String>()
        )));
    }
    Ok(roots)
}
