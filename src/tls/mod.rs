//! TLS: the same handlers, encrypted. Feature `tls`, with the crate `rustls`.
//!
//! [`Builder::tls`](crate::Builder::tls) makes a server of streams a TLS server. **Handlers do not change**: what they
//! read is decrypted, and what they write is encrypted, with the same lines, timeouts, limits and shutdown.
//!
//! ```no_run
//! use socketserver::prelude::*;
//! use socketserver::tls::TlsConfig;
//!
//! # fn main() -> std::io::Result<()> {
//! let tls = TlsConfig::from_pem_files("cert.pem", "key.pem")?;
//! let server = ThreadingTcpServer::builder()
//!     .tls(tls)
//!     .bind_fn("127.0.0.1:8443", |request| {
//!         while let Some(line) = request.next_line()? {
//!             writeln!(request.wfile, "{line}")?;
//!         }
//!         Ok(())
//!     })?;
//! server.serve_forever()
//! # }
//! ```
//!
//! A certificate to try it, for `localhost` and 127.0.0.1, and two clients:
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
//!     -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
//!     -addext basicConstraints=CA:FALSE -keyout key.pem -out cert.pem
//! openssl s_client -connect localhost:8443 -CAfile cert.pem -quiet
//! curl --cacert cert.pem https://localhost:8443/
//! ```
//!
//! # The handshake
//!
//! It runs where the handler runs, before `setup`: on a thread or task of its own, and only on the thread that accepts
//! with `TcpServer`, which serves one client at a time. It has
//! [`handshake_timeout`](crate::Builder::handshake_timeout), 10 s by default;
//! [`max_handshakes`](crate::Builder::max_handshakes) limits how many compute at once. A handshake that fails ends its
//! request with an error of [`Stage::Handshake`](crate::Stage::Handshake). It is logged at debug level, and
//! [`TlsStatistics`] counts it by cause: a scanner causes no line. Only a client that does not speak TLS is worth
//! a line at info level. [`Hooks::verify_request`](crate::Hooks::verify_request) runs before the handshake:
//! what it writes is not encrypted. A rejected client gets no handshake, and is closed at once.
//!
//! # The end of a stream
//!
//! The server tells the client that it ends the stream (`close_notify`), after `finish` and in
//! [`Writer::shutdown`](crate::request::Writer::shutdown); not after an abort or a forced close. A client that ends its
//! stream without it may have been cut off: a read fails with `UnexpectedEof` then. Where the handler
//! [waits for a message](crate::StreamRequest::wait_for_data) nothing is missing, so there it is the end, unless a record
//! has begun.
//!
//! # What differs from TCP
//!
//! - The request's descriptor is the encrypted socket. [`into_parts`](crate::StreamRequest::into_parts) fails.
//! - In a `select` or `poll` of your own, "not readable" says nothing: decrypted bytes may wait. `wait_for_data` knows them.
//! - A graceful shutdown lets a handshake that has begun end, and serves one message after it, if that begins within a
//!   second.
//! - In a server that forks, the child makes the handshake: the server counts none, and no session is resumed.
//! - A client can resume a session. A new configuration ([`reload_tls`](crate::ServerHandle::reload_tls)) or a restart
//!   of the program forgets all of them: clients make a full handshake then. 0-RTT data is never accepted.
//!
//! The types of `rustls` are a part of this module's interface: a new major version of one is a new one of the other.

mod config;
mod decrypted;
mod error;
mod records;
mod server;
mod session;
mod socket;
mod state;

pub use rustls;

pub use self::config::{TlsConfig, TlsConfigBuilder};
pub(crate) use self::error::{FailureKind, HandshakeError, HandshakeFailed};
pub use self::server::TlsStatistics;
pub(crate) use self::server::{ServerTls, TlsOptions, Traffic};
pub(crate) use self::session::{Progress, Session};

use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;

/// What client and server have agreed on: [`StreamRequest::tls`](crate::StreamRequest::tls). Python's
/// `SSLSocket.version`, `cipher`, `selected_alpn_protocol` and `getpeercert`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsInfo(Arc<Agreed>);

#[derive(Debug)]
struct Agreed {
    server_name: Option<String>,
    alpn: Option<Vec<u8>>,
    version: String,
    cipher: String,
    client_certificates: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    fn of(tls: &ServerConnection) -> Self {
        let name = |value: Option<&str>| value.unwrap_or("unknown").to_owned();
        let version = tls.protocol_version().and_then(|version| version.as_str());
        let cipher = tls.negotiated_cipher_suite();
        let cipher = cipher.and_then(|cipher| cipher.suite().as_str());
        TlsInfo(Arc::new(Agreed {
            server_name: tls.server_name().map(str::to_owned),
            alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
            // As in OpenSSL's texts and Python's.
            version: name(version).replace('_', "."),
            // IANA's name.
            cipher: name(cipher).replace("TLS13_", "TLS_"),
            client_certificates: tls.peer_certificates().unwrap_or_default().to_vec(),
        }))
    }

    /// The name that the client has asked for (SNI).
    #[doc(alias = "SNI")]
    pub fn server_name(&self) -> Option<&str> {
        self.0.server_name.as_deref()
    }

    /// The application protocol, such as `http/1.1`.
    #[doc(alias = "selected_alpn_protocol")]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn.as_deref()
    }

    /// `TLSv1.2` or `TLSv1.3`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The cipher suite, by IANA's name, such as `TLS_AES_256_GCM_SHA384`.
    pub fn cipher(&self) -> &str {
        &self.0.cipher
    }

    /// The client's certificates, its own first. They are verified. Empty if it has none.
    #[doc(alias = "getpeercert")]
    pub fn client_certificates(&self) -> &[CertificateDer<'static>] {
        &self.0.client_certificates
    }
}
