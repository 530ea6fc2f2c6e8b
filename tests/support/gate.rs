//! Handlers that wait until the test lets them go.

use crossbeam_channel::{Receiver, Sender, unbounded};
use socketserver::{HandlerError, HandlerResult};

use crate::LONG;
use crate::kind::Talk;

/// Holds handlers, and lets one go for each `let_go`.
#[derive(Clone)]
pub struct Gate {
    entered: (Sender<String>, Receiver<String>),
    open: (Sender<()>, Receiver<()>),
}

impl Gate {
    pub fn new() -> Self {
        Gate {
            entered: unbounded(),
            open: unbounded(),
        }
    }

    /// A handler that answers a question with itself, once it is let go. Who hangs up without one is
    /// not kept.
    pub fn handler<R: Talk>(&self) -> impl Fn(&mut R) -> HandlerResult + Send + Sync + 'static {
        let gate = self.clone();
        move |request| {
            let question = request.question()?;
            if question.is_empty() {
                return Ok(());
            }
            gate.pass(&question)?;
            Ok(request.answer(&question)?)
        }
    }

    /// Says that `who` is here, and waits.
    pub fn pass(&self, who: &str) -> Result<(), HandlerError> {
        self.entered.0.send(who.to_owned())?;
        Ok(self.open.1.recv_timeout(LONG)?)
    }

    /// Waits until another is held here, and says who.
    pub fn next(&self) -> String {
        self.entered.1.recv_timeout(LONG).expect("a handler starts")
    }

    /// Waits until so many more are held here; who, in alphabetical order.
    pub fn next_few(&self, count: usize) -> Vec<String> {
        let mut who: Vec<_> = (0..count).map(|_| self.next()).collect();
        who.sort();
        who
    }

    pub fn let_go(&self, count: usize) {
        for _ in 0..count {
            self.open.0.send(()).expect("the gate stands");
        }
    }
}
