use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rustls::ServerConfig;

use super::error::{FailureKind, HandshakeError};
use super::{Session, TlsConfig};
use crate::options::check_time;
use crate::task::{self, Receiver, Sender};

/// The settings of the builder.
#[derive(Clone, Debug)]
pub(crate) struct TlsOptions {
    pub(crate) config: Option<TlsConfig>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) max_handshakes: Option<usize>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions {
            config: None,
            handshake_timeout: Some(Duration::from_secs(10)),
            max_handshakes: None,
        }
    }
}

impl TlsOptions {
    pub(crate) fn check(&self) -> io::Result<()> {
        check_time("handshake_timeout", self.handshake_timeout)?;
        let config = self.config.as_ref().map(TlsConfig::server_config);
        config.transpose().map(drop)
    }
}

/// What the connections of a server have in common.
pub(crate) struct ServerTls {
    config: RwLock<Option<TlsConfig>>,
    pub(crate) handshake_timeout: Option<Duration>,
    permits: Option<(Sender<()>, Receiver<()>)>,
    traffic: Arc<Traffic>,
    done: AtomicU64,
    failed: [AtomicU64; FailureKind::COUNT],
}

impl ServerTls {
    pub(crate) fn new(options: &TlsOptions) -> Self {
        let permits = options.max_handshakes.map(|limit| {
            let (give, take) = task::bounded(limit.max(1));
            for _ in 0..limit.max(1) {
                // There is space for all of them.
                let _ = give.try_send(());
            }
            (give, take)
        });
        ServerTls {
            config: RwLock::new(options.config.clone()),
            handshake_timeout: options.handshake_timeout,
            permits,
            traffic: Arc::default(),
            done: AtomicU64::new(0),
            failed: Default::default(),
        }
    }

    /// What new connections begin with. `None` for a server without TLS.
    pub(crate) fn config(&self) -> Option<TlsConfig> {
        self.config.read().clone()
    }

    pub(crate) fn set_config(&self, config: TlsConfig) -> io::Result<()> {
        config.server_config()?;
        *self.config.write() = Some(config);
        Ok(())
    }

    /// A session that begins at this position in a stream.
    pub(crate) fn session(&self, config: Arc<ServerConfig>, position: u64) -> io::Result<Session> {
        Session::new(config, position, Arc::clone(&self.traffic))
    }

    /// Waits until one more handshake may compute.
    pub(crate) fn acquire(
        &self,
        deadline: Option<Instant>,
    ) -> Result<HandshakePermit<'_>, HandshakeError> {
        let Some((give, take)) = &self.permits else {
            return Ok(HandshakePermit(None));
        };
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // The other half is never dropped before.
        let taken = match left {
            None => take.recv().is_ok(),
            Some(left) => take.recv_timeout(left).is_ok(),
        };
        if taken {
            Ok(HandshakePermit(Some(give)))
        } else {
            Err(HandshakeError::timed_out())
        }
    }

    /// Counts one handshake, when the value is dropped.
    pub(crate) fn begin(&self) -> Counted<'_> {
        Counted {
            tls: self,
            failed: Some(FailureKind::Internal),
        }
    }

    pub(crate) fn statistics(&self) -> TlsStatistics {
        let failed = |kind| self.failed[kind as usize].load(Ordering::Relaxed);
        TlsStatistics {
            handshakes: self.done.load(Ordering::Relaxed),
            plain_text: failed(FailureKind::PlainText),
            timed_out: failed(FailureKind::TimedOut),
            disconnected: failed(FailureKind::Disconnected),
            incompatible: failed(FailureKind::Incompatible),
            alpn: failed(FailureKind::Alpn),
            server_name: failed(FailureKind::ServerName),
            client_certificate: failed(FailureKind::ClientCertificate),
            refused_by_client: failed(FailureKind::RefusedByClient),
            malformed: failed(FailureKind::Malformed),
            internal: failed(FailureKind::Internal),
            bytes_in: self.traffic.received.load(Ordering::Relaxed),
            bytes_out: self.traffic.sent.load(Ordering::Relaxed),
        }
    }
}

/// While a handshake computes. It is given back also after a panic.
pub(crate) struct HandshakePermit<'a>(Option<&'a Sender<()>>);

impl Drop for HandshakePermit<'_> {
    fn drop(&mut self) {
        if let Some(give) = self.0 {
            let _ = give.try_send(());
        }
    }
}

/// A handshake that counts as failed until it [ends](Self::end): it may panic.
pub(crate) struct Counted<'a> {
    tls: &'a ServerTls,
    failed: Option<FailureKind>,
}

impl Counted<'_> {
    pub(crate) fn end(&mut self, failed: Option<FailureKind>) {
        self.failed = failed;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let failed = |kind| &self.tls.failed[kind as usize];
        let counter = self.failed.map_or(&self.tls.done, failed);
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The encrypted bytes of all connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub(super) fn add(&self, received: u64, sent: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }
}

/// The handshakes of a server since its start, and its encrypted bytes; of each open connection up to 16 KiB are not
/// counted yet. The request of a failed handshake also counts
/// as `failed`, `timed_out` or `disconnected` in [`Statistics`](crate::Statistics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStatistics {
    /// Handshakes that were done.
    pub handshakes: u64,
    /// The client did not speak TLS.
    pub plain_text: u64,
    /// Not done within [`handshake_timeout`](crate::Builder::handshake_timeout).
    pub timed_out: u64,
    /// The client has closed the connection, or a shutdown has ended it.
    pub disconnected: u64,
    /// No version, cipher suite or other parameter in common.
    pub incompatible: u64,
    /// No ALPN protocol in common.
    pub alpn: u64,
    /// No certificate for the name that the client has asked for: see
    /// [`reject_unknown_names`](super::TlsConfigBuilder::reject_unknown_names).
    pub server_name: u64,
    /// The client's certificate is missing, or not accepted.
    pub client_certificate: u64,
    /// The client has sent an alert: usually it does not trust the server's certificate.
    pub refused_by_client: u64,
    /// What the client has sent is not valid.
    pub malformed: u64,
    /// A fault of this side: no descriptor was free, or a part of the configuration that is the program's own has failed
    /// or panicked.
    pub internal: u64,
    /// Bytes received, encrypted, with the handshakes.
    pub bytes_in: u64,
    /// Bytes sent, encrypted, with the handshakes.
    pub bytes_out: u64,
}

impl TlsStatistics {
    /// The sums for two servers.
    pub(crate) fn plus(self, other: Self) -> Self {
        TlsStatistics {
            handshakes: self.handshakes + other.handshakes,
            plain_text: self.plain_text + other.plain_text,
            timed_out: self.timed_out + other.timed_out,
            disconnected: self.disconnected + other.disconnected,
            incompatible: self.incompatible + other.incompatible,
            alpn: self.alpn + other.alpn,
            server_name: self.server_name + other.server_name,
            client_certificate: self.client_certificate + other.client_certificate,
            refused_by_client: self.refused_by_client + other.refused_by_client,
            malformed: self.malformed + other.malformed,
            internal: self.internal + other.internal,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
        }
    }
}
