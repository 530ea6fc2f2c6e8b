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
use crate::green;
use crate::sys::stream::{self, MSG_NOSIGNAL};
use crate::sys::{MSG_DONTWAIT, recv_with_flags};

/// How many bytes are encrypted and sent in one call: the client decrypts them while the next ones are encrypted.
const MAX_PLAINTEXT: usize = 32 << 10;

/// The longest record, encrypted. So much is received in one call on a thread; a green worker, which has one buffer
/// for many connections, receives four.
const RECORD: usize = 16_640;

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
    /// The position in the encrypted stream up to which bytes had arrived when a shutdown began. `None` without one,
    /// and once all of that is decrypted.
    arrived: Option<u64>,
    /// The same in the decrypted stream, once it is known.
    decrypted_arrived: Option<u64>,
    /// A shutdown has begun, and the client has not sent its first message yet.
    expects_message: bool,
    /// The position in the decrypted stream. What was sent before the handshake counts.
    position: u64,
    end: Option<End>,
    /// What the client has sent after the bytes in `decrypted` is not valid.
    failed: Option<rustls::Error>,
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
                expects_message: false,
                position,
                end: None,
                failed: None,
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
        let is_decrypted = stream::unread(socket) == 0 && !state.records.is_partial();
        if is_decrypted && state.arrived.is_none() && !state.tls.is_handshaking() {
            return state.decrypted.len();
        }
        UNKNOWN
    }

    /// A shutdown begins: what has arrived up to now is still served. If some of that is not decrypted,
    /// [`take_arrived`](Self::take_arrived) returns later how far it reaches.
    pub(crate) fn mark_arrived(&self, socket: &impl AsFd) {
        let mut state = self.state.lock();
        let end = state.records.received() + stream::unread(socket);
        let is_decrypted = end == state.records.complete() && !state.tls.is_handshaking();
        state.arrived = (!is_decrypted).then_some(end);
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

impl State {
    /// Returns how many bytes are in `out`, and whether the socket is empty now.
    fn receive(&mut self, socket: &impl AsFd, out: &mut [u8]) -> io::Result<(usize, bool)> {
        // Until the socket says that there is nothing: a short read alone does not exclude an end of the stream.
        loop {
            if let Some(error) = self.failed.clone() {
                return Err(HandshakeError::from(error).into());
            }
            match self.end {
                Some(End::Closed) => return Ok((0, false)),
                Some(End::Truncated) => return Err(truncated()),
                None => {}
            }
            let (n, is_drained) = self.receive_records(socket, out)?;
            if n > 0 || !self.decrypted.is_empty() {
                return Ok((n, is_drained));
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
        // Not borrowed: a certificate resolver of the program's own runs in between.
        let mut buffer = RECEIVED.take();
        let records = if green::current().is_some() { 4 } else { 1 };
        buffer.resize(records * RECORD, 0);
        let received = self.receive_through(&mut buffer, socket, out);
        RECEIVED.set(buffer);
        received
    }

    fn receive_through(
        &mut self,
        buffer: &mut [u8],
        socket: &impl AsFd,
        out: &mut [u8],
    ) -> Result<(usize, bool), HandshakeError> {
        let n = uninterrupted(|| recv_with_flags(socket, buffer, MSG_DONTWAIT))?;
        if n == 0 {
            self.end = Some(End::Truncated);
            return Ok((0, false));
        }
        self.check_first(&buffer[..n])?;
        let decrypted = self.decrypt(&buffer[..n], out);
        // An alert, or the answer to a change of keys. What does not fit is sent with the next bytes; an error of the
        // socket is the next write's.
        let _ = self.flush(socket);
        Ok((decrypted, n < buffer.len()))
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

    /// Returns how many bytes are in `out` now. After an error that is what came before it.
    fn decrypt(&mut self, received: &[u8], out: &mut [u8]) -> usize {
        let mut filled = 0;
        self.failed = self.decrypt_all(received, out, &mut filled).err();
        filled
    }

    fn decrypt_all(
        &mut self,
        mut received: &[u8],
        out: &mut [u8],
        filled: &mut usize,
    ) -> Result<(), rustls::Error> {
        while !received.is_empty() {
            let mut next = &received[..received.len().min(self.next_length())];
            let length = next.len();
            let general = |error: io::Error| rustls::Error::General(error.to_string());
            self.tls.read_tls(&mut next).map_err(general)?;
            let (done, rest) = received.split_at(length - next.len());
            received = rest;
            self.records.add(done);
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // What came before is valid. This ends with `WouldBlock` or the end of the stream.
                    let mut valid = Vec::new();
                    let _ = self.tls.reader().read_to_end(&mut valid);
                    self.position += valid.len() as u64;
                    self.decrypted.space(valid.len()).copy_from_slice(&valid);
                    return Err(error);
                }
            };
            let mut left = state.plaintext_bytes_to_read();
            self.position += left as u64;
            let complete = self.records.complete();
            if self.arrived.take_if(|end| *end <= complete).is_some() {
                self.decrypted_arrived = Some(self.position);
                self.expects_message = false;
            }
            let mut reader = self.tls.reader();
            let here = left.min(out.len() - *filled);
            // These bytes are there.
            reader
                .read_exact(&mut out[*filled..*filled + here])
                .map_err(general)?;
            (*filled, left) = (*filled + here, left - here);
            reader
                .read_exact(self.decrypted.space(left))
                .map_err(general)?;
            if state.peer_has_closed() {
                self.end = Some(End::Closed);
                break;
            }
        }
        Ok(())
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
