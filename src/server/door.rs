//! The entrance's door: to let one in, to be shut, and to wait at.

use std::io;
use std::time::Instant;

use super::accept_error::{AfterError, on_accept_error};
use super::entrance::Entrance;
use super::service::shielded;
use crate::dispatch::Dispatch;
use crate::handle::Door;
use crate::listener::Listener;

impl<L: Listener, D: Dispatch> Entrance<'_, L, D> {
    pub(super) fn accept(&self) -> io::Result<L::Request> {
        self.ask_listener("accept", |listener| listener.accept(self.handle))
    }

    /// A listener of the user's own may panic.
    fn ask_listener<T>(&self, what: &str, ask: impl Fn(&L) -> io::Result<T>) -> io::Result<T> {
        let panicked = || Err(io::Error::other("the listener panicked"));
        shielded(what, || ask(self.server.listener())).unwrap_or_else(panicked)
    }

    /// Does what was said about new clients, and says whether they are let in.
    pub(super) fn heed(&mut self, wanted: Door) -> bool {
        if wanted == self.lobby.door {
            return wanted == Door::Open;
        }
        let address = self.handle.server_address();
        let heeded = match (self.lobby.door, wanted) {
            (_, Door::Refusing) => self.ask_listener("server_deactivate", L::server_deactivate),
            (Door::Refusing, _) => self.ask_listener("server_reactivate", L::server_reactivate),
            _ => Ok(()),
        };
        match heeded {
            Ok(()) => {
                log::info!(target: "socketserver::server", "{address}: {}", wanted.describe());
                self.lobby.door = wanted;
            }
            Err(error) if wanted == Door::Refusing => {
                log::warn!(target: "socketserver::server", "{address}: new clients wait, for they cannot be refused: {error}");
                self.lobby.door = wanted;
            }
            Err(error) => self.back_off(&error),
        }
        self.lobby.door == Door::Open
    }

    /// Nobody was let in: waits, goes on, or gives up, as the error has it.
    pub(super) fn recover(
        &mut self,
        error: io::Error,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let address = self.handle.server_address();
        match on_accept_error(&error) {
            AfterError::Wait => {
                self.lobby.backoff.nobody_waits(address);
                return self.sleep(true, deadline);
            }
            AfterError::Retry if self.lobby.backoff.may_retry() => {
                log::debug!(target: "socketserver::server", "lost a client before it was accepted: {error}");
            }
            AfterError::Retry | AfterError::BackOff => self.back_off(&error),
            AfterError::Stop => return Err(error),
        }
        Ok(())
    }

    /// Accepts nothing for a while: a look at the listener would say again and again that somebody is
    /// waiting.
    fn back_off(&mut self, error: &io::Error) {
        let address = self.handle.server_address();
        let pause = self.lobby.backoff.next(error, address);
        self.lobby.pause = Some(Instant::now() + pause);
    }

    /// Until the bell rings, a client comes if the door is watched, or something is due.
    pub(super) fn sleep(&mut self, watch: bool, deadline: Option<Instant>) -> io::Result<()> {
        let now = Instant::now();
        let pause = self.lobby.pause.filter(|until| *until > now);
        let due = [deadline, pause, self.look, self.lobby.next_expiry()];
        let due = due.into_iter().flatten().min();
        let door = watch.then(|| self.server.listener().as_fd());
        self.handle.bell().sleep(door, due, &mut self.events)
    }
}
