use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use super::error::HandshakeError;
use super::records::Records;
use super::{TlsInfo, Traffic};
use crate::sys::stream::{self, MSG_NOSIGNAL};
use crate::sys::{MSG_DONTWAIT, recv_with_flags};

/// How many bytes are encrypted and sent in one call: the client decrypts them while the next ones are encrypted.
const MAX_PLAINTEXT: usize = 32 << 10;

/// How many encrypted bytes are received in one call: four of the longest records.
const MAX_RECEIVED: usize = 4 * 16_640;

/// How many encrypted bytes of an open connection are not counted yet, at most.
const MAX_UNCOUNTED: u64 = 16 << 10;

/// The first byte of a record that belongs to a handshake.
const HANDSHAKE: u8 = 22;

/// What [`Session::unread`] returns where some of what has arrived is not decrypted.
const UNKNOWN: u64 = u64::MAX / 2;

thread_local! {
    /// Where encrypted bytes are received. They are decrypted before another task runs on this thread.
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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

#[derive(Debug)]
struct State {
    tls: ServerConnection,
    decrypted: Decrypted,
    /// How many bytes of the caller's data are encrypted, while not all of that is sent.
    encrypted: usize,
    records: Records,
    /// The position in the encrypted stream up to which bytes had arrived at the last call of `unread`.
    arrived: Option<u64>,
    /// The same in the decrypted stream, once it is known.
    decrypted_arrived: Option<u64>,
    /// The position in the decrypted stream. What was sent before the handshake counts.
    position: u64,
    end: Option<End>,
    has_closed: bool,
    /// How many encrypted bytes were sent.
    sent: u64,
    /// How many encrypted bytes were received and sent that the server has counted.
    counted: (u64, u64),
    traffic: Arc<Traffic>,
}

/// What was decrypted and not yet read.
#[derive(Debug, Default)]
struct Decrypted {
    bytes: Vec<u8>,
    start: usize,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// The client has sent `close_notify`.
    Closed,
    /// The stream has ended without it.
    Truncated,
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
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        // `MAX_PLAINTEXT` limits it.
        tls.set_buffer_limit(None);
        Ok(Session {
            state: Mutex::new(State {
                tls,
                decrypted: Decrypted::default(),
                encrypted: 0,
                records: Records::default(),
                arrived: None,
                decrypted_arrived: None,
                position,
                end: None,
                has_closed: false,
                sent: 0,
                counted: (0, 0),
                traffic,
            }),
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
        if was_drained && !had_event && state.end.is_none() {
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

    /// As [`receive`](Self::receive), but what is decrypted stays here. Returns 0 or 1.
    pub(crate) fn peek(&self, socket: &impl AsFd, had_event: bool) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.decrypted.is_empty() {
            self.receive_into(&mut state, socket, had_event, &mut [])?;
        }
        Ok(usize::from(!state.decrypted.is_empty()))
    }

    /// Whether the last call has emptied the socket.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }

    /// How many bytes the handler can still read of what has arrived. A number that is far too high if some of it is
    /// not decrypted: [`take_arrived`](Self::take_arrived) corrects it.
    pub(crate) fn unread(&self, socket: &impl AsFd) -> u64 {
        let mut state = self.state.lock();
        let in_socket = stream::unread(socket);
        let is_decrypted = in_socket == 0 && !state.records.is_partial();
        if is_decrypted && state.arrived.is_none() && !state.tls.is_handshaking() {
            return state.decrypted.len();
        }
        let end = state.records.received() + in_socket;
        state.arrived = state.arrived.max(Some(end));
        UNKNOWN
    }

    /// The next record counts as arrived. Returns a position in the stream that is behind it.
    pub(crate) fn expect_record(&self) -> u64 {
        let mut state = self.state.lock();
        state.decrypted_arrived = None;
        state.arrived = Some(state.records.received() + 1);
        UNKNOWN
    }

    /// If everything is decrypted now that had arrived at the last call of [`unread`](Self::unread): returns, once, up
    /// to which position in the stream.
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

    /// Tells the client that nothing follows. Returns whether all of it is sent.
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

impl State {
    /// Returns how many bytes are in `out`, and whether the socket is empty now.
    fn receive(&mut self, socket: &impl AsFd, out: &mut [u8]) -> io::Result<(usize, bool)> {
        loop {
            match self.end {
                Some(End::Closed) => return Ok((0, false)),
                Some(End::Truncated) => return Err(truncated()),
                None => {}
            }
            let (n, is_drained) = self.receive_records(socket, out)?;
            if n > 0 || !self.decrypted.is_empty() {
                return Ok((n, is_drained));
            }
            if is_drained && self.end.is_none() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Receives and decrypts what one call returns. Returns how many bytes are in `out` now, and whether the socket
    /// is empty.
    fn receive_records(
        &mut self,
        socket: &impl AsFd,
        out: &mut [u8],
    ) -> Result<(usize, bool), HandshakeError> {
        RECEIVED.with_borrow_mut(|buffer| {
            buffer.resize(MAX_RECEIVED, 0);
            let n = uninterrupted(|| recv_with_flags(socket, buffer, MSG_DONTWAIT))?;
            if n == 0 {
                self.end = Some(End::Truncated);
                return Ok((0, false));
            }
            self.check_first(&buffer[..n])?;
            let decrypted = self.decrypt(&buffer[..n], out);
            // An alert, or the answer to a change of keys. What does not fit is sent with the next bytes.
            let flushed = self.flush(socket);
            let decrypted = decrypted?;
            flushed?;
            Ok((decrypted, n < buffer.len()))
        })
    }

    fn check_first(&self, received: &[u8]) -> Result<(), HandshakeError> {
        if self.records.received() > 0 || received[0] == HANDSHAKE {
            return Ok(());
        }
        let line = received.split(|byte| *byte == b'\n').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default());
        let begin: String = line.trim_end().chars().take(40).collect();
        let text = format!("the client does not speak TLS: it has sent {begin:?}");
        Err(HandshakeError::plain_text(text))
    }

    fn decrypt(&mut self, mut received: &[u8], out: &mut [u8]) -> Result<usize, rustls::Error> {
        let mut filled = 0;
        while !received.is_empty() {
            let mut next = &received[..received.len().min(self.next_length())];
            let length = next.len();
            let general = |error: io::Error| rustls::Error::General(error.to_string());
            self.tls.read_tls(&mut next).map_err(general)?;
            let (done, rest) = received.split_at(length - next.len());
            received = rest;
            self.records.add(done);
            let state = self.tls.process_new_packets()?;
            let mut left = state.plaintext_bytes_to_read();
            self.position += left as u64;
            let complete = self.records.complete();
            if self.arrived.take_if(|end| *end <= complete).is_some() {
                self.decrypted_arrived = Some(self.position);
            }
            let mut reader = self.tls.reader();
            let here = left.min(out.len() - filled);
            // These bytes are there.
            reader
                .read_exact(&mut out[filled..filled + here])
                .map_err(general)?;
            (filled, left) = (filled + here, left - here);
            reader
                .read_exact(self.decrypted.space(left))
                .map_err(general)?;
            if state.peer_has_closed() {
                self.end = Some(End::Closed);
                break;
            }
        }
        Ok(filled)
    }

    /// How much to decrypt at once: not beyond what had arrived, so that its end is known.
    fn next_length(&self) -> usize {
        let received = self.records.received();
        match self.arrived {
            None => usize::MAX,
            Some(end) if end > received => (end - received) as usize,
            Some(_) => self.records.left(),
        }
    }

    fn encrypt(&mut self, data: &[IoSlice<'_>]) -> io::Result<()> {
        let mut left = MAX_PLAINTEXT;
        let slices = data.iter().map_while(|slice| {
            let taken = slice.get(..slice.len().min(left)).filter(|_| left > 0)?;
            left -= taken.len();
            Some(IoSlice::new(taken))
        });
        let slices: Vec<_> = slices.collect();
        self.encrypted = self.tls.writer().write_vectored(&slices)?;
        Ok(())
    }

    /// Sends what is encrypted. Returns whether all of it is sent.
    fn flush(&mut self, socket: &impl AsFd) -> io::Result<bool> {
        let mut sink = Sink(socket.as_fd());
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut sink) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                sent => self.sent += sent? as u64,
            }
        }
        // Each message is not worth a counter that all threads share.
        let (received, sent) = self.uncounted();
        if received + sent > MAX_UNCOUNTED {
            self.count();
        }
        Ok(true)
    }

    fn uncounted(&self) -> (u64, u64) {
        let (received, sent) = self.counted;
        (self.records.received() - received, self.sent - sent)
    }

    fn count(&mut self) {
        let (received, sent) = self.uncounted();
        self.traffic.add(received, sent);
        self.counted = (self.records.received(), self.sent);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.count();
    }
}

impl Decrypted {
    fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    fn len(&self) -> u64 {
        (self.bytes.len() - self.start) as u64
    }

    fn read(&mut self, out: &mut [u8]) -> usize {
        let left = &self.bytes[self.start..];
        let n = left.len().min(out.len());
        out[..n].copy_from_slice(&left[..n]);
        self.start += n;
        if self.is_empty() {
            // An idle connection keeps no memory.
            *self = Decrypted::default();
        }
        n
    }

    fn space(&mut self, length: usize) -> &mut [u8] {
        let end = self.bytes.len();
        self.bytes.resize(end + length, 0);
        &mut self.bytes[end..]
    }
}

/// The socket, for what is encrypted. It never blocks.
struct Sink<'a>(BorrowedFd<'a>);

impl Write for Sink<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        if let [data] = data {
            // Cheaper for the system.
            return uninterrupted(|| SockRef::from(&self.0).send_with_flags(data, flags));
        }
        uninterrupted(|| SockRef::from(&self.0).send_vectored_with_flags(data, flags))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn truncated() -> io::Error {
    let text =
        "the client has ended the stream without close_notify: what it has sent may be incomplete";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
