//! The thread that sends one client what is in its queue.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::request::Connection;

/// How many lines may wait for a client that reads slowly.
const MAX_LINES: usize = 1024;
/// How much is sent in one write, in bytes. The lines are shared by all clients, and this is a copy.
const MAX_WRITE: usize = 16_384;

pub struct Writer {
    connection: Connection,
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Writer {
    /// Returns the writer and its queue. The thread ends when the queue is dropped and empty.
    pub fn start(connection: Connection) -> io::Result<(Self, SyncSender<Arc<str>>)> {
        let (queue, lines) = mpsc::sync_channel(MAX_LINES);
        // Nothing is sent on this channel. The thread's end drops it, and that is noticed.
        let (running, ended) = mpsc::channel();
        let to = connection.clone();
        let name = format!("writer-{}", connection.id());
        let thread = thread::Builder::new().name(name).spawn(move || {
            send_all(&lines, &to);
            drop(running);
        })?;
        let writer = Writer {
            connection,
            thread,
            ended,
        };
        Ok((writer, queue))
    }

    /// Waits until the queue is sent, and at most 1 s if the client does not read.
    pub fn finish(self) {
        let ended = self.ended.recv_timeout(Duration::from_secs(1));
        if ended == Err(RecvTimeoutError::Timeout) {
            // The thread's write fails then. An error means that the connection has ended already.
            let _ = self.connection.shutdown();
        }
        // A panic was printed when it happened.
        let _ = self.thread.join();
    }
}

/// Sends until the queue has ended, the client has disconnected or has not read for the write timeout.
fn send_all(lines: &Receiver<Arc<str>>, connection: &Connection) {
    while let Ok(line) = lines.recv() {
        let mut text = line.to_string();
        while text.len() < MAX_WRITE {
            let Ok(line) = lines.try_recv() else { break };
            text += &line;
        }
        if let Err(error) = connection.send_all(text.as_bytes()) {
            log::info!("{}: {error}", connection.client_address());
            let _ = connection.shutdown();
            return;
        }
    }
}
