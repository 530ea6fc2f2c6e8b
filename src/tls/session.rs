use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::ServerConfig;

use super::error::HandshakeError;
use super::state::State;
use super::{TlsInfo, Traffic};
use crate::sys::stream;

/// What [`Session::unread`] returns where some of what has arrived is not decrypted.
const UNKNOWN: u64 = u64::MAX / 2;

/// The TLS session of a connection, on the server's side.
///
/// No call blocks. The lock is held to receive and decrypt what has arrived, and to encrypt and send, but not while
/// anything waits for the client: a reader that waits never holds up a writer.
#[derive(Debug)]
pub(crate) struct Session {
    state: Mutex<State>,
    info: OnceLock<TlsInfo>,
    /// The last call has emptied the socket. Changes under the lock.
    is_drained: AtomicBool,
}

/// What a handshake waits for.
pub(crate) enum Progress {
    Done,
    WaitsToRead,
    WaitsToWrite,
}

impl Session {
    /// A session that begins at this position in the stream.
    pub(crate) fn new(
        config: Arc<ServerConfig>,
        position: u64,
        traffic: Arc<Traffic>,
    ) -> io::Result<Self> {
        Ok(Session {
            state: Mutex::new(State::new(config, position, traffic)?),
            info: OnceLock::new(),
            is_drained: AtomicBool::new(false),
        })
    }

