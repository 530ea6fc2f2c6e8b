use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::log_line::log_line;

/// The certificates of a server, and which certificates its clients need. Cheap to clone.
///
/// [`from_pem_files`](Self::from_pem_files) is enough for one certificate; [`builder`](Self::builder) has more. A
/// `rustls::ServerConfig` of your own becomes one by `TlsConfig::from`. What it calls (a resolver of certificates, a
/// verifier, a store of sessions) runs in the middle of a handshake, under a lock of the connection: it must not wait for
/// other requests, nor shut the server down.
#[derive(Clone)]
pub struct TlsConfig(Arc<ServerConfig>);

impl TlsConfig {
    /// A server with one certificate: a chain in a PEM file, the server's own certificate first, and its private key.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or does not contain what it should; the key does not belong to the certificate. The
    /// message names the file.
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> io::Result<Self> {
        TlsConfig::builder().certificate(certificates, key).build()
    }

    /// More than one certificate, client certificates, ALPN.
    pub fn builder() -> TlsConfigBuilder {
        TlsConfigBuilder::default()
    }

    /// # Errors
    ///
    /// `InvalidInput` if it accepts 0-RTT data: who records it can send it again, and no handler expects that.
    pub(crate) fn server_config(&self) -> io::Result<Arc<ServerConfig>> {
        if self.0.max_early_data_size > 0 {
            let text = "TLS with 0-RTT data is not supported: set max_early_data_size to 0";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Arc::clone(&self.0))
    }
}

impl From<Arc<ServerConfig>> for TlsConfig {
    fn from(config: Arc<ServerConfig>) -> Self {
        TlsConfig(config)
    }
}

impl From<ServerConfig> for TlsConfig {
    fn from(config: ServerConfig) -> Self {
        TlsConfig(Arc::new(config))
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

/// Makes a [`TlsConfig`]. TLS 1.3 and 1.2, with the crypto of `ring`.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct TlsConfigBuilder {
    certificates: Vec<(PathBuf, PathBuf)>,
    rejects_unknown_names: bool,
    client_ca: Option<PathBuf>,
    is_optional: bool,
    alpn: Vec<Vec<u8>>,
}

impl TlsConfigBuilder {
    /// Adds a certificate: a chain in a PEM file, and its private key. With several, a client gets the first one
    /// that is valid for the name it asks for (SNI), and otherwise the very first.
    pub fn certificate(mut self, certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let files = (certificates.as_ref().into(), key.as_ref().into());
        self.certificates.push(files);
        self
    }

    /// Whether the handshake fails for a name that no certificate is valid for, and without a name, with the alert
    /// `access_denied`. Default false.
    #[doc(alias = "strict-sni")]
    pub fn reject_unknown_names(mut self, reject: bool) -> Self {
        self.rejects_unknown_names = reject;
        self
    }

    /// Each client needs a certificate that one of the authorities in this PEM file has signed.
    #[doc(alias("mTLS", "CERT_REQUIRED"))]
    pub fn client_ca(mut self, authorities: impl AsRef<Path>) -> Self {
        self.client_ca = Some(authorities.as_ref().into());
        self.is_optional = false;
        self
    }

    /// As [`client_ca`](Self::client_ca), but a client may have no certificate.
    #[doc(alias = "CERT_OPTIONAL")]
    pub fn optional_client_ca(mut self, authorities: impl AsRef<Path>) -> Self {
        self.client_ca = Some(authorities.as_ref().into());
        self.is_optional = true;
        self
    }

    /// The application protocols, the preferred one first, such as `http/1.1`. A client that offers some, and none of
    /// these, gets the alert `no_application_protocol`. Default: none, and what clients offer is ignored.
    #[doc(alias = "set_alpn_protocols")]
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        let protocols = protocols.into_iter();
        self.alpn = protocols.map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// Reads the files. A key that everybody may read is logged as a warning.
    ///
    /// # Errors
    ///
    /// Those of [`TlsConfig::from_pem_files`]; `InvalidInput` without a certificate.
    pub fn build(self) -> io::Result<TlsConfig> {
        let provider = Arc::new(ring::default_provider());
        let load = |(certificates, key): &(PathBuf, PathBuf)| load(certificates, key, &provider);
        let loaded: io::Result<Vec<_>> = self.certificates.iter().map(load).collect();
        let certificates = Certificates {
            all: loaded?,
            rejects_unknown_names: self.rejects_unknown_names,
        };
        if certificates.all.is_empty() {
            let text = "a TLS server needs a certificate";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = if self.is_optional {
                    verifier.allow_unauthenticated()
                } else {
                    verifier
                };
                let verifier = verifier.build().map_err(|error| invalid(path, error))?;
                config.with_client_cert_verifier(verifier)
            }
        };
        let mut config = config.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = self.alpn;
        Ok(config.into())
    }
}

fn load(
    certificates: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> io::Result<Arc<CertifiedKey>> {
    let chain = read_certificates(certificates)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    warn_if_public(key);
    let certified = CertifiedKey::from_der(chain, private, provider);
    let certified = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => invalid(
            key,
            format!(
                "the key does not belong to the certificate in {}",
                certificates.display()
            ),
        ),
        error => invalid(key, error),
    })?;
    Ok(Arc::new(certified))
}

fn authorities(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| invalid(path, error))?;
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unreadable(path, error))?;
    if certificates.is_empty() {
        return Err(invalid(path, "no certificate in it"));
    }
    Ok(certificates)
}

fn unreadable(path: &Path, error: pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => io::Error::new(
            error.kind(),
            format!("cannot read {}: {error}", path.display()),
        ),
        pem::Error::NoItemsFound => invalid(path, "no private key in it"),
        error => invalid(path, error),
    }
}

fn invalid(path: &Path, error: impl fmt::Display) -> io::Error {
    let text = format!("{}: {error}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn warn_if_public(key: &Path) {
    const READ_BY_OTHERS: u32 = 0o004;
    let mode = key.metadata().map(|file| file.permissions().mode());
    if mode.is_ok_and(|mode| mode & READ_BY_OTHERS != 0) {
        log_line!(
            target: "socketserver::tls", Warn,
            "every user of this machine can read the private key {}: `chmod o-r` ends that", key.display()
        );
    }
}

/// Chooses a certificate by the name that a client asks for.
#[derive(Debug)]
struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    rejects_unknown_names: bool,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if self.all.len() == 1 && !self.rejects_unknown_names {
            return self.all.first().cloned();
        }
        let name = client.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let is_valid = |key: &&Arc<CertifiedKey>| {
            let certificate = ParsedCertificate::try_from(key.end_entity_cert().ok()?).ok()?;
            verify_server_name(&certificate, name.as_ref()?).ok()
        };
        let first = self.all.first().filter(|_| !self.rejects_unknown_names);
        let valid = self.all.iter().find(|key| is_valid(key).is_some());
        valid.or(first).cloned()
    }
}
