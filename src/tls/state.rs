use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

use super::Traffic;
use super::decrypted::Decrypted;
use super::error::HandshakeError;
use super::records::Records;
use super::socket::EncryptedSocket;
use crate::green;
use crate::sys::stream;

/// How many bytes are encrypted and sent in one call: the client decrypts them while the next ones are encrypted.
const MAX_PLAINTEXT: usize = 32 << 10;

/// The longest record, encrypted. So much is received in one call on a thread; a green worker, which has one buffer
/// for many connections, receives four.
const RECORD: usize = 16_640;

/// How many encrypted bytes of an open connection are not counted yet, at most.
const MAX_UNCOUNTED: u64 = 16 << 10;

/// The first byte of a record that belongs to a handshake.
const HANDSHAKE: u8 = 22;

thread_local! {
    /// Where encrypted bytes are received. They are decrypted before another task runs on this thread.
    static RECEIVED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) tls: ServerConnection,
    pub(super) decrypted: Decrypted,
    /// How many bytes of the caller's data are encrypted, while not all of that is sent.
    pub(super) encrypted: usize,
    pub(super) records: Records,
    /// The position in the encrypted stream up to which bytes had arrived when a shutdown began. `None` without one,
    /// and once all of that is decrypted.
    pub(super) arrived: Option<u64>,
    /// The same in the decrypted stream, once it is known.
    pub(super) decrypted_arrived: Option<u64>,
    /// A shutdown has begun, and the client has not sent its first message yet.
    pub(super) expects_message: bool,
    /// The position in the decrypted stream. What was sent before the handshake counts.
    pub(super) position: u64,
    pub(super) end: Option<End>,
    /// What the client has sent after the bytes in `decrypted` is not valid.
    pub(super) failed: Option<rustls::Error>,
    pub(super) has_closed: bool,
    /// How many encrypted bytes were sent.
    pub(super) sent: u64,
    /// How many encrypted bytes were received and sent that the server has counted.
    pub(super) counted: (u64, u64),
    pub(super) traffic: Arc<Traffic>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The client has sent `close_notify`.
    Closed,
    /// The stream has ended without it.
    Truncated,
}

impl State {
    pub(super) fn new(
        config: Arc<ServerConfig>,
        position: u64,
        traffic: Arc<Traffic>,
    ) -> io::Result<Self> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        // `MAX_PLAINTEXT` limits it.
        tls.set_buffer_limit(None);
        Ok(State {
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
        })
    }

    /// Returns how many bytes are in `out`, and whether the socket is empty now.
    pub(super) fn receive(
        &mut self,
        socket: &impl AsFd,
        out: &mut [u8],
    ) -> io::Result<(usize, bool)> {
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
    pub(super) fn receive_records(
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
        let n = stream::try_receive(socket, buffer)?;
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

    pub(super) fn encrypt(&mut self, data: &[IoSlice<'_>]) -> io::Result<()> {
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
    pub(super) fn flush(&mut self, socket: &impl AsFd) -> io::Result<bool> {
        let mut encrypted = EncryptedSocket(socket.as_fd());
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut encrypted) {
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

fn truncated() -> io::Error {
    let text =
        "the client has ended the stream without close_notify: what it has sent may be incomplete";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}
