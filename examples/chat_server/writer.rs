//! The thread that sends one client what is in its queue.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socketserver::request::Connection;

/// How much may wait for a client that reads slowly, in bytes, with [`LINE`] for each line.
const MAX_WAITING: usize = 256 << 10;
/// The memory of a line in addition to its text.
const LINE: usize = 64;
/// How much is sent in one write, in bytes. The lines are shared by all clients, and this is a copy.
const MAX_WRITE: usize = 16_384;

/// The lines that wait for one client.
pub struct Queue {
    lines: Sender<Arc<str>>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// Adds a line; false if the queue is full.
    pub fn push(&self, line: Arc<str>) -> bool {
        let size = line.len() + LINE;
        // The lock of the room is held, so no other line is added meanwhile.
        if self.waiting.load(Ordering::Relaxed) + size > MAX_WAITING {
            return false;
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        // It fails after the writer has ended, and then the client leaves.
        let _ = self.lines.send(line);
        true
    }
}

pub struct Writer {
    connection: Connection,
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Writer {
    /// Returns the writer and its queue. The thread ends when the queue is dropped and empty.
    pub fn start(connection: Connection) -> io::Result<(Self, Queue)> {
        let (sender, lines) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            lines: sender,
            waiting: Arc::clone(&waiting),
        };
        // Nothing is sent on this channel. The thread's end drops it, and that is noticed.
        let (running, ended) = mpsc::channel();
        let to = connection.clone();
        let name = format!("writer-{}", connection.id());
        let thread = thread::Builder::new().name(name).spawn(move || {
            send_all(&lines, &waiting, &to);
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
fn send_all(lines: &Receiver<Arc<str>>, waiting: &AtomicUsize, connection: &Connection) {
    while let Ok(mut line) = lines.recv() {
        let mut text = String::new();
        loop {
            waiting.fetch_sub(line.len() + LINE, Ordering::Relaxed);
            text += &line;
            if text.len() >= MAX_WRITE {
                break;
            }
            let Ok(next) = lines.try_recv() else { break };
            line = next;
        }
        if let Err(error) = connection.send_all(text.as_bytes()) {
            log::info!("{}: {error}", connection.client_address());
            let _ = connection.shutdown();
            return;
        }
    }
}
