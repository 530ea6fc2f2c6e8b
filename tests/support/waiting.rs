//! Waiting for threads and channels, with an end to it.

use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;

use crate::{LONG, eventually};

/// What the thread returned; fails rather than waits for ever.
pub fn join_soon<T>(thread: JoinHandle<T>) -> T {
    eventually("the thread ends", || thread.is_finished());
    thread.join().expect("the thread did not panic")
}

/// The next message; fails rather than waits for ever.
pub fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(LONG).expect("a message comes")
}

/// A barrier that gives up: for handlers that can only meet if they run side by side.
pub struct Meeting {
    size: usize,
    there: Mutex<usize>,
    arrived: Condvar,
}

impl Meeting {
    pub fn of(size: usize) -> Self {
        Meeting {
            size,
            there: Mutex::new(0),
            arrived: Condvar::new(),
        }
    }

    /// Waits for the others; whether all of them came.
    pub fn attend(&self) -> bool {
        let mut there = self.there.lock().expect("nothing panics in here");
        *there += 1;
        self.arrived.notify_all();
        let (there, _) = self
            .arrived
            .wait_timeout_while(there, LONG, |there| *there < self.size)
            .expect("nothing panics in here");
        *there >= self.size
    }
}
