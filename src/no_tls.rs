//! Without the feature `tls` no connection has a session. In place of the module `tls`.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

#[derive(Debug)]
pub(crate) enum Session {}

impl Session {
    pub(crate) fn receive(&self, _: &impl AsFd, _: bool, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn peek(&self, _: &impl AsFd, _: bool) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn is_drained(&self) -> bool {
        match *self {}
    }

    pub(crate) fn unread(&self, _: &impl AsFd) -> u64 {
        match *self {}
    }

    pub(crate) fn mark_arrived(&self, _: &impl AsFd) -> u64 {
        match *self {}
    }

    pub(crate) fn expects_message(&self) -> bool {
        match *self {}
    }

    pub(crate) fn take_arrived(&self) -> Option<u64> {
        match *self {}
    }

    pub(crate) fn send(&self, _: &impl AsFd, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn is_sending(&self) -> bool {
        match *self {}
    }

    pub(crate) fn close(&self, _: &impl AsFd) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn sent(&self) -> u64 {
        match *self {}
    }
}
