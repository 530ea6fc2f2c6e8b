//! Prints to standard output, and ends the server when that is closed.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use socketserver::prelude::*;

/// Shared by all servers.
#[derive(Clone, Default)]
pub struct Output {
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Output {
    pub fn print(&self, line: impl Display) {
        if let Err(error) = writeln!(io::stdout(), "{line}") {
            *self.failure.lock() = Some(error);
        }
    }
}

impl Hooks for Output {
    /// Ends the server once a line could not be printed, as when it is piped to `head`.
    fn service_actions(&self, _: &ServerHandle) -> io::Result<()> {
        match self.failure.lock().take() {
            Some(e) => Err(io::Error::new(e.kind(), format!("cannot print: {e}"))),
            None => Ok(()),
        }
    }
}
