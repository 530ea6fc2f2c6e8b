//! Handlers that wait until the test releases them.

use socketserver::task::{Receiver, Sender, unbounded};
use socketserver::{HandlerError, HandlerResult};

use crate::LONG;
use crate::kind::LineRequest;

/// Blocks handlers, and releases as many of them as the test requests.
#[derive(Clone)]
pub struct Gate {
    held: (Sender<String>, Receiver<String>),
    released: (Sender<()>, Receiver<()>),
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            held: unbounded(),
            released: unbounded(),
        }
    }
}

impl Gate {
    /// A handler that sends its first message back after it was released. It does not block if the
    /// client closes without a message.
    pub fn handler<R: LineRequest>(
        &self,
    ) -> impl Fn(&mut R) -> HandlerResult + Send + Sync + 'static {
        let gate = self.clone();
        move |request| {
            let message = request.read_message()?;
            if message.is_empty() {
                return Ok(());
            }
            gate.hold(&message)?;
            Ok(request.write_message(&message)?)
        }
    }

    /// Reports that the handler of the client `name` is blocked, and waits until it is released.
    pub fn hold(&self, name: &str) -> Result<(), HandlerError> {
        self.held.0.send(name.to_owned())?;
        Ok(self.released.1.recv_timeout(LONG)?)
    }

    /// Waits until another handler is blocked, and returns the name of its client.
    pub fn next(&self) -> String {
        self.held.1.recv_timeout(LONG).expect("a handler starts")
    }

    /// Whether no other handler is blocked.
    pub fn is_empty(&self) -> bool {
        self.held.1.is_empty()
    }

    /// Waits until this many more handlers are blocked, and returns the sorted names of their
    /// clients.
    pub fn next_few(&self, count: usize) -> Vec<String> {
        let mut names: Vec<_> = (0..count).map(|_| self.next()).collect();
        names.sort();
        names
    }

    pub fn release(&self, count: usize) {
        for _ in 0..count {
            self.released.0.send(()).expect("the gate has a receiver");
        }
    }
}
