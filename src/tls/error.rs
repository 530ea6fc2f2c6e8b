use std::fmt;
use std::io;

use rustls::{CertificateError, Error, PeerIncompatible};

/// Why a handshake has failed. [`TlsStatistics`](super::TlsStatistics) counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    PlainText,
    TimedOut,
    Disconnected,
    Incompatible,
    Alpn,
    ServerName,
    ClientCertificate,
    RefusedByClient,
    Malformed,
    /// Not the client's fault.
    Internal,
}

impl FailureKind {
    pub(super) const COUNT: usize = FailureKind::Internal as usize + 1;
}

/// A failed handshake, or what a session has received that is not TLS.
#[derive(Debug)]
pub(crate) struct HandshakeError {
    pub(crate) kind: FailureKind,
    pub(crate) error: io::Error,
}

impl HandshakeError {
    pub(crate) fn plain_text(text: String) -> Self {
        HandshakeError {
            kind: FailureKind::PlainText,
            error: io::Error::new(io::ErrorKind::InvalidData, text),
        }
    }

    pub(crate) fn timed_out() -> Self {
        HandshakeError {
            kind: FailureKind::TimedOut,
            error: io::ErrorKind::TimedOut.into(),
        }
    }

    pub(crate) fn disconnected() -> Self {
        let text = "the client has ended the stream";
        HandshakeError {
            kind: FailureKind::Disconnected,
            error: io::Error::new(io::ErrorKind::ConnectionAborted, text),
        }
    }

    /// An error of a wait: a deadline, usually.
    pub(crate) fn while_waiting(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => HandshakeError::timed_out(),
            _ => error.into(),
        }
    }

    pub(super) fn is_would_block(&self) -> bool {
        self.error.kind() == io::ErrorKind::WouldBlock
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
            WouldBlock,
        };
        let kind = match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut
            | UnexpectedEof | WouldBlock => FailureKind::Disconnected,
            _ => FailureKind::Internal,
        };
        HandshakeError { kind, error }
    }
}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        let kind = kind(&error);
        let io_kind = match kind {
            FailureKind::RefusedByClient => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        HandshakeError {
            kind,
            error: io::Error::new(io_kind, TlsError(error)),
        }
    }
}

impl From<HandshakeError> for io::Error {
    fn from(error: HandshakeError) -> Self {
        error.error
    }
}

/// What rustls says if no certificate has the name that the client asks for.
const NO_CERTIFICATE: &str = "no server certificate chain resolved";

fn kind(error: &Error) -> FailureKind {
    match error {
        Error::AlertReceived(_) => FailureKind::RefusedByClient,
        Error::NoApplicationProtocol => FailureKind::Alpn,
        Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => FailureKind::ClientCertificate,
        Error::PeerIncompatible(_) => FailureKind::Incompatible,
        Error::General(text) if text == NO_CERTIFICATE => FailureKind::ServerName,
        Error::General(_)
        | Error::Other(_)
        | Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes => FailureKind::Internal,
        _ => FailureKind::Malformed,
    }
}

/// An error of TLS, in words.
#[derive(Debug)]
struct TlsError(Error);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::AlertReceived(alert) => write!(f, "the client has sent the alert {alert:?}"),
            Error::General(text) if text == NO_CERTIFICATE => {
                f.write_str("no certificate for the name that the client asks for")
            }
            Error::NoApplicationProtocol => f.write_str("no ALPN protocol in common"),
            Error::NoCertificatesPresented => f.write_str("the client has no certificate"),
            Error::InvalidCertificate(CertificateError::Expired) => {
                f.write_str("the client's certificate has expired")
            }
            Error::InvalidCertificate(error) => {
                write!(f, "the client's certificate is not accepted: {error}")
            }
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => f.write_str("no TLS version in common"),
            Error::PeerIncompatible(missing) => {
                write!(f, "the client is too old, or lacks something: {missing:?}")
            }
            error => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// What a handler or the server gets to know of a failed handshake. The log tells it from other errors.
#[derive(Debug)]
pub(crate) struct HandshakeFailed(pub(crate) String);

impl fmt::Display for HandshakeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HandshakeFailed {}
