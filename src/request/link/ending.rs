//! How a connection ends, whoever ends it.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
#[cfg(feature = "fork")]
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::Link;
use crate::registry::Live;
use crate::request::lifetime::EndedFor;
#[cfg(feature = "fork")]
use crate::sys::process;
use crate::sys::{self, MSG_DONTWAIT};
use crate::timer::Timed;

impl Link {
    /// The end of a connection, and the only place where a server closes one: says goodbye to the
    /// client, which lets go of threads blocked in a write too. The descriptor goes with the last
    /// reference.
    pub(in crate::request) fn hang_up(&self) {
        if self.is_abandoned() {
            return;
        }
        let ended_for = self.lifetime.ended_for();
        if ended_for.is_some_and(|why| !why.is_gentle()) {
            // For systems where it was not reset before: a client that floods would hold on to kernel
            // memory for minutes.
            let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
            return;
        }
        // Fails with ENOTCONN when the client has reset the connection.
        let is_open = self.transport.shutdown(Shutdown::Write).is_ok();
        if is_open && !self.ended.load(Ordering::Relaxed) {
            self.throw_away();
        }
    }

    /// What the client sent and nobody read is thrown away before closing, which would send a reset
    /// otherwise, and a reset can destroy the reply on its way (RFC 1122, 4.2.2.13).
    fn throw_away(&self) {
        const MOST: usize = 65_536;
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let mut dropped = 0;
        while let Ok(n) = SockRef::from(self).recv_with_flags(&mut scratch, MSG_DONTWAIT) {
            dropped += n;
            if n == 0 || dropped >= MOST {
                break;
            }
        }
    }

    /// Ends one direction or both, in order.
    pub(in crate::request) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.check_open()?;
        self.transport.shutdown(how)
    }

    /// The handler ends it, whosever it is.
    pub(in crate::request) fn abort(&self) {
        self.lifetime.abort();
        self.drop_unsent();
        self.break_off();
    }

    /// What is broken off must not look complete. A Unix socket knows no difference.
    fn break_off(&self) {
        if self.transport.is_unix() || sys::reset(self).is_err() {
            let _ = self.transport.shutdown(Shutdown::Both);
        }
    }

    /// Nothing is sent from here on, and the connection is not shut down.
    pub(in crate::request) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(in crate::request) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the server has ended the connection, and no late request keeps it going.
    pub(in crate::request) fn was_ended(&self) -> bool {
        self.lifetime.is_over() && !self.is_late()
    }

    /// Fails if the connection was ended for good, and not only because it was idle.
    pub(super) fn check_open(&self) -> io::Result<()> {
        if !self.lifetime.is_over() {
            return Ok(());
        }
        let ended_for = self.lifetime.ended_for();
        let error = ended_for.and_then(|why| why.error(&self.client_address));
        error.map_or(Ok(()), Err)
    }

    fn is_late(&self) -> bool {
        let ended_gently = || self.lifetime.ended_for().is_none_or(EndedFor::is_gentle);
        self.late.load(Ordering::Relaxed) && ended_gently()
    }

    /// Ends the socket; false if it stays open, for a request has arrived.
    fn stop(&self, why: EndedFor) -> bool {
        if why.is_gentle() {
            return !self.something_arrived() && self.transport.shutdown(Shutdown::Read).is_ok();
        }
        self.break_off();
        true
    }
}

impl Live for Link {
    fn drain(&self) {
        self.lifetime.end(EndedFor::Shutdown, |why| self.stop(why));
    }

    fn cut(&self) {
        self.lifetime.end(EndedFor::Force, |why| self.stop(why));
    }

    fn traffic(&self) -> (u64, u64) {
        self.traffic.totals()
    }

    #[cfg(feature = "fork")]
    fn let_go(&self) {
        process::blind(self.as_fd().as_raw_fd());
    }
}

impl Timed for Link {
    fn look(&self, now: Instant) -> Option<Instant> {
        self.lifetime.look(now, |why| self.stop(why))
    }
}
