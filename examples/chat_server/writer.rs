//! The thread that sends one client what is in its outbox.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::request::Connection;

use super::outbox::Outbox;

pub struct Writer {
    connection: Connection,
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Writer {
    pub fn start(connection: Connection, outbox: Arc<Outbox>) -> io::Result<Self> {
        // Nothing is sent on it: it is dropped with the thread's end.
        let (running, ended) = mpsc::channel();
        let to = connection.clone();
        let name = format!("writer-{}", connection.id());
        let thread = thread::Builder::new().name(name).spawn(move || {
            send_all(&outbox, &to);
            drop(running);
        })?;
        Ok(Writer {
            connection,
            thread,
            ended,
        })
    }

    /// Waits until what is in the closed outbox is sent, but not for a client that does not read.
    pub fn end(self) {
        let ended = self.ended.recv_timeout(Duration::from_secs(1));
        if ended == Err(RecvTimeoutError::Timeout) {
            // Lets go of the thread. Fails when the connection has ended already.
            let _ = self.connection.shutdown();
        }
        // A panic was printed when it happened.
        let _ = self.thread.join();
    }
}

/// Until the outbox is closed and empty, or the client is gone or has not read for the write
/// timeout; then the connection is ended.
fn send_all(outbox: &Outbox, connection: &Connection) {
    while let Some(text) = outbox.take() {
        if let Err(error) = connection.send_all(text.as_bytes()) {
            log::info!("{}: {error}", connection.client_address());
            outbox.close();
            let _ = connection.shutdown();
            return;
        }
    }
}
