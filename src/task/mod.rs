//! Waiting in handlers, on a thread and on a [green](crate::guide::dispatch#green-tasks) task alike.
//!
//! On a thread each of these blocks the thread. On a green task it suspends the task, and the worker goes on
//! with others. So one handler serves both. No feature is needed.
//!
//! **A shutdown ends none of these waits**, but for those on the request's own connection. Drop the senders of a channel
//! at a shutdown, or use [`recv_timeout`](Receiver::recv_timeout) and
//! [`is_shutting_down`](crate::ServerHandle::is_shutting_down).
//!
//! In a destructor that a panic runs nothing is suspended: there they block the worker.
//!
//! | | waits for |
//! |---|---|
//! | [`sleep`] | a time |
//! | [`yield_now`] | nothing: lets others run |
//! | [`Mutex`] | a lock, which may be held while the request reads and writes |
//! | [`bounded`], [`unbounded`] | a value of another handler or thread |
//! | [`join`] | two halves of a handler |
//! | [`connect`] | another server; its [`Stream`] waits as the request does |
//! | [`wait_readable`] | any descriptor |
//! | [`blocking`] | whatever else blocks, on a helper thread |
//!
//! ```
//! use std::fs;
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! use socketserver::prelude::*;
//! use socketserver::task;
//!
//! /// Answers each path with the size of its file, not too fast.
//! fn sizes(request: &mut StreamRequest) -> HandlerResult {
//!     while let Some(path) = request.next_line()? {
//!         task::sleep(Duration::from_millis(10));
//!         let file = task::blocking(|| fs::metadata(&path))?;
//!         writeln!(request.wfile, "{}", file.len())?;
//!     }
//!     Ok(())
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! // `GreenTcpServer` runs it too.
//! let server = ThreadingTcpServer::bind_fn("127.0.0.1:0", sizes)?.serve_in_background()?;
//! let mut client = TcpStream::connect(server.server_address())?;
//! client.write_all(b"/dev/null\n")?;
//! let mut size = [0; 2];
//! client.read_exact(&mut size)?;
//! assert_eq!(&size, b"0\n");
//! # Ok(())
//! # }
//! ```

mod blocking_pool;
mod channel;
mod descriptor;
mod mutex;
mod stream;
pub(crate) mod waiter;

use std::io;
use std::panic;
use std::thread;
use std::time::{Duration, Instant};

pub use self::channel::{Receiver, Sender, bounded, unbounded};
pub use self::descriptor::wait_readable;
pub use self::mutex::{Mutex, MutexGuard};
pub use self::stream::{Stream, connect};
use crate::{green, handle};

/// Waits for this time. [`std::thread::sleep`] would hold up all tasks of a worker.
pub fn sleep(time: Duration) {
    match green::current() {
        Some(task) => task.sleep(Instant::now().checked_add(time)),
        None => thread::sleep(time),
    }
}

/// Lets other tasks of the worker run, or other threads. For long computations.
pub fn yield_now() {
    green::current().map_or_else(thread::yield_now, green::CurrentTask::yield_now);
}

/// Calls `run` on a helper thread, and suspends the green task until it has ended: for what blocks in other ways than
/// through this crate, such as the file system, a database client or a long computation. It may borrow from the handler.
/// On a thread it is called directly.
///
/// The process has at most 512 helper threads, and further calls wait for one. They end after 10 s without a call. If
/// none can be started, the call holds up the worker.
///
/// # Panics
///
/// When `run` panics.
#[doc(alias("spawn_blocking", "threadpool"))]
pub fn blocking<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    if green::current().is_none() {
        return run();
    }
    let running = handle::running_servers();
    blocking_pool::call(|| {
        // A wait for all requests does not wait for the task's own.
        let before = handle::set_running_servers(running);
        let _restore = Restore(before);
        run()
    })
}

struct Restore(Vec<usize>);

impl Drop for Restore {
    fn drop(&mut self) {
        handle::set_running_servers(std::mem::take(&mut self.0));
    }
}

/// Calls both at once, and returns both results: the two directions of a relay, for example. On a thread the
/// second runs on another thread, on a green task as another task of the same worker.
///
/// # Errors
///
/// There is no thread or no memory for the second. Then neither was called.
///
/// # Panics
///
/// When one of them panics, after both have ended.
pub fn join<A, B: Send>(
    first: impl FnOnce() -> A,
    second: impl FnOnce() -> B + Send,
) -> io::Result<(A, B)> {
    if let Some(task) = green::current() {
        return task.join(first, second);
    }
    thread::scope(|scope| {
        let second = thread::Builder::new().spawn_scoped(scope, second)?;
        let first = first();
        let second = second.join();
        let second = second.unwrap_or_else(|panicked| panic::resume_unwind(panicked));
        Ok((first, second))
    })
}
