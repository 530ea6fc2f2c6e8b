//! Receiving a PROXY header.

use std::io;
use std::time::{Duration, Instant};

use super::conn::{Conn, deadline};
use super::state::Flag;
use super::transport::uninterrupted;
use crate::green::{self, Interest};
use crate::handle::OpenConnection;
use crate::proxy_protocol::ProxyHeader;
use crate::sys::{MSG_DONTWAIT, MSG_PEEK, recv_with_flags};

impl Conn {
    /// Receives a PROXY header, and nothing of what follows it. Meanwhile the connection is as idle as it was.
    /// `None` if a graceful shutdown has ended it.
    pub(super) fn receive_proxy_header(
        &self,
        timeout: Duration,
    ) -> io::Result<Option<ProxyHeader>> {
        let deadline = deadline(Some(timeout));
        let mut bytes = Vec::new();
        loop {
            let received = bytes.len();
            let peeked = self
                .peek_more(&mut bytes, deadline)
                .map_err(|error| self.explain_header(error, received, timeout))?;
            if peeked == 0 {
                return self.header_ended(received);
            }
            let parsed = ProxyHeader::parse(&bytes)?;
            let length = parsed.as_ref().map_or(bytes.len(), |(_, length)| *length);
            // What is still missing comes after all of this.
            if !self.take(length - received)? {
                return self.header_ended(received);
            }
            // A shutdown may have begun while this was in the socket. It ends the connection if there is no
            // message behind it.
            if self.state.has(Flag::Draining) {
                self.drain();
            }
            if let Some((header, _)) = parsed {
                self.state.restart_idle_time();
                return Ok(Some(header));
            }
        }
    }

    /// Waits until something arrives, and appends it to `bytes`. It stays in the socket. Returns 0 at the end of
    /// the stream.
    fn peek_more(&self, bytes: &mut Vec<u8>, deadline: Option<Instant>) -> io::Result<usize> {
        const STEP: usize = 512;
        let received = bytes.len();
        loop {
            bytes.resize(received + STEP, 0);
            let space = &mut bytes[received..];
            let flags = MSG_PEEK | MSG_DONTWAIT;
            let peeked = uninterrupted(|| recv_with_flags(&self.transport, space, flags));
            bytes.truncate(received + *peeked.as_ref().unwrap_or(&0));
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.transport.wait(Interest::Read, deadline)?;
                }
                peeked => return peeked,
            }
        }
    }

    /// Takes so many bytes, which were peeked at, out of the socket. Returns false if the connection was closed
    /// meanwhile.
    fn take(&self, mut length: usize) -> io::Result<bool> {
        let mut scratch = [0; 512];
        while length > 0 {
            let space = &mut scratch[..length.min(512)];
            let taken = self.state.receive_locked(false, || {
                let n = self.transport.try_read(space)?;
                self.bytes.add_received(n);
                Ok(n)
            })?;
            if taken == 0 {
                return Ok(false);
            }
            length -= taken;
            green::spend_budget(taken);
        }
        Ok(true)
    }

    fn header_ended(&self, received: usize) -> io::Result<Option<ProxyHeader>> {
        self.at_end()?;
        let peer = &self.client_address;
        let (kind, message) = match received {
            _ if self.state.close_reason().is_some() => return Ok(None),
            0 => (
                io::ErrorKind::UnexpectedEof,
                format!("{peer} has closed the connection before its PROXY header"),
            ),
            n => (
                io::ErrorKind::InvalidData,
                format!("{peer} has closed the connection after {n} bytes of its PROXY header"),
            ),
        };
        Err(io::Error::new(kind, message))
    }

    fn explain_header(&self, error: io::Error, received: usize, timeout: Duration) -> io::Error {
        let failed = match received {
            0 => "no PROXY header received from".to_owned(),
            n => format!("only {n} bytes of a PROXY header received from"),
        };
        self.explain(error, &failed, Some(timeout))
    }
}