    /// What was agreed on. `None` until the handshake is done.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        self.info.get().cloned()
    }

    /// Goes on with the handshake.
    pub(crate) fn handshake(&self, socket: &impl AsFd) -> Result<Progress, HandshakeError> {
        let mut state = self.state.lock();
        let progress = self.advance(&mut state, socket);
        // An alert has said why it has failed.
        state.has_closed |= progress.is_err();
        progress
    }

    fn receive_into(
        &self,
        state: &mut State,
        socket: &impl AsFd,
        had_event: bool,
        out: &mut [u8],
    ) -> io::Result<usize> {
        let was_drained = self.is_drained.swap(false, Ordering::Relaxed);
        let goes_on = state.end.is_none() && state.failed.is_none();
        if was_drained && !had_event && goes_on {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (received, is_drained) = state.receive(socket, out)?;
        self.is_drained.store(is_drained, Ordering::Relaxed);
        Ok(received)
    }

    fn advance(&self, state: &mut State, socket: &impl AsFd) -> Result<Progress, HandshakeError> {
        loop {
            if !state.flush(socket)? {
                return Ok(Progress::WaitsToWrite);
            }
            if !state.tls.is_handshaking() {
                // Once: a handshake is done once.
                let _ = self.info.set(TlsInfo::of(&state.tls));
                return Ok(Progress::Done);
            }
            match state.receive_records(socket, &mut []) {
                Err(error) if error.is_would_block() => return Ok(Progress::WaitsToRead),
                received => received?,
            };
            if !state.tls.is_handshaking() {
                // What came after the handshake is the handler's.
                continue;
            }
            if let Some(error) = state.failed.take() {
                return Err(error.into());
            }
            if state.end.is_some() {
                return Err(HandshakeError::disconnected());
            }
        }
    }

    /// Decrypts what has arrived into `out`. Returns 0 after the client's `close_notify`. If the last call has emptied
    /// the socket, it is asked again only if it `had_event` since, and otherwise by the call after this one.
    ///
    /// # Errors
    ///
    /// `WouldBlock`; `UnexpectedEof` if the stream has ended without `close_notify`; `InvalidData` for what is not
    /// TLS.
    pub(crate) fn receive(
        &self,
        socket: &impl AsFd,
        had_event: bool,
        out: &mut [u8],
    ) -> io::Result<usize> {
        let mut state = self.state.lock();
        match state.decrypted.read(out) {
            0 => self.receive_into(&mut state, socket, had_event, out),
            n => Ok(n),
        }
    }

    /// As [`receive`](Self::receive) between two messages, but what is decrypted stays here. Returns 0 or 1. A stream
    /// that ends without `close_notify` lacks nothing there, unless it ends inside a record.
    pub(crate) fn peek(&self, socket: &impl AsFd, had_event: bool) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.decrypted.is_empty() {
            let received = self.receive_into(&mut state, socket, had_event, &mut []);
            let is_whole = !state.records.is_partial();
            match received {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && is_whole => {}
                received => drop(received?),
            }
        }
        Ok(usize::from(!state.decrypted.is_empty()))
    }

    /// Whether the last call has emptied the socket.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }

    /// How many bytes the handler can still read of what has arrived. A number that is far too high if some of it is
    /// not decrypted.
    pub(crate) fn unread(&self, socket: &impl AsFd) -> u64 {
        let state = self.state.lock();
        match is_decrypted(&state, stream::unread(socket)) && state.arrived.is_none() {
            true => state.decrypted.len(),
            false => UNKNOWN,
        }
    }

    /// A shutdown begins: what has arrived up to now is still served. Returns what [`unread`](Self::unread) returns at
    /// this moment. If some of it is not decrypted, [`take_arrived`](Self::take_arrived) returns later how far it
    /// reaches.
    pub(crate) fn mark_arrived(&self, socket: &impl AsFd) -> u64 {
        let mut state = self.state.lock();
        let in_socket = stream::unread(socket);
        if is_decrypted(&state, in_socket) {
            state.arrived = None;
            return state.decrypted.len();
        }
        state.arrived = Some(state.records.received() + in_socket);
        UNKNOWN
    }

    /// The handshake is done, and a shutdown has begun during it: the client is served one message. Returns up to
    /// which position in the stream.
    pub(crate) fn expect_message(&self) -> u64 {
        let mut state = self.state.lock();
        state.decrypted_arrived = None;
        if !state.decrypted.is_empty() {
            state.arrived = None;
            return state.position;
        }
        state.expects_message = true;
        state.arrived = Some(state.records.received() + 1);
        UNKNOWN
    }

    /// Whether the client has still to send the message that [`expect_message`](Self::expect_message) allows.
    pub(crate) fn expects_message(&self) -> bool {
        self.state.lock().expects_message
    }

    /// If everything is decrypted now that had arrived at [`mark_arrived`](Self::mark_arrived): returns, once, up to
    /// which position in the stream.
    pub(crate) fn take_arrived(&self) -> Option<u64> {
        self.state.lock().decrypted_arrived.take()
    }

    /// Encrypts and sends `data`, or a part of it. After `WouldBlock` a part may be encrypted: the next call has to
    /// begin with the same bytes.
    pub(crate) fn send(&self, socket: &impl AsFd, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.encrypted == 0 {
            if !state.flush(socket)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.encrypt(data)?;
        }
        if !state.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(mem::take(&mut state.encrypted))
    }

    /// Whether bytes are encrypted that [`send`](Self::send) has not reported: nothing else may be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.state.lock().encrypted > 0
    }

    /// Sends `close_notify`: nothing follows. Returns whether all of it is sent.
    pub(crate) fn close(&self, socket: &impl AsFd) -> io::Result<bool> {
        let mut state = self.state.lock();
        if state.encrypted > 0 {
            // The client has to see that a message is not complete.
            return Ok(true);
        }
        if !mem::replace(&mut state.has_closed, true) {
            state.tls.send_close_notify();
        }
        state.flush(socket)
    }

    /// How many bytes were sent, encrypted.
    pub(crate) fn sent(&self) -> u64 {
        self.state.lock().sent
    }
}

/// Whether all that has arrived is decrypted, where so many bytes are in the socket.
fn is_decrypted(state: &State, in_socket: u64) -> bool {
    in_socket == 0 && !state.records.is_partial() && !state.tls.is_handshaking()
}
