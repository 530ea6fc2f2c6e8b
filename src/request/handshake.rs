//! The TLS handshake of a connection.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::StreamRequest;
use super::close_reason::CloseReason;
use super::conn::{Conn, deadline};
use super::state::Flag;
use crate::ServerHandle;
use crate::green::Interest;
use crate::handle::RequestName;
use crate::log_line::log_line;
use crate::sys::MSG_DONTWAIT;
use crate::tls::rustls::ServerConfig;
use crate::tls::{FailureKind, HandshakeError, HandshakeFailed, Progress, TlsConfig, TlsInfo};

/// TLS. Feature `tls`.
impl StreamRequest {
    /// What client and server have agreed on. `None` without TLS.
    #[doc(alias("SSLSocket", "getpeercert", "sni", "alpn"))]
    pub fn tls(&self) -> Option<TlsInfo> {
        self.conn.transport.session()?.info()
    }

    /// Begins TLS in the middle of a plain conversation, as in STARTTLS: waits for the client's handshake. Before,
    /// the handler asks the client to begin. From here on all that is read and written is encrypted.
    ///
    /// `wfile` and outboxes are sent first, and what other threads send meanwhile waits until after the handshake. Blocks, at most for [`handshake_timeout`](crate::Builder::handshake_timeout). Until the
    /// client begins, the connection is idle. [`reload_tls`](ServerHandle::reload_tls) does not change `config`: keep it
    /// where the program can replace it.
    ///
    /// ```no_run
    /// use socketserver::prelude::*;
    /// use socketserver::tls::TlsConfig;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let tls = TlsConfig::from_pem_files("cert.pem", "key.pem")?;
    /// let server = ThreadingTcpServer::bind_fn("127.0.0.1:2525", move |request| {
    ///     while let Some(line) = request.next_line()? {
    ///         if line != "STARTTLS" || request.tls().is_some() {
    ///             request.wfile.write_all(b"500 what?\r\n")?;
    ///         } else if !request.rfile.buffer().is_empty() {
    ///             request.wfile.write_all(b"501 nothing may follow STARTTLS\r\n")?;
    ///             break;
    ///         } else {
    ///             request.wfile.write_all(b"220 go ahead\r\n")?;
    ///             request.start_tls(&tls)?;
    ///         }
    ///     }
    ///     Ok(())
    /// })?;
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidData` if the client has sent more before: an attacker may have put it there, and it would count as
    /// encrypted (command injection, CVE-2011-0411). `InvalidInput` if there is TLS already; the errors of the handshake.
    /// The connection is of no use then.
    #[doc(alias("STARTTLS", "wrap_socket", "do_handshake"))]
    pub fn start_tls(&mut self, config: &TlsConfig) -> io::Result<()> {
        if self.rfile.is_detached() {
            return Err(self.detached());
        }
        let client = &self.client_address;
        if self.conn.transport.session().is_some() {
            let text = format!("the connection from {client} has TLS already");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.handshake_with(config)
    }

    /// The handshake of a TLS server.
    pub(super) fn begin_tls(&mut self) -> io::Result<()> {
        match self.server.tls().config() {
            Some(config) if self.conn.transport.session().is_none() => self.handshake_with(&config),
            _ => Ok(()),
        }
    }

    fn handshake_with(&self, config: &TlsConfig) -> io::Result<()> {
        let early = self.rfile.buffer().len();
        if early > 0 {
            let client = &self.client_address;
            let text = format!("{client} has sent {early} bytes before the TLS handshake");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.conn.handshake(config, &self.server)
    }
}

impl Conn {
    /// Nothing else is sent meanwhile.
    fn handshake(&self, config: &TlsConfig, server: &ServerHandle) -> io::Result<()> {
        let config = config.server_config()?;
        let mut counted = server.tls().begin();
        let done = self.after_all_sent(|| self.run_handshake(config, server))?;
        let failed = done.as_ref().err().map(|failed| failed.kind);
        counted.end(failed);
        if failed == Some(FailureKind::TimedOut) {
            // A client that is slow keeps nothing, not even a lingering socket.
            self.reset();
        }
        done.map_err(|failed| self.explain_handshake(failed, server))
    }

    fn run_handshake(
        &self,
        config: Arc<ServerConfig>,
        server: &ServerHandle,
    ) -> Result<(), HandshakeError> {
        let deadline = deadline(server.tls().handshake_timeout);
        // Until the client begins, the connection is idle: a shutdown ends it at once.
        let was_idle = self.state.is_idle();
        if !was_idle {
            self.state.set_idle();
        }
        if !self
            .state
            .may_begin(self.received(), &self.client_address)?
        {
            return Err(HandshakeError::disconnected());
        }
        loop {
            match self.transport.peek(MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_in_handshake(Interest::Read, deadline)?;
                }
                Ok(0) => return Err(HandshakeError::disconnected()),
                Ok(_) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !self.state.set_busy() {
            return Err(HandshakeError::disconnected());
        }
        let session = server.tls().session(config, self.received())?;
        let twice = |_| io::Error::other("the connection has TLS already");
        self.transport.set_session(session).map_err(twice)?;
        let session = self.transport.session().expect("it was set");
        loop {
            let permit = server.tls().acquire(deadline)?;
            let progress = session.handshake(&self.transport)?;
            drop(permit);
            match progress {
                Progress::Done => break,
                Progress::WaitsToRead => self.wait_in_handshake(Interest::Read, deadline)?,
                Progress::WaitsToWrite => self.wait_in_handshake(Interest::Write, deadline)?,
            }
        }
        if self.state.has(Flag::Draining) {
            self.state.set_mark(session.expect_message());
        }
        if was_idle {
            self.state.set_accepted();
        }
        Ok(())
    }

    fn wait_in_handshake(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> Result<(), HandshakeError> {
        let waited = self.transport.wait(interest, deadline);
        waited.map_err(HandshakeError::while_waiting)
    }

    fn explain_handshake(&self, failed: HandshakeError, server: &ServerHandle) -> io::Error {
        let client = &self.client_address;
        let kind = failed.error.kind();
        let (kind, text) = match (self.state.close_reason(), failed.kind) {
            (Some(CloseReason::Shutdown), _) => {
                let text = format!("the server is shutting down, and {client} had not begun");
                (io::ErrorKind::ConnectionAborted, text)
            }
            (Some(CloseReason::IdleTimeout), _) => {
                let text = format!("{client} has sent nothing within the idle timeout");
                (io::ErrorKind::TimedOut, text)
            }
            (Some(reason), _) => match reason.error(client) {
                Some(error) => (error.kind(), error.to_string()),
                None => (kind, failed.error.to_string()),
            },
            (None, FailureKind::TimedOut) => {
                let timeout = server.tls().handshake_timeout.unwrap_or_default();
                let text =
                    format!("the TLS handshake with {client} was not done within {timeout:?}");
                (io::ErrorKind::TimedOut, text)
            }
            (None, FailureKind::PlainText) => {
                self.log_plain_text(&failed.error, server);
                (kind, failed.error.to_string())
            }
            (None, FailureKind::Internal) => return failed.error,
            (None, _) => (kind, failed.error.to_string()),
        };
        io::Error::new(kind, HandshakeFailed(text))
    }

    fn log_plain_text(&self, error: &io::Error, server: &ServerHandle) {
        if let Some(suppressed) = server.log_limit().allow() {
            let client_address = self.client_address.get();
            let name = RequestName {
                server,
                id: self.id,
                client_address,
            };
            log_line!(target: "socketserver::tls", Info, "{name}: {error}{suppressed}");
        }
    }
}
