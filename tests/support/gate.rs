//! Handlers that wait until the test releases them.

use crossbeam_channel::{Receiver, Sender, unbounded};
use socketserver::{HandlerError, HandlerResult};

use crate::LONG;
use crate::kind::Talk;

/// Holds handlers, and releases as many as it is asked to.
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
    /// A handler that answers a question with itself, once it is released. A client that closes
    /// without one is not held.
    pub fn handler<R: Talk>(&self) -> impl Fn(&mut R) -> HandlerResult + Send + Sync + 'static {
        let gate = self.clone();
        move |request| {
            let question = request.question()?;
            if question.is_empty() {
                return Ok(());
            }
            gate.hold(&question)?;
            Ok(request.answer(&question)?)
        }
    }

    /// Reports that `who` is held, and waits.
    pub fn hold(&self, who: &str) -> Result<(), HandlerError> {
        self.held.0.send(who.to_owned())?;
        Ok(self.released.1.recv_timeout(LONG)?)
    }

    /// Waits until another is held here, and returns who.
    pub fn next(&self) -> String {
        self.held.1.recv_timeout(LONG).expect("a handler starts")
    }

    /// Waits until this many more are held here; returns who, in alphabetical order.
    pub fn next_few(&self, count: usize) -> Vec<String> {
        let mut who: Vec<_> = (0..count).map(|_| self.next()).collect();
        who.sort();
        who
    }

    pub fn release(&self, count: usize) {
        for _ in 0..count {
            self.released.0.send(()).expect("the gate is there");
        }
    }
}
